// How long one evaluation of the shipped model takes on one thread of the CPU: in wasm and natively, in turn.
// Fails where wasm takes more than eight times as long.
//
//   cargo build --release && web/build-wasm.sh && node web/wasm/tests/speed.mjs

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import init, { Steep } from "../pkg/steep.js";

const ROUNDS = 3;
const MOST = 8;

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path) => readFileSync(join(root, path));
await init({ module_or_path: read("web/wasm/pkg/steep_bg.wasm") });
const steep = await Steep.open("cpu", "moving-mnist-32", read("models/moving-mnist-32.safetensors"));

/** The fastest of a file's samples: what else the machine does only adds to it. */
const fastest = (results) => Math.min(...results.devices[0].timed[0].samples_ms);

const settings = JSON.stringify({ ops: ["forward"], dtypes: ["f32"], rounds: 5, seconds: 0.5 });
const wasm = async () => fastest(JSON.parse(await steep.bench(settings, () => true)));

const program = ["run", "--release", "--quiet", "--", "bench", "--op", "forward", "--device", "cpu", "--json"];
const env = { ...process.env, RAYON_NUM_THREADS: "1" };
const options = { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] };
const native = () => fastest(JSON.parse(execFileSync("cargo", program, options)));

const times = { wasm: Infinity, native: Infinity };
for (let round = 0; round < ROUNDS; round++) {
  times.wasm = Math.min(times.wasm, await wasm());
  times.native = Math.min(times.native, native());
}
const ratio = times.wasm / times.native;
console.log(`a batch of two: wasm ${times.wasm.toFixed(1)} ms, native ${times.native.toFixed(1)} ms, ${ratio.toFixed(1)} times as long`);
process.exit(ratio <= MOST ? 0 : 1);
