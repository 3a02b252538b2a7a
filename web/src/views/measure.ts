/** Measure this GPU: what is right on it, how fast it is, and what a cached run decides; as a table and as a file. */

import { download, h, put } from "../dom";
import { Cancelled, engine } from "../engine/client";
import type { Event, Machine, Results, Verified } from "../engine/protocol";
import { read } from "../settings";
import { table } from "../ui/table";
import { timedTable } from "../ui/timed";

/** The run whose decisions are part of the results. A link can ask for fewer steps: `#/measure?steps=10`. */
const RUN = { class: 6, seed: 0, guidance: 3, cache: "tea:0.1:identity", gate: "device" } as const;

/** What is measured where no op is named. */
const ALL = "all";

/** Stays while the visitor looks at other pages. */
let results: Results | null = null;

export function measure(root: HTMLElement, _: string[], query: URLSearchParams): () => void {
  const { steps } = read(query);
  let abort: AbortController | null = null;
  const status = h("p", { class: "status", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress", hidden: true });
  const button = h("button", { type: "button", class: "primary", onclick: () => (abort ? abort.abort() : void run()) });
  const out = h("div", {});

  const op = h("select", { id: "op" }, h("option", { value: ALL }, "all, and the whole model"));
  const parts = {
    verify: check("verify", "Is every kernel right?", "each op, source and type of operands against a naive reference in f64"),
    bench: check("bench", "How fast is each?", "in interleaved rounds, beside this device’s best copy and matrix product"),
    run: check("run", "What does a cached run decide?", `${steps} steps of the digit ${RUN.class}, ${RUN.cache}`),
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
    h("div", { class: "field narrow" }, h("label", { for: "op" }, "Ops"), op),
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
      const wanted = { machine: machine(), ops: op.value === ALL ? [] : [op.value] };
      const whole = await engine.call("results", wanted.machine, { signal });
      const device = whole.devices[0]!;
      const watch = (event: Event) => {
        if (event.event !== "seen") return;
        const { op, shape, done, of } = event;
        if (op !== undefined) status.textContent = `${op} ${shape ?? ""}`;
        if (done !== undefined && of) bar.value = done / of;
      };
      const go = { signal, watch };
      if (parts.verify.input.checked) device.verified = (await engine.call("verify", wanted, go)).devices[0]!.verified;
      show((results = whole));
      if (parts.bench.input.checked) device.timed = (await engine.call("bench", wanted, go)).devices[0]!.timed;
      show(whole);
      if (parts.run.input.checked) {
        const stepped = (event: Event) => {
          if (event.event !== "step") return;
          status.textContent = `making a clip: step ${event.step + 1} of ${steps}`;
          bar.value = (event.step + 1) / steps;
        };
        const made = await engine.call("generate", { settings: { ...RUN, steps }, preview: 0 }, { signal, watch: stepped });
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
        h("button", { type: "button", onclick: () => download(`${stem(whole)}.page.json`, "application/json", JSON.stringify(whole, null, 2)) }, "Download (JSON)"),
      ),
      h("p", { class: "note" }, "The file is what ", h("code", {}, "steep verify --json"), " and ", h("code", {}, "steep bench --json"), " print, with what the browser tells about the adapter. Its place is benches/results in the repository; docs/results.md tells how to contribute it."),
      verified.length > 0 && h("p", { class: wrong ? "wrong" : "right" }, wrong ? `✗ ${wrong} of ${verified.length} are wrong` : `✓ all ${verified.length} are right`),
      verified.length > 0 && table(["op", "source", "type", "cases", "error, of what is allowed"], verified.map(ofVerified), "What is right"),
      timed.length > 0 && timedTable(timed, "How fast it is", ["op", "source", "shape", "dtype"]),
      run && h("h2", {}, "A cached run"),
      run && h("p", {}, `${run.computed} of ${run.steps.length} steps computed: `, h("code", { class: "letters" }, run.steps.map(({ decision }) => decision).join(""))),
    );
  }

  idle();
  if (results) show(results);
  void engine.open(engine.wanted);
  const unwatch = engine.opened(({ ops }) => {
    const names = [...ops.map(({ name }) => name), "forward"];
    if (op.options.length === 1) op.append(...names.map((name) => h("option", { value: name }, name)));
  });
  return () => {
    unwatch();
    abort?.abort();
  };
}

/** What the file is called: the day and the hardware. */
function stem({ date, devices }: Results): string {
  const { facts, description } = devices[0]!;
  const hardware = (facts.hardware || description).toLowerCase().replaceAll(/[^a-z0-9.]+/g, "-");
  return `${date}-${hardware.replaceAll(/^-|-$/g, "")}`;
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
