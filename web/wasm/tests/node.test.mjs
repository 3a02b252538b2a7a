// The package in node, which has no WebGPU: what the CPU's kernels make in wasm, beside the native program.
//
//   web/build-wasm.sh && node --test web/wasm/tests/*.test.mjs

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import init, { listen, policies, replay, Steep } from "../pkg/steep.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path) => readFileSync(join(root, path));
const wasm = read("web/wasm/pkg/steep_bg.wasm");
const weights = read("models/moving-mnist-32.safetensors");
const calibration = read("models/moving-mnist-32.teacache.json").toString();

await init({ module_or_path: wasm });
const panics = [];
listen((message) => panics.push(message));
const open = (calibration) => Steep.open("cpu", "moving-mnist-32", weights, calibration);
const steep = await open(calibration);
const generate = (settings, watch = () => true) => steep.generate(JSON.stringify(settings), watch);
const letters = (record) => record.steps.map((step) => step.decision).join("");

/** What the native program makes on one thread: its record and the clip's values. */
function native(args) {
  const folder = mkdtempSync(join(tmpdir(), "steep-web-"));
  try {
    const [clip, record] = [join(folder, "clip.safetensors"), join(folder, "record.json")];
    const program = ["run", "--quiet", "--", "generate", "--device", "cpu", "--quiet", "--out", clip, "--json", record];
    const env = { ...process.env, RAYON_NUM_THREADS: "1" };
    execFileSync("cargo", [...program, ...args], { cwd: root, env, stdio: ["ignore", "ignore", "inherit"] });
    const bytes = readFileSync(clip);
    const header = Number(bytes.readBigUInt64LE(0));
    const values = new Float32Array(new Uint8Array(bytes.subarray(8 + header)).buffer);
    return { record: JSON.parse(readFileSync(record)), values };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** In dB, of values from -1 to 1. */
function psnr(a, b) {
  assert.equal(a.length, b.length);
  const error = a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0) / a.length;
  return 10 * Math.log10(4 / error);
}

test("a cached clip is the native one, decision by decision", async () => {
  const events = [];
  const settings = { class: 6, seed: 0, steps: 50, cache: "tea:0.1:identity", preview_every: 10 };
  const clip = await generate(settings, (event, frames) => {
    events.push([JSON.parse(event), frames]);
    return true;
  });
  const record = JSON.parse(clip.record());
  const wanted = native(["--class", "6", "--cache", "tea:0.1:identity"]);
  assert.equal(letters(record), letters(wanted.record));
  assert.ok(record.computed < 50 && record.computed === wanted.record.computed);
  assert.ok(psnr(clip.values(), wanted.values) >= 50, `${psnr(clip.values(), wanted.values)} dB`);
  for (const key of ["class", "seed", "guidance", "cache", "coefficients", "sampler", "dtype", "gate", "model"]) {
    assert.deepEqual(record[key], wanted.record[key], key);
  }

  // Each step is seen as it is done, and every tenth with what it takes for the clip: nearer to it each time.
  assert.deepEqual(events.map(([event]) => event.step), [...Array(50).keys()]);
  assert.equal(events.map(([event]) => event.decision).join(""), letters(record));
  // Where the numbers behind the decisions were read, they are those of the record, up to the step.
  const numbers = ({ d, acc, decision }) => ({ d, acc, decision });
  const read = events.map(([event]) => event).filter(({ decided }) => decided.length);
  assert.ok(read.length >= 5);
  for (const { step, decided } of read) {
    assert.deepEqual(decided.map(numbers), record.steps.slice(0, step + 1).map(numbers));
  }
  const previews = events.filter(([, frames]) => frames).map(([event, frames]) => [event.step, frames]);
  assert.deepEqual(previews.map(([step]) => step), [0, 10, 20, 30, 40]);
  const final = clip.frames();
  assert.equal(final.length, 16 * 32 * 32);
  const off = ([, frames]) => frames.reduce((sum, x, i) => sum + Math.abs(x - final[i]), 0);
  assert.ok(off(previews[4]) < off(previews[0]) / 4, `${previews.map(off)}`);

  const again = await generate({ ...settings, steps: 4, cache: "off" });
  assert.equal(again.psnr(again), 100);
  assert.equal(again.ssim(again), 1);
  assert.ok(clip.psnr(again) < 40);
  assert.equal(Buffer.from(clip.gif(4).subarray(0, 6)).toString(), "GIF89a");
  assert.equal(Buffer.from(clip.apng(1).subarray(1, 4)).toString(), "PNG");
  assert.match(clip.skip_map(), /^<svg[^]*moving-mnist-32, tea:0\.1:identity: \d+ of 50 steps computed/);
});

test("a calibration is used where one is there, and of no other model", async () => {
  const short = { cache: "tea:0.04", steps: 6 };
  const record = JSON.parse((await generate(short)).record());
  assert.deepEqual(record.coefficients, JSON.parse(calibration).coefficients);
  assert.match(record.warnings.join(), /calibrated at steps 50, used at 6/);
  const without = await open();
  const plain = JSON.parse((await without.generate(JSON.stringify(short), () => true)).record());
  assert.deepEqual(plain.coefficients, [0, 0, 0, 1, 0]);
  const other = await open(calibration.replace(/"sha256": "..../, '"sha256": "0000'));
  await assert.rejects(other.generate(JSON.stringify(short), () => true), /made for other weights/);
});

test("what goes wrong is an error of one line, and the next run goes on", async () => {
  const wrong = [
    [{ class: 10 }, /^class 10: wanted 0 to 9, or "none"$/],
    [{ steps: 0 }, /^steps 0: wanted 1 to /],
    [{ cache: "tee:1" }, /^cache "tee:1": wanted /],
    [{ cache: "mag:0.1:4@table.json" }, /a policy without a file/],
    [{ gate: "both" }, /^gate "both": wanted host or device$/],
    [{ sede: 1 }, /^settings: wanted a JSON object of known names: unknown field `sede`/],
  ];
  for (const [settings, message] of wrong) {
    await assert.rejects(generate(settings), (e) => message.test(e.message) && !e.message.includes("\n"), `${message}`);
  }
  await assert.rejects(Steep.open("cpu", "x", weights.subarray(0, 100)), /^Error: x\b.*safetensors/);
  await assert.rejects(Steep.open("wgpu", "m", weights), /^DeviceError: device wgpu: no adapter: this browser has no WebGPU/);
  const auto = await Steep.open("auto", "m", weights);
  assert.equal(JSON.parse(auto.about()).device, "cpu");

  let seen = 0;
  const cancel = async () => {
    seen += 1;
    await new Promise((done) => setTimeout(done, 1));
    return seen < 3;
  };
  await assert.rejects(generate({ steps: 10 }, cancel), /^Error: interrupted$/);
  assert.equal(seen, 3);
  // While the CPU computes, messages still arrive between steps.
  let stop = false;
  setTimeout(() => (stop = true), 1);
  await assert.rejects(generate({ steps: 1000 }, () => !stop), /interrupted/);
  assert.equal(JSON.parse((await generate({ steps: 1 })).record()).computed, 1);
  assert.deepEqual(panics, []);
});

test("ops have their texts; cases and times have the native format", async () => {
  const ops = JSON.parse(steep.ops());
  assert.ok(ops.length >= 18);
  for (const op of ops) {
    assert.match(op.doc, /`/, op.name);
    assert.ok(new RegExp(`pub fn ${op.name}[(<]`).test(op.rust) && op.cpu.includes("portable"), op.name);
    assert.ok(op.wgsl.length > 0 && op.wgsl.every((source) => source.text.includes("// steep: tile = ")), op.name);
    assert.ok(op.starter.includes("@compute"), op.name);
  }
  const events = [];
  const watch = (event) => {
    events.push(JSON.parse(event));
    return true;
  };
  const machine = { os: "test", browser: "node", threads: 2 };
  const settings = { ops: ["take", "tea_gate"], dtypes: ["f32"], machine };
  const verified = JSON.parse(await steep.verify(JSON.stringify(settings), watch));
  assert.equal(verified.format, "steep results 1");
  assert.equal(verified.machine.browser, "node");
  const rows = verified.devices[0].verified;
  assert.deepEqual(rows.map((row) => [row.op, row.source, row.wrong]), [
    ["take", "portable", 0],
    ["tea_gate", "portable", 0],
  ]);
  assert.ok(rows.every((row) => row.cases > 0) && events.some((event) => event.verified?.op === "take"));
  const quick = JSON.stringify({ ...settings, ops: ["take"], rounds: 1, seconds: 0.001 });
  const timed = JSON.parse(await steep.bench(quick, watch)).devices[0].timed;
  assert.ok(timed.length > 0 && timed.every((row) => row.op === "take" && row.ms > 0 && row.ceiling > 0));
  await assert.rejects(steep.verify(JSON.stringify(settings), () => false), /interrupted/);
  await assert.rejects(steep.try_kernel("mine.wgsl", ops[0].wgsl[0].text, "{}", watch), /wanted a device that runs WGSL/);
});

test("recorded distances are decided again as the run decided them", () => {
  const steps = JSON.parse(replay("[null, 0.06, 0.05, 0.04, 0.09]", "tea:0.2:open-sora-1.2"));
  assert.equal(steps.map((step) => step.decision).join(""), "FSCSF");
  assert.throws(() => replay("[null]", "tea:-1:identity"), /a threshold from 0/);
  // A fitted polynomial holds where it was fitted: a step beyond that is computed, whatever the threshold.
  const most = JSON.parse(calibration).range[1];
  const second = (d, cache, text) => JSON.parse(replay(JSON.stringify([null, d, d]), cache, text))[1].decision;
  assert.equal(second(0.99 * most, "tea:1000", calibration), "S");
  assert.equal(second(1.01 * most, "tea:1000", calibration), "C");
  assert.equal(second(1.01 * most, "tea:1000:identity", calibration), "S");
  const all = JSON.parse(policies());
  assert.deepEqual(all.slice(0, 4).map((policy) => policy.name), ["off", "uniform", "mask", "tea"]);
});

test("the package is small", () => {
  const size = gzipSync(wasm, { level: 9 }).length;
  assert.ok(size <= 3_000_000, `${size} bytes`);
});
