/** A text of a kernel, to read and to edit. */

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { clike } from "@codemirror/legacy-modes/mode/clike";
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { setDiagnostics, lintGutter, type Diagnostic } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { h } from "../dom";

const words = (text: string) => Object.fromEntries(text.split(" ").map((word) => [word, true]));

const wgsl = clike({
  name: "wgsl",
  keywords: words(
    "alias break case const const_assert continue continuing default diagnostic discard else enable fn for if let loop override requires return struct switch var while",
  ),
  types: words(
    "array atomic bool f16 f32 i32 u32 mat2x2 mat3x3 mat4x4 ptr vec2 vec3 vec4 vec2f vec3f vec4f vec2u vec3u vec4u vec2i vec3i vec4i function private workgroup uniform storage read read_write",
  ),
  blockKeywords: words("else for if loop switch while fn struct"),
  atoms: words("true false"),
  hooks: {
    "@": (stream: { eatWhile: (pattern: RegExp) => void }) => {
      stream.eatWhile(/[\w$]/);
      return "meta";
    },
  },
});

const LANGUAGES = { wgsl, rust };

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--code-keyword)" },
  { tag: [tags.typeName, tags.standard(tags.variableName)], color: "var(--code-type)" },
  { tag: [tags.number, tags.bool, tags.atom, tags.string], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--faint)" },
  { tag: tags.meta, color: "var(--code-type)" },
]);

const look = EditorView.theme({
  "&": { backgroundColor: "var(--raised)", color: "var(--ink)", fontSize: "0.86rem" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "34rem" },
  ".cm-gutters": { backgroundColor: "var(--raised)", color: "var(--faint)", border: "none" },
  ".cm-content": { caretColor: "var(--ink)" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "2px" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "var(--line)",
  },
  ".cm-tooltip": { backgroundColor: "var(--page)", color: "var(--ink)", border: "1px solid var(--line)" },
});

/**
 * Text typed over a selection, put in by the editor. Chromium would join the selected lines by itself and keep their looks
 * as inline styles, which the page's content policy refuses.
 */
const overSelection = EditorView.domEventHandlers({
  beforeinput: (event, view) => {
    const { inputType, data, isComposing } = event;
    const { readOnly, selection } = view.state;
    if (inputType !== "insertText" || data === null || isComposing || readOnly || selection.main.empty) return false;
    view.dispatch({ ...view.state.replaceSelection(data), userEvent: "input.type", scrollIntoView: true });
    event.preventDefault();
    return true;
  },
});

export interface Fault {
  /** From 1. */
  line: number;
  column: number | null;
  text: string;
}

export class Editor {
  readonly element = h("div", { class: "editor" });
  private view: EditorView;

  constructor(label: string, text: string, language: keyof typeof LANGUAGES, change: (() => void) | null) {
    // Its styles go into a root of their own: as a style element in the page, the content policy would refuse them.
    const root = this.element.attachShadow({ mode: "open" });
    const editable = change !== null;
    this.view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(),
          history(),
          // The tab key leaves the editor after Escape, as CodeMirror's own documentation asks for.
          keymap.of([...defaultKeymap, ...historyKeymap, ...(editable ? [indentWithTab] : [])]),
          StreamLanguage.define(LANGUAGES[language]),
          syntaxHighlighting(colours),
          look,
          editable ? lintGutter() : [],
          EditorState.readOnly.of(!editable),
          EditorView.contentAttributes.of({ "aria-label": label, "aria-multiline": "true" }),
          overSelection,
          EditorView.updateListener.of((update) => update.docChanged && change?.()),
        ],
      }),
    });
    // A long text is scrolled by keys, too.
    this.view.scrollDOM.tabIndex = 0;
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  set text(text: string) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  /** Marks lines at which something is wrong, in place of those that were marked. */
  mark(faults: Fault[]): void {
    const { doc } = this.view.state;
    const marks = faults
      .filter(({ line }) => line >= 1 && line <= doc.lines)
      .map(({ line, column, text }): Diagnostic => {
        const { from, to } = doc.line(line);
        return { from: Math.min(to, from + Math.max(0, (column ?? 1) - 1)), to, severity: "error", message: text };
      });
    this.view.dispatch(setDiagnostics(this.view.state, marks));
    const first = marks[0];
    if (first) this.view.dispatch({ effects: EditorView.scrollIntoView(first.from, { y: "center" }) });
  }

  close(): void {
    this.view.destroy();
  }
}
