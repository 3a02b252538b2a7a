/** Measure this GPU: what is right on it, how fast it is, and what a cached run decides; as a table and as a file. */

import { download, h, put } from "../dom";
import { Cancelled, engine } from "../engine/client";
import type { Event, Machine, Results, Timed, Verified } from "../engine/protocol";
import { table } from "../ui/table";

/** The run whose decisions are part of the results. */
const RUN = { class: 6, seed: 0, steps: 50, guidance: 3, cache: "tea:0.1:identity", gate: "device" } as const;

/** Stays while the visitor looks at other pages. */
let results: Results | null = null;

export function measure(root: HTMLElement): () => void {
  let abort: AbortController | null = null;
  const status = h("p", { class: "status", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress", hidden: true });
  const button = h("button", { type: "button", class: "primary", onclick: () => (abort ? abort.abort() : void run()) });
  const out = h("div", {});

  const parts = {
    verify: check("verify", "Is every kernel right?", "each op, source and type of operands against a naive reference in f64"),
    bench: check("bench", "How fast is each?", "in interleaved rounds, beside this device’s best copy and matrix product"),
    run: check("run", "What does a cached run decide?", `${RUN.steps} steps of the digit ${RUN.class}, ${RUN.cache}`),
  };

  put(
    root,
    h(
      "div",
      { class: "intro" },
      h("h1", {}, "Measure this GPU"),
      h("p", {}, "Verifies all kernels on this machine, times them and makes a cached clip. Nothing leaves this machine unless you send the file yourself."),
    ),
    h("fieldset", { class: "choices measures" }, h("legend", {}, "What to measure"), ...Object.values(parts).map(({ label }) => label)),
    h("div", { class: "row" }, button),
    h("div", { class: "progress" }, bar, status),
    out,
  );

  const idle = () => {
    button.textContent = "Measure";
    bar.hidden = true;
  };

  async function run(): Promise<void> {
    abort = new AbortController();
    const { signal } = abort;
    button.textContent = "Cancel";
    bar.hidden = false;
    bar.removeAttribute("value");
    try {
      const { about } = await engine.open(engine.wanted);
      const here = machine();
      const whole = await engine.call("results", here, { signal });
      const device = whole.devices[0]!;
      const watch = (event: Event) => {
        if (event.event !== "seen") return;
        const { op, shape, done, of } = event;
        if (op !== undefined) status.textContent = `${op} ${shape ?? ""}`;
        if (done !== undefined && of) bar.value = done / of;
      };
      const go = { signal, watch };
      if (parts.verify.input.checked) device.verified = (await engine.call("verify", here, go)).devices[0]!.verified;
      show((results = whole));
      if (parts.bench.input.checked) device.timed = (await engine.call("bench", here, go)).devices[0]!.timed;
      show(whole);
      if (parts.run.input.checked) {
        const steps = (event: Event) => {
          if (event.event !== "step") return;
          status.textContent = `making a clip: step ${event.step + 1} of ${RUN.steps}`;
          bar.value = (event.step + 1) / RUN.steps;
        };
        const made = await engine.call("generate", { settings: RUN, preview: 0 }, { signal, watch: steps });
        await engine.call("forget", { clips: [made.clip] });
        device.run = made.record;
      }
      show(whole);
      status.textContent = `Measured on ${about.describe}.`;
    } catch (error) {
      status.textContent = error instanceof Cancelled ? "Cancelled." : `It did not work: ${(error as Error).message}`;
    } finally {
      abort = null;
      idle();
    }
  }

  function show(whole: Results): void {
    const device = whole.devices[0];
    if (!device) return;
    const { verified, timed, run } = device;
    const wrong = verified.filter((row) => row.wrong > 0).length;
    put(
      out,
      h(
        "div",
        { class: "row save" },
        h("button", { type: "button", onclick: () => download("measured.page.json", "application/json", JSON.stringify(whole, null, 2)) }, "Download (JSON)"),
      ),
      h("p", { class: "note" }, "The file is what ", h("code", {}, "steep verify --json"), " and ", h("code", {}, "steep bench --json"), " print, with what the browser tells about the adapter. Its place is benches/results in the repository; docs/results.md tells how to contribute it."),
      verified.length > 0 && h("p", { class: wrong ? "wrong" : "right" }, wrong ? `✗ ${wrong} of ${verified.length} are wrong` : `✓ all ${verified.length} are right`),
      verified.length > 0 && table(["op", "source", "type", "cases", "error, of what is allowed"], verified.map(ofVerified), "What is right"),
      timed.length > 0 && table(["op", "source", "shape", "type", "time", "of the ceiling"], timed.map(ofTimed), "How fast it is"),
      run && h("h2", {}, "A cached run"),
      run && h("p", {}, `${run.computed} of ${run.steps.length} steps computed: `, h("code", { class: "letters" }, run.steps.map(({ decision }) => decision).join(""))),
    );
  }

  idle();
  if (results) show(results);
  return () => abort?.abort();
}

/** As far as a browser says. */
function machine(): Machine {
  const { userAgent, hardwareConcurrency } = navigator;
  const os = /\(([^;)]*)/.exec(userAgent)?.[1] ?? "";
  const browser = /(Firefox|Edg|Chrome|Version)\/[\d.]+/.exec(userAgent)?.[0] ?? userAgent;
  return { os, browser, threads: hardwareConcurrency || 1 };
}

function check(name: string, title: string, about: string) {
  const input = h("input", { type: "checkbox", name, checked: true });
  return { input, label: h("label", {}, input, h("span", {}, title, h("small", {}, about))) };
}

function ofVerified(row: Verified): string[] {
  const share = `${(100 * row.of_bound).toFixed(0)} %`;
  const state = row.wrong ? `✗ ${row.wrong} of ${row.cases} wrong: ${row.fault ?? ""}` : share;
  return [row.op, row.source, row.dtype, String(row.cases), state];
}

function ofTimed(row: Timed): string[] {
  const share = row.ceiling_pct === null ? "" : `${row.ceiling_pct.toFixed(0)} % of the ${row.bound === "copy" ? "copy" : "product"}`;
  return [row.op, row.source, row.shape, row.dtype, `${row.ms.toPrecision(3)} ms`, share];
}
