/** The page's side of the worker: calls that can be cancelled, and a worker that can be started anew. */

import type { About, Answer, Args, DeviceName, Event, FromWorker, Name, Op, Policy } from "./protocol";
import type { Progress } from "./weights";

/** A call that the visitor cancelled. */
export class Cancelled extends Error {}

export interface Options {
  watch?: (event: Event, frame?: Uint8Array) => void;
  signal?: AbortSignal;
}

interface Waiting extends Options {
  resolve: (answer: unknown) => void;
  reject: (error: Error) => void;
}

export interface Opened {
  about: About;
  policies: Policy[];
  ops: Op[];
}

export type Status =
  | { state: "closed" }
  | { state: "opening"; wanted: DeviceName; progress: Progress | null }
  | { state: "open"; wanted: DeviceName; opened: Opened; unkept: string | null }
  | { state: "failed"; wanted: DeviceName; error: string };

/** How long a worker may take to hear that it should stop, before it is ended. */
const PATIENCE_MS = 4000;

class Engine {
  status: Status = { state: "closed" };
  /** The device that was asked for last. */
  wanted: DeviceName = "auto";
  private worker: Worker | null = null;
  private waiting = new Map<number, Waiting>();
  private next = 0;
  private listeners = new Set<() => void>();
  private opening: Promise<Opened> | null = null;

  /** Calls back at each change of the status, until what is returned is called. */
  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Calls back with the device that is open, and with each that is opened later, until what is returned is called. */
  opened(see: (opened: Opened) => void): () => void {
    let seen: Opened | null = null;
    const look = () => {
      if (this.status.state === "open" && this.status.opened !== seen) see((seen = this.status.opened));
    };
    look();
    return this.watch(look);
  }

  /** The device, opened if it is not. Another one than before ends the worker, and what it was doing. */
  open(wanted: DeviceName): Promise<Opened> {
    const { status } = this;
    if (this.opening && status.state !== "closed" && status.wanted === wanted) return this.opening;
    this.end("another device was chosen");
    this.wanted = wanted;
    this.say({ state: "opening", wanted, progress: null });
    let unkept: string | null = null;
    const watch = (event: Event) => {
      if (event.event === "weights") this.say({ state: "opening", wanted, progress: event });
      if (event.event === "unkept") unkept = event.why;
    };
    const opening = this.call("open", { device: wanted }, { watch }).then(
      (opened) => {
        this.say({ state: "open", wanted, opened, unkept });
        return opened;
      },
      (error: Error) => {
        if (this.opening === opening) this.fail(error.message);
        throw error;
      },
    );
    this.opening = opening;
    // Who asks for it later hears of it; nobody has to.
    opening.catch(() => {});
    return opening;
  }

  /** Asks the worker to do something. */
  call<N extends Name>(call: N, args: Args<N>, options: Options = {}): Promise<Answer<N>> {
    const id = this.next++;
    const worker = this.started();
    return new Promise<Answer<N>>((resolve, reject) => {
      if (options.signal?.aborted) return reject(new Cancelled("cancelled"));
      this.waiting.set(id, { ...options, resolve: resolve as (answer: unknown) => void, reject });
      options.signal?.addEventListener("abort", () => {
        if (!this.waiting.has(id) || this.worker !== worker) return;
        worker.postMessage({ cancel: id });
        setTimeout(() => {
          // A kernel that does not return, say. The next call starts a new worker.
          if (this.waiting.has(id) && this.worker === worker) this.restart();
        }, PATIENCE_MS);
      });
      worker.postMessage({ id, call, args });
    });
  }

  /** Ends the worker and opens the same device again. */
  restart(): void {
    const { status } = this;
    if (status.state === "closed") return;
    this.end("");
    void this.open(status.wanted);
  }

  private started(): Worker {
    if (this.worker) return this.worker;
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "steep" });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.fail(event.message || "the worker's program could not be loaded");
    };
    this.worker = worker;
    return worker;
  }

  private hear(message: FromWorker): void {
    if ("crashed" in message) return this.fail(message.crashed);
    const waiting = this.waiting.get(message.id);
    if (!waiting) return;
    if ("event" in message) return waiting.watch?.(message.event, message.frame);
    this.waiting.delete(message.id);
    if ("answer" in message) return waiting.resolve(message.answer);
    waiting.reject(message.cancelled ? new Cancelled("cancelled") : new Error(message.error));
  }

  /** The worker is of no use any more. */
  private fail(error: string): void {
    const { status } = this;
    const wanted = status.state === "closed" ? "auto" : status.wanted;
    this.end(error);
    this.say({ state: "failed", wanted, error });
  }

  /** Ends the worker. Calls that wait for it fail with `error`, or count as cancelled where it is empty. */
  private end(error: string): void {
    this.worker?.terminate();
    this.worker = null;
    this.opening = null;
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    this.status = { state: "closed" };
    for (const call of waiting) call.reject(error ? new Error(error) : new Cancelled("cancelled"));
  }

  private say(status: Status): void {
    this.status = status;
    for (const listener of this.listeners) listener();
  }
}

export const engine = new Engine();
