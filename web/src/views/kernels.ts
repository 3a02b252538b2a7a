/** Kernels: every op with its formula and its sources, to read, to change and to run. */

import { h, put } from "../dom";
import { Cancelled, engine, type Opened } from "../engine/client";
import type { Event, Op, Shader, Trial } from "../engine/protocol";
import type { Editor } from "../ui/editor";
import { timedTable } from "../ui/timed";

/** Where the exercises begin. */
const EXERCISES = import.meta.glob<string>("../../../exercises/*/starter.wgsl", { query: "?raw", import: "default", eager: true });

/** What tabs are called that are no sources of the op. */
const TITLES: Record<string, string> = {
  starter: "Start anew",
  ...Object.fromEntries(Object.keys(EXERCISES).map((path) => path.split("/").at(-2)!).map((name) => [name, `Exercise ${name.split("-")[0]}`])),
};

/** The CPU twin of each op, as the crate has it. */
const RUST = import.meta.glob<string>("../../../src/ops/*.rs", { query: "?raw", import: "default" });

export function kernels(root: HTMLElement, [name, label]: string[]): () => void {
  const list = h("ul", { class: "ops" });
  const body = h("div", { class: "op" });
  let editor: Editor | null = null;
  let left = false;
  put(
    root,
    h(
      "div",
      { class: "intro" },
      h("h1", {}, "Kernels"),
      h("p", {}, "Everything that the model computes is one of these ops. Each has a ladder of WebGPU shaders, the fastest first and a naive one last, and a twin in Rust for the CPU."),
    ),
    h("div", { class: "reader" }, h("nav", { "aria-label": "Ops" }, list), body),
  );
  put(body, h("p", { class: "status", role: "status" }, "The kernels are read from the program: it is loading …"));

  const show = async ({ ops }: Opened) => {
    const op = ops.find((op) => op.name === name) ?? ops[0];
    if (!op || left) return;
    put(
      list,
      ...ops.map(({ name }) =>
        h("li", {}, h("a", { href: `#/kernels/${name}`, "aria-current": name === op.name ? "page" : null }, name)),
      ),
    );
    const sources = [...op.wgsl, ...exercises(op)];
    const chosen = label === "rust" ? null : (sources.find((source) => source.label === label) ?? sources[0] ?? null);
    const tab = (id: string, text: string, current: boolean) =>
      h("a", { href: `#/kernels/${op.name}/${id}`, "aria-current": current ? "page" : null }, text);
    // The editor is half of the page's program, and only needed here.
    const [text, ui] = await Promise.all([chosen ? chosen.text : rust(op), import("../ui/editor")]);
    if (left) return;
    const about = chosen ? chosen.file : `src/ops/${op.name}.rs`;
    editor?.close();
    editor = new ui.Editor(`${op.name}, ${chosen ? `shader ${chosen.label}` : "Rust"}`, text, chosen ? "wgsl" : "rust", chosen ? () => {} : null);
    put(
      body,
      h("h2", { class: "first" }, h("code", {}, op.name)),
      prose(op.doc),
      h("p", { class: "note" }, `Types of operands: ${op.dtypes.join(", ")}.`),
      h(
        "nav",
        { class: "tabs", "aria-label": "Sources" },
        ...sources.map((source) => tab(source.label, TITLES[source.label] ?? `WGSL ${source.label}`, source === chosen)),
        tab("rust", "Rust (CPU)", chosen === null),
      ),
      h("p", { class: "note" }, h("code", {}, about), chosen && !chosen.runs && " wants more than this device has."),
      editor.element,
      chosen && bench(op, editor, text),
    );
  };
  // What is being edited stays when another device is chosen.
  let shown = false;
  const unwatch = engine.opened((opened) => {
    if (!shown) void show(opened);
    shown = true;
  });
  void engine.open(engine.wanted);
  return () => {
    left = true;
    unwatch();
    editor?.close();
  };
}

/** What is run of the editor's text, and what came of it. */
function bench(op: Op, editor: Editor, original: string): HTMLElement {
  let abort: AbortController | null = null;
  const status = h("p", { class: "status verdict", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress", hidden: true });
  const out = h("div", {});
  const button = h("button", { type: "button", class: "primary", onclick: () => (abort ? abort.abort() : void run()) }, "Run");
  const again = h("button", { type: "button", class: "quiet", onclick: () => ((editor.text = original), editor.mark([]), put(out), (status.textContent = "")) }, "Undo all changes");

  async function run(): Promise<void> {
    abort = new AbortController();
    button.textContent = "Cancel";
    bar.hidden = false;
    bar.value = 0;
    put(out);
    editor.mark([]);
    status.className = "status verdict";
    status.textContent = "Starting …";
    const file = `${op.name}.wgsl`;
    const watch = (event: Event) => {
      if (event.event !== "seen") return;
      const { case: name, shape, dtype, done, of } = event;
      if (name !== undefined) status.textContent = `checking ${dtype} ${name}`;
      else if (shape !== undefined) status.textContent = `timing ${shape}`;
      if (done !== undefined && of) bar.value = done / of;
    };
    try {
      const values = crypto.getRandomValues(new Uint32Array(1))[0]!;
      const trial = await engine.call("try", { file, text: editor.text, values, time: true }, { signal: abort.signal, watch });
      show(trial, file);
    } catch (error) {
      const message = (error as Error).message;
      status.textContent = error instanceof Cancelled ? "Cancelled." : `It could not be tried: ${message}`;
      const at = new RegExp(`${file}:(\\d+)`).exec(message);
      if (at && !(error instanceof Cancelled)) editor.mark([{ line: Number(at[1]), column: null, text: message }]);
    } finally {
      abort = null;
      bar.hidden = true;
      button.textContent = "Run";
    }
  }

  function show({ passed, report, timed }: Trial, file: string): void {
    const { cases, failed, findings, not_taken } = report;
    status.className = `status verdict ${passed ? "right" : "wrong"}`;
    const taken = not_taken ? ` (${not_taken} more it does not take)` : "";
    status.textContent = passed ? `✓ right in all ${cases} cases${taken}` : `✗ wrong in ${failed} of ${cases} cases${taken}`;
    // The smallest case that fails says most; a fault of many cases is told once.
    const told = findings.filter((finding, i) => findings.findIndex(({ what, kind }) => what === finding.what && kind === finding.kind) === i);
    editor.mark(
      told.flatMap(({ place, what }) => (place?.file === file ? [{ line: place.line, column: place.column, text: what }] : [])),
    );
    put(
      out,
      h(
        "ul",
        { class: "findings" },
        ...told.slice(0, 5).map(({ place, kind, dtype, case: name, what }) =>
          h("li", {}, place && h("code", {}, `${place.file}:${place.line}${place.column ? `:${place.column}` : ""}`), ` ${kind}, ${dtype} ${name}: ${what}`),
        ),
      ),
      timed.length > 0 && timedTable(timed, "Time, in turn with the op’s own sources", ["source", "shape"]),
    );
  }

  return h("div", { class: "try" }, h("div", { class: "row" }, button, again), h("div", { class: "progress" }, bar, status), out);
}

/** A shader to begin with, and the exercises that are about this op. */
function exercises(op: Op): Shader[] {
  const begin = op.starter === null ? [] : [{ label: "starter", file: "a shader without a body", text: op.starter, runs: true }];
  const mine = Object.entries(EXERCISES).filter(([path]) => new RegExp(`/\\d+-${op.name}(-[^/]*)?/`).test(path));
  return begin.concat(
    mine.map(([path, text]) => {
      const file = path.slice(path.indexOf("exercises/"));
      return { label: file.split("/")[1]!, file, text, runs: true };
    }),
  );
}

async function rust(op: Op): Promise<string> {
  const load = RUST[`../../../src/ops/${op.name}.rs`];
  return load ? load() : "// This op has no file of its own.";
}

/** The op's documentation: paragraphs, lists, code between backticks, and what is fenced. */
export function prose(doc: string): HTMLElement {
  const out = h("div", { class: "doc" });
  const fenced = doc.split(/```\w*\n/);
  fenced.forEach((part, i) => {
    if (i % 2 === 1) return out.append(h("pre", { tabindex: 0, role: "region", "aria-label": "Formula" }, part.trimEnd()));
    for (const block of part.trim().split(/\n\s*\n/)) {
      if (!block.trim()) continue;
      if (block.startsWith("- ")) {
        out.append(h("ul", {}, ...block.split(/\n(?=- )/).map((item) => h("li", {}, ...inline(item.slice(2))))));
      } else {
        out.append(h("p", {}, ...inline(block)));
      }
    }
  });
  return out;
}

function inline(text: string): (Node | string)[] {
  // A link to another item of the crate is its name here.
  const plain = text
    .replaceAll(/\s*\n\s*/g, " ")
    .replaceAll(/\[(`[^`]*`)\](\([^)]*\))?/g, "$1")
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return plain.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}
