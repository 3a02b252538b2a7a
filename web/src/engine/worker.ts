/** The worker: it owns the device, the model and the clips, and does what the page asks. */

import init, { Steep, listen, policies, replay, type Clip } from "../../wasm/pkg/steep";
import type { Answer, Args, Event, FromWorker, Name, ToWorker } from "./protocol";
import { MODEL, files } from "./weights";

type Tell = (event: Event, frame?: Uint8Array) => void;
/** Whether the page still wants the call, as far as is known. */
type GoOn = () => boolean;

let steep: Steep | null = null;
const clips = new Map<number, Clip>();
let nextClip = 0;
const warm = new Set<string>();
const cancelled = new Set<number>();

const device = (): Steep => {
  if (!steep) throw new Error("no device is open");
  return steep;
};
const clip = (number: number): Clip => {
  const found = clips.get(number);
  if (!found) throw new Error("that clip is gone: make it again");
  return found;
};

const calls: { [N in Name]: (args: Args<N>, tell: Tell, goOn: GoOn) => Answer<N> | Promise<Answer<N>> } = {
  async open(args, tell) {
    await load();
    warm.clear();
    const { weights, calibration, keep } = await files((progress) => tell({ event: "weights", ...progress }));
    steep = await Steep.open(args.device, MODEL, weights, calibration);
    // Only what has proved to be the model.
    const refused = await keep();
    if (refused) tell({ event: "unkept", why: refused });
    return { about: JSON.parse(steep.about()), policies: JSON.parse(policies()), ops: JSON.parse(steep.ops()) };
  },

  async generate(args, tell, goOn) {
    const { class: digit, seed, steps, guidance, cache, gate } = args.settings;
    // Kernels are compiled before the first run of their kind whose time counts: one without pictures. Where there was one
    // with pictures before, they are compiled already.
    const kind = `${guidance === 1} ${cache}`;
    const settings = { class: digit, seed, steps, guidance, cache, gate, preview_every: args.preview, warm_up: !args.preview && !warm.has(kind) };
    const made = await device().generate(JSON.stringify(settings), async (event: string, frame?: Uint8Array) => {
      tell({ event: "step", ...JSON.parse(event) }, frame);
      await turn();
      return goOn();
    });
    warm.add(kind);
    const number = nextClip++;
    clips.set(number, made);
    return { clip: number, record: JSON.parse(made.record()), frames: made.frames() };
  },

  alike: ({ clip: a, other: b }) => ({ psnr: clip(a).psnr(clip(b)), ssim: clip(a).ssim(clip(b)) }),

  file({ clip: number, format, scale }) {
    const made = clip(number);
    if (format === "skip-map") return made.skip_map();
    return format === "gif" ? made.gif(scale) : made.apng(scale);
  },

  results: (machine) => JSON.parse(device().results(JSON.stringify({ machine }))),

  async verify(wanted, tell, goOn) {
    return JSON.parse(await device().verify(JSON.stringify(wanted), watched(tell, goOn)));
  },

  async bench(wanted, tell, goOn) {
    return JSON.parse(await device().bench(JSON.stringify(wanted), watched(tell, goOn)));
  },

  async try({ file, text, values, time }, tell, goOn) {
    return JSON.parse(await device().try_kernel(file, text, JSON.stringify({ values, time }), watched(tell, goOn)));
  },

  lose: () => device().lose(),

  async replay({ distances, cache, calibration }) {
    await load();
    return JSON.parse(replay(JSON.stringify(distances), cache, calibration && JSON.stringify(calibration)));
  },

  forget({ clips: numbers }) {
    for (const number of numbers) {
      clips.get(number)?.free();
      clips.delete(number);
    }
  },
};

/** Calls that keep the device at work. They take turns: one that was cancelled may still be at its last kernel. */
const AT_WORK: Name[] = ["generate", "verify", "bench", "try"];
let work: Promise<unknown> = Promise.resolve();

function inTurn<T>(call: Name, run: () => T | Promise<T>): T | Promise<T> {
  if (!AT_WORK.includes(call)) return run();
  const mine = work.then(run);
  work = mine.catch(() => {});
  return mine;
}

/** Hands on what is told, and ends the work once the page has cancelled it. */
const watched = (tell: Tell, goOn: GoOn) => (event: string) => {
  tell({ event: "seen", ...JSON.parse(event) });
  return goOn();
};

/** The program, loaded once. After a panic nothing of it works any more, and the page starts another worker. */
let loading: Promise<unknown> | null = null;
const load = () => (loading ??= init().then(() => listen((crashed: string) => post({ crashed }))));

/** A turn of the event loop: a cancellation that the page has sent is heard in it. */
const turn = (() => {
  const { port1, port2 } = new MessageChannel();
  const resume: (() => void)[] = [];
  port1.onmessage = () => resume.shift()?.();
  return () =>
    new Promise<void>((resolve) => {
      resume.push(resolve);
      port2.postMessage(null);
    });
})();

const post = (message: FromWorker, transfer: Transferable[] = []) => self.postMessage(message, { transfer });

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  if ("cancel" in data) {
    cancelled.add(data.cancel);
    return;
  }
  const { id, call, args } = data;
  const tell: Tell = (event, frame) => post({ id, event, frame });
  const goOn = () => !cancelled.has(id);
  try {
    const run = calls[call] as (args: unknown, tell: Tell, goOn: GoOn) => unknown;
    const answer = await inTurn(call, () => {
      if (!goOn()) throw new Error("cancelled");
      return run(args, tell, goOn);
    });
    post({ id, answer });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    post({ id, error: message, cancelled: cancelled.has(id) });
    // A device that failed is opened anew, or another one is.
    if (name === "DeviceError" && call !== "open") post({ crashed: message });
  } finally {
    cancelled.delete(id);
  }
};
