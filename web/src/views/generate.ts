/** Generate: settings, two clips that grow side by side, and what caching gained. */

import { download, h, put, seconds } from "../dom";
import { Cancelled, engine, type Opened } from "../engine/client";
import type { Event, Made, Settings } from "../engine/protocol";
import { read, threshold, write } from "../settings";
import { gateCost } from "../ui/gate";
import { Player, Screen } from "../ui/player";
import { form } from "../ui/form";
import { SkipMap, type Bar } from "../ui/skipmap";
import { table } from "../ui/table";

/** How many pictures of an unfinished clip are shown. Each is a read that the device waits for, so timed runs have none. */
const PREVIEWS = 12;

/** What is left of a run: both clips, and how long each took without pictures. */
interface Result {
  settings: Settings;
  uncached: Made;
  cached: Made;
  pairs: [number, number][];
  psnr: number;
  ssim: number;
}

/** Stays while the visitor looks at other pages. */
let last: Result | null = null;

export function generate(root: HTMLElement, _: string[], query: URLSearchParams): () => void {
  const settings = query.size ? read(query) : { ...(last?.settings ?? read(query)) };
  // Unless a link says so, the device is the one that was chosen last.
  if (!query.has("device")) settings.device = engine.wanted;
  let abort: AbortController | null = null;

  const screens = [new Screen("Every step"), new Screen("With a cache")] as const;
  const player = new Player([...screens]);
  const map = new SkipMap("Which steps of the cached run were computed");
  const status = h("p", { class: "status", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const start = h("button", { type: "submit", class: "primary" }, "Generate");
  const cancel = h("button", { type: "button", onclick: () => abort?.abort() }, "Cancel");
  const results = h("div", { class: "results" });
  const costs = gateCost(() => settings);

  const controls = form(settings, {
    submit: () => void run(),
    change: () => history.replaceState(null, "", write(settings)),
    actions: [start, cancel],
  });

  put(
    root,
    h(
      "div",
      { class: "intro" },
      h("h1", {}, "Video diffusion, and the steps it can skip"),
      h(
        "p",
        {},
        "A small transformer turns noise into a moving digit, step by step. TeaCache measures before each step how much it would change, and skips the transformer where the answer is “little”. Both clips start from the same noise.",
      ),
    ),
    h(
      "div",
      { class: "bench" },
      controls.element,
      h(
        "section",
        { class: "stage", "aria-label": "Clips" },
        h("div", { class: "screens" }, screens[0].figure, screens[1].figure),
        player.controls,
        h("div", { class: "progress" }, bar, status),
        map.element,
        results,
        costs,
      ),
    ),
  );

  const idle = () => {
    cancel.disabled = true;
    start.disabled = false;
    bar.hidden = true;
  };

  async function run(): Promise<void> {
    if (abort) return;
    const mine = (abort = new AbortController());
    const { signal } = mine;
    const wanted = { ...settings };
    history.replaceState(null, "", write(wanted));
    [cancel.disabled, start.disabled, bar.hidden] = [false, true, false];
    bar.removeAttribute("value");
    put(results);
    // Where everything is in one column, the clips are below the settings.
    if (matchMedia("(max-width: 56rem)").matches && document.activeElement === start) screens[0].figure.scrollIntoView({ block: "center" });
    try {
      status.textContent = "Opening the device …";
      const opened = await engine.open(wanted.device);
      const shape = opened.about.model;
      player.length(shape.frames);
      for (const screen of screens) {
        screen.show(null, shape);
        screen.note("");
      }
      map.show([], wanted.steps, limit(wanted, opened));
      forget(last);
      last = null;
      const uncached = await make(0, wanted, "off", signal, opened);
      const cached = await make(1, wanted, wanted.cache, signal, opened);
      const { psnr, ssim } = await engine.call("alike", { clip: cached.clip, other: uncached.clip }, { signal });
      const result: Result = { settings: wanted, uncached, cached, pairs: [], psnr, ssim };
      last = result;
      show(result, opened);
      for (let pair = 0; pair < wanted.time; pair++) await time(result, signal, opened);
      status.textContent = "Done.";
    } catch (error) {
      status.textContent = error instanceof Cancelled ? "Cancelled." : `It did not work: ${(error as Error).message}`;
    } finally {
      if (abort === mine) abort = null;
      idle();
    }
  }

  /** One clip, shown as it grows. */
  async function make(which: 0 | 1, wanted: Settings, cache: string, signal: AbortSignal, opened: Opened): Promise<Made> {
    const screen = screens[which];
    const shape = opened.about.model;
    const bars: Bar[] = [];
    const made = await engine.call(
      "generate",
      { settings: { ...wanted, cache }, preview: Math.max(1, Math.ceil(wanted.steps / PREVIEWS)) },
      {
        signal,
        watch: (event, frame) => {
          if (frame) {
            screen.show(frame, shape);
            player.redraw();
          }
          if (event.event !== "step") return;
          const { step, decision, decided } = event;
          bars[step] = { d: null, acc: null, decision: decision ?? "?" };
          decided.forEach((known, i) => (bars[i] = known));
          bar.value = (which + (step + 1) / wanted.steps) / 2;
          screen.note(`step ${step + 1} of ${wanted.steps}`);
          status.textContent = `${screen.title}: step ${step + 1} of ${wanted.steps}`;
          if (which === 1) map.show(bars, wanted.steps, limit(wanted, opened));
        },
      },
    );
    screen.show(made.frames, shape);
    player.redraw();
    return made;
  }

  /** One more pair of runs without pictures, which is what is timed. */
  async function time(result: Result, signal: AbortSignal, opened: Opened): Promise<void> {
    const pair: number[] = [];
    for (const cache of ["off", result.settings.cache]) {
      status.textContent = `Timing the run ${cache === "off" ? "of every step" : "with the cache"}, without pictures …`;
      const watch = (event: Event) => {
        if (event.event === "step") bar.value = (pair.length + (event.step + 1) / result.settings.steps) / 2;
      };
      const made = await engine.call("generate", { settings: { ...result.settings, cache }, preview: 0 }, { signal, watch });
      pair.push(made.record.wall_ms / 1e3);
      await engine.call("forget", { clips: [made.clip] });
    }
    result.pairs.push(pair as [number, number]);
    show(result, opened);
  }

  async function again(result: Result): Promise<void> {
    if (abort) return;
    const mine = (abort = new AbortController());
    [cancel.disabled, start.disabled, bar.hidden] = [false, true, false];
    try {
      await time(result, mine.signal, await engine.open(result.settings.device));
      status.textContent = "Done.";
    } catch (error) {
      status.textContent = error instanceof Cancelled ? "Cancelled." : `It did not work: ${(error as Error).message}`;
    } finally {
      abort = null;
      idle();
    }
  }

  function show(result: Result, opened: Opened): void {
    const { uncached, cached, settings, pairs } = result;
    const shape = opened.about.model;
    const counts = ({ record }: Made) => `${record.computed} of ${record.steps.length} steps computed`;
    [uncached, cached].forEach((made, i) => {
      const screen = screens[i]!;
      screen.show(made.frames, shape);
      screen.note(counts(made));
      screen.label(`a clip of the digit ${settings.class}, ${counts(made)}`);
    });
    player.length(shape.frames);
    map.show(
      cached.record.steps.map(({ d, acc, decision }) => ({ d, acc, decision })),
      cached.record.steps.length,
      limit(settings, opened),
    );
    const mean = (which: 0 | 1) => pairs.reduce((sum, pair) => sum + pair[which], 0) / pairs.length;
    const [slow, fast] = [mean(0), mean(1)];
    const bound = cached.record.steps.length / cached.record.computed;
    const timed = pairs.length > 0;
    put(
      results,
      table(
        ["", "every step", "with the cache"],
        [
          ["steps that ran the transformer", String(uncached.record.computed), `${cached.record.computed} (${cached.record.skipped} skipped)`],
          [`time${pairs.length > 1 ? `, mean of ${pairs.length}` : ""}`, timed ? seconds(slow) : "not timed", timed ? seconds(fast) : "not timed"],
          ["speedup, and its bound", "", timed ? `${(slow / fast).toFixed(2)}× of ${bound.toFixed(2)}×` : `? of ${bound.toFixed(2)}×`],
          ["likeness to the other clip", "", likeness(result)],
        ],
        "What caching gained",
      ),
      h(
        "p",
        { class: "note" },
        "The bound is steps divided by computed steps: no cache of this kind can be faster. Times are of runs without pictures.",
        timed && slow / fast > bound && " Here it seems to be: something else slowed the first run. Time it again.",
      ),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: () => void again(result) }, "Time it again"),
        save("GIF", "image/gif", "gif", cached),
        save("APNG", "image/apng", "apng", cached),
        save("Skip map", "image/svg+xml", "skip-map", cached),
        h(
          "button",
          {
            type: "button",
            onclick: () => download(`${stem(settings)}.json`, "application/json", JSON.stringify(cached.record, null, 2)),
          },
          "Record (JSON)",
        ),
        link(settings),
      ),
    );
  }

  function save(label: string, type: string, format: "gif" | "apng" | "skip-map", made: Made): HTMLElement {
    const extension = { gif: "gif", apng: "png", "skip-map": "svg" }[format];
    const hand = async () => {
      try {
        const content = await engine.call("file", { clip: made.clip, format, scale: 8 });
        download(`${stem(settings)}.${extension}`, type, content as BlobPart);
      } catch (error) {
        status.textContent = (error as Error).message;
      }
    };
    return h("button", { type: "button", onclick: () => void hand() }, label);
  }

  function link(settings: Settings): HTMLElement {
    const address = new URL(write(settings), location.href).href;
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(address);
        status.textContent = "The link is copied: it makes this clip on any device.";
      } catch {
        status.textContent = `This link makes the clip again: ${address}`;
      }
    };
    return h("button", { type: "button", onclick: () => void copy() }, "Copy link");
  }

  idle();
  void engine.open(settings.device);
  let first = true;
  const unwatch = [
    engine.watch(() => void (settings.device = engine.wanted)),
    engine.opened((opened) => {
      controls.opened(opened);
      if (!first) return;
      first = false;
      if (last && !query.size) return show(last, opened);
      if (!abort) map.show([], settings.steps, limit(settings, opened));
      // A link that names a run asks for it.
      if (query.has("cache")) void run();
    }),
  ];
  return () => {
    unwatch.forEach((stop) => stop());
    abort?.abort();
    player.stop();
  };
}

function limit(settings: Settings, { policies }: Opened): number | null {
  const policy = policies.find(({ name }) => name === settings.cache.split(":")[0]);
  return policy ? threshold(settings.cache, policy.syntax) : null;
}

function forget(result: Result | null): void {
  if (result) engine.call("forget", { clips: [result.uncached.clip, result.cached.clip] }).catch(() => {});
}

function stem({ class: digit, seed, cache }: Settings): string {
  return `steep-${digit}-${seed}-${cache.replaceAll(/[^\w.]+/g, "-")}`;
}

function likeness({ psnr, ssim }: Result): string {
  // As far as it is counted.
  if (psnr >= 100) return "no difference";
  return `PSNR ${psnr.toFixed(1)} dB, SSIM ${ssim.toFixed(3)}`;
}
