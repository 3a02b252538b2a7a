/** Kernels: every op with its formula and its sources, to read, to change and to run. */

import { h, put } from "../dom";
import { engine, type Opened } from "../engine/client";
import type { Op } from "../engine/protocol";
import type { Editor } from "../ui/editor";

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
  put(body, h("p", { class: "status", role: "status" }, "Loading …"));

  const show = async ({ ops }: Opened) => {
    const op = ops.find((op) => op.name === name) ?? ops[0];
    if (!op || left) return;
    put(
      list,
      ...ops.map(({ name }) =>
        h("li", {}, h("a", { href: `#/kernels/${name}`, "aria-current": name === op.name ? "page" : null }, name)),
      ),
    );
    const chosen = label === "rust" ? null : (op.wgsl.find((source) => source.label === label) ?? op.wgsl[0] ?? null);
    const tab = (id: string, text: string, current: boolean) =>
      h("a", { href: `#/kernels/${op.name}/${id}`, "aria-current": current ? "page" : null }, text);
    // The editor is half of the page's program, and only needed here.
    const [text, ui] = await Promise.all([chosen ? chosen.text : rust(op), import("../ui/editor")]);
    if (left) return;
    const about = chosen ? chosen.file : `src/ops/${op.name}.rs`;
    editor?.close();
    editor = new ui.Editor(`${op.name}, ${chosen ? `shader ${chosen.label}` : "Rust"}`, text, chosen ? "wgsl" : "rust", null);
    put(
      body,
      h("h2", { class: "first" }, h("code", {}, op.name)),
      prose(op.doc),
      h("p", { class: "note" }, `Types of operands: ${op.dtypes.join(", ")}.`),
      h(
        "nav",
        { class: "tabs", "aria-label": "Sources" },
        ...op.wgsl.map((source) => tab(source.label, `WGSL ${source.label}`, source === chosen)),
        tab("rust", "Rust (CPU)", chosen === null),
      ),
      h("p", { class: "note" }, h("code", {}, about)),
      editor.element,
    );
  };
  engine.open(engine.wanted).then(show, (error: Error) => {
    if (!left) put(body, h("p", { role: "status" }, `The kernels are read from the program, and it does not run: ${error.message}`));
  });
  return () => {
    left = true;
    editor?.close();
  };
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
