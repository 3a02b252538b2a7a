/** What the page and its worker say to each other. The worker owns the device; the page never waits for it. */

import type { Progress } from "./weights";

export type DeviceName = "auto" | "wgpu" | "cpu";

/** A run, as the address of the page holds it. */
export interface Settings {
  class: number;
  seed: number;
  steps: number;
  guidance: number;
  cache: string;
  gate: "device" | "host";
  device: DeviceName;
  /** How many pairs of runs are timed. */
  time: number;
}

/** What decides which clip it is, and how it is made. */
export type Run = Omit<Settings, "device" | "time">;

/** What `Steep.about` tells. */
export interface About {
  /** `cpu` or `wgpu`. */
  device: string;
  describe: string;
  gpu: boolean;
  /** Why the best there is is the CPU, where it is and that was asked for. */
  no_gpu: string | null;
  model: { name: string; frames: number; height: number; width: number; channels: number; classes: number; parameters: number };
}

/** A cache policy that can be named. */
export interface Policy {
  name: string;
  syntax: string;
  skips_when: string;
  source: { name: string; url: string } | null;
}

/** One shader of an op, with the lines that say how it is launched. */
export interface Shader {
  label: string;
  file: string;
  text: string;
  /** Whether the device has what it takes. */
  runs: boolean;
}

/** An op, with what there is of it. */
export interface Op {
  name: string;
  doc: string;
  dtypes: string[];
  wgsl: Shader[];
  /** A shader to begin with: parameters, tensors and an entry point without a body. */
  starter: string | null;
}

/** One op with one source and type: a row of `steep verify`. docs/results.md says what is what. */
export interface Verified {
  op: string;
  source: string;
  dtype: string;
  cases: number;
  wrong: number;
  of_bound: number;
  fault: string | null;
}

/** One op with one source, shape and type: a row of `steep bench`. */
export interface Timed {
  op: string;
  source: string;
  shape: string;
  dtype: string;
  ms: number;
  bound: "copy" | "matmul";
  ceiling_pct: number | null;
}

/** What was found out about this machine, in the format of docs/results.md. */
export interface Results {
  date: string;
  devices: {
    description: string;
    facts: { hardware: string; backend: string };
    verified: Verified[];
    timed: Timed[];
    run: RunRecord | null;
  }[];
}

/** What the page knows of the machine. */
export interface Machine {
  os: string;
  browser: string;
  threads: number;
}

/** What is measured: ops by their names, none for all. */
export interface Wanted {
  machine: Machine;
  ops: string[];
}

/** What is wrong with a shader, and where. */
export interface Finding {
  kind: string;
  case: string;
  dtype: string;
  place: { file: string; line: number; column: number | null } | null;
  what: string;
}

/** What became of a shader of the visitor's. */
export interface Trial {
  passed: boolean;
  report: { device: string; cases: number; failed: number; not_taken: number; left: number; findings: Finding[] };
  timed: Timed[];
}

/** One step of a run's record. */
export interface Step {
  i: number;
  d: number | null;
  rescaled: number | null;
  acc: number;
  decision: "F" | "C" | "S";
  ms: number | null;
}

/** A run's record, as `steep generate --json` writes it. */
export interface RunRecord {
  steps: Step[];
  computed: number;
  skipped: number;
  wall_ms: number;
  [key: string]: unknown;
}

/** A finished clip: its number in the worker, its record, and its frames as grey bytes, frame by frame. */
export interface Made {
  clip: number;
  record: RunRecord;
  frames: Uint8Array;
}

/** What the worker can be asked to do. */
export interface Calls {
  open(args: { device: DeviceName }): { about: About; policies: Policy[]; ops: Op[] };
  generate(args: { settings: Run; preview: number }): Made;
  alike(args: { clip: number; other: number }): { psnr: number; ssim: number };
  file(args: { clip: number; format: "gif" | "apng" | "skip-map"; scale: number }): Uint8Array | string;
  /** Results without rows. */
  results(args: Machine): Results;
  /** Results with the rows of `steep verify`. */
  verify(args: Wanted): Results;
  /** Results with the rows of `steep bench`. */
  bench(args: Wanted): Results;
  /** Runs the cases of an op with a shader of the visitor's, and times it beside the op's own if nothing is wrong. */
  try(args: { file: string; text: string; values: number; time: boolean }): Trial;
  /** The adapter goes away, as when somebody pulls it out: for the tests of what the page does then. */
  lose(args: Record<string, never>): void;
  /** What a policy decides on recorded distances; one without coefficients takes those of the model's calibration. */
  replay(args: { distances: (number | null)[]; cache: string; calibration: object | null }): Decided[];
  forget(args: { clips: number[] }): void;
}

export type Name = keyof Calls;
export type Args<N extends Name> = Parameters<Calls[N]>[0];
export type Answer<N extends Name> = ReturnType<Calls[N]>;

/** What a decision was, and the numbers behind it. */
export type Decided = Pick<Step, "d" | "acc" | "decision">;

/** What a call tells before it is done. */
export type Event =
  | ({ event: "weights" } & Progress)
  /** The browser does not keep files, and says why. */
  | { event: "unkept"; why: string }
  | Stepped
  | Seen;

/** A step of a run is done. */
export interface Stepped {
  event: "step";
  step: number;
  steps: number;
  /** null where only the device knows it yet. */
  decision: Step["decision"] | null;
  /** All steps so far, where they were read; else none. */
  decided: Decided[];
  seconds: number;
}

/** Work on kernels: the case that is next, or what was found. */
export interface Seen {
  event: "seen";
  op?: string;
  shape?: string;
  case?: string;
  dtype?: string;
  done?: number;
  of?: number;
}

export type ToWorker = { id: number; call: Name; args: unknown } | { cancel: number };

export type FromWorker =
  | { id: number; event: Event; frame?: Uint8Array }
  | { id: number; answer: unknown }
  | { id: number; error: string; cancelled: boolean }
  | { crashed: string };
