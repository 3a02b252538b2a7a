import { h } from "../dom";

/** A table whose first column names its rows. It scrolls sideways where there is no room. */
export function table(head: string[], rows: (string | Node)[][], caption: string): HTMLElement {
  const cells = (row: (string | Node)[]) =>
    row.map((cell, i) => (i === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell)));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...head.map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {}))))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row)))),
    ),
  );
}
