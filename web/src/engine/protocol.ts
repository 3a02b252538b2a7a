/** What the page and its worker say to each other. The worker owns the device; the page never waits for it. */

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
}

/** What `Steep.about` tells. */
export interface About {
  /** `cpu` or `wgpu`. */
  device: string;
  describe: string;
  gpu: boolean;
  model: { name: string; frames: number; height: number; width: number; channels: number; classes: number; parameters: number };
}

/** A cache policy that can be named. */
export interface Policy {
  name: string;
  syntax: string;
  skips_when: string;
  source: { name: string; url: string } | null;
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
  open(args: { device: DeviceName }): { about: About; policies: Policy[] };
  generate(args: { settings: Omit<Settings, "device">; preview: number }): Made;
  alike(args: { clip: number; other: number }): { psnr: number; ssim: number };
  file(args: { clip: number; format: "gif" | "apng" | "skip-map"; scale: number }): Uint8Array | string;
  /** What a threshold decides on recorded distances: the numbers of a step as a run records them. */
  replay(args: {
    distances: (number | null)[];
    threshold: number;
    coefficients: number[];
    range: [number, number] | null;
  }): Pick<Step, "d" | "acc" | "decision">[];
  forget(args: { clips: number[] }): void;
}

export type Name = keyof Calls;
export type Args<N extends Name> = Parameters<Calls[N]>[0];
export type Answer<N extends Name> = ReturnType<Calls[N]>;

/** What a call tells before it is done. */
export interface Event {
  event: string;
  [key: string]: unknown;
}

export type ToWorker = { id: number; call: Name; args: unknown } | { cancel: number };

export type FromWorker =
  | { id: number; event: Event; frame?: Uint8Array }
  | { id: number; answer: unknown }
  | { id: number; error: string; cancelled: boolean }
  | { crashed: string };
