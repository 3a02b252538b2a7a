#!/usr/bin/env bash
# The crate as a browser loads it: web/wasm/pkg, with JavaScript glue and types.
set -euo pipefail
cd "$(dirname "$0")"

(cd bindgen && cargo build --target-dir target) &
(cd wasm && cargo build --release --target-dir target)
wait $!
rm -rf wasm/pkg
bindgen/target/debug/steep-bindgen wasm/target/wasm32-unknown-unknown/release/steep_web.wasm wasm/pkg

printf 'web/wasm/pkg: %d bytes of wasm, %d compressed by gzip\n' \
  "$(wc -c <wasm/pkg/steep_bg.wasm)" "$(gzip -9c wasm/pkg/steep_bg.wasm | wc -c)"
