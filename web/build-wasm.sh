#!/usr/bin/env bash
# The crate as a browser loads it: web/wasm/pkg, with JavaScript glue and types. Installs the one tool that it takes,
# wasm-bindgen in the version of the crate, where that is missing.
set -euo pipefail
cd "$(dirname "$0")/wasm"

version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml)
bindgen=$PWD/tools/bin/wasm-bindgen
if ! "$bindgen" --version 2>/dev/null | grep -qF "$version"; then
  cargo install --quiet --root tools --version "$version" --no-default-features wasm-bindgen-cli
fi

cargo build --release --target-dir target
rm -rf pkg
"$bindgen" --target web --out-dir pkg --out-name steep target/wasm32-unknown-unknown/release/steep_web.wasm

printf 'web/wasm/pkg: %d bytes of wasm, %d compressed by gzip\n' \
  "$(wc -c <pkg/steep_bg.wasm)" "$(gzip -9c pkg/steep_bg.wasm | wc -c)"
