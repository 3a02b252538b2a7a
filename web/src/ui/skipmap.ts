/** The skip map: for each step the distance, what it adds up to beside the threshold, and the decision. */

import { h, put, s } from "../dom";

/** A step as it is drawn. `decision` is `?` while the device has not said it. */
export interface Bar {
  d: number | null;
  acc: number | null;
  decision: "F" | "C" | "S" | "?";
}

export const NAMES = { F: "forced", C: "computed", S: "skipped", "?": "not known yet" } as const;

const LEFT = 40;
const RIGHT = 8;
const PANELS = { distance: [22, 92], sum: [122, 212], strip: [226, 254] } as const;
const HEIGHT = 258;

export class SkipMap {
  readonly element: HTMLElement;
  private picture = h("div", { class: "map" });
  private letters = h("code", { class: "letters" });
  private table = h("div", { class: "scroll" });
  private details: HTMLDetailsElement;
  private bars: Bar[] = [];
  private steps = 0;
  private threshold: number | null = null;

  constructor(title: string) {
    this.details = h("details", { ontoggle: () => this.tabulate() }, h("summary", {}, "The steps as a table"), this.table);
    this.element = h(
      "section",
      { class: "skip-map", "aria-label": title },
      h(
        "ul",
        { class: "legend", "aria-label": "How decisions are drawn" },
        ...(["F", "C", "S"] as const).map((letter) =>
          h("li", {}, sample(letter), ` ${letter} ${NAMES[letter]}`),
        ),
      ),
      this.picture,
      this.letters,
      this.details,
    );
    // The picture is as wide as there is room, so that its letters stay readable.
    new ResizeObserver(() => this.draw()).observe(this.picture);
  }

  show(bars: Bar[], steps: number, threshold: number | null): void {
    [this.bars, this.steps, this.threshold] = [bars, steps, threshold];
    this.letters.textContent = bars.map((bar) => bar.decision).join("");
    this.draw();
    this.tabulate();
  }

  private draw(): void {
    const width = Math.max(280, this.picture.clientWidth);
    const svg = s("svg", {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      role: "img",
      "aria-label": this.summary(),
    });
    const cell = (width - LEFT - RIGHT) / Math.max(1, this.steps);
    this.panel(svg, width, PANELS.distance, "distance d from the step before", this.bars.map((bar) => bar.d), cell, null);
    const sums = this.bars.map((bar) => bar.acc);
    this.panel(svg, width, PANELS.sum, "what it added up to, and the threshold δ", sums, cell, this.threshold);
    const [top, bottom] = PANELS.strip;
    for (let i = 0; i < this.steps; i++) {
      const bar = this.bars[i];
      const mark = decision(bar?.decision ?? null, LEFT + i * cell, top, cell, bottom - top);
      mark.append(s("title", {}, `step ${i + 1}: ${bar ? NAMES[bar.decision] : "to come"}`));
      svg.append(mark);
    }
    put(this.picture, svg);
  }

  private panel(
    svg: SVGElement,
    width: number,
    [top, bottom]: readonly [number, number],
    caption: string,
    values: (number | null)[],
    cell: number,
    threshold: number | null,
  ): void {
    const shown = values.filter((v): v is number => v !== null && Number.isFinite(v));
    const line = threshold !== null && Number.isFinite(threshold) ? threshold : 0;
    const most = Math.max(1e-9, line * 1.05, ...shown);
    const y = (value: number) => bottom - (Math.max(0, value) / most) * (bottom - top);
    svg.append(
      s("text", { x: LEFT, y: top - 8, class: "map-caption" }, caption),
      s("line", { x1: LEFT, x2: width - RIGHT, y1: bottom, y2: bottom, class: "map-axis" }),
      s("text", { x: LEFT - 6, y: top + 9, class: "map-number", "text-anchor": "end" }, shown.length || line ? short(most) : ""),
      s("text", { x: LEFT - 6, y: bottom, class: "map-number", "text-anchor": "end" }, "0"),
    );
    values.forEach((value, i) => {
      if (value === null || !Number.isFinite(value)) return;
      const computed = this.bars[i]?.decision !== "S";
      const at = y(value);
      svg.append(
        s("rect", {
          x: LEFT + i * cell + cell * 0.12,
          width: cell * 0.76,
          y: at,
          height: bottom - at,
          class: computed ? "map-bar computed" : "map-bar skipped",
        }),
      );
    });
    if (threshold === null || !Number.isFinite(threshold)) return;
    svg.append(
      s("line", { x1: LEFT, x2: width - RIGHT, y1: y(threshold), y2: y(threshold), class: "map-limit" }),
      s("text", { x: width - RIGHT, y: y(threshold) - 4, class: "map-limit-name", "text-anchor": "end" }, `δ ${short(threshold)}`),
    );
  }

  private summary(): string {
    const count = (letters: string) => this.bars.filter((bar) => letters.includes(bar.decision)).length;
    const unknown = count("?");
    const known = `${count("FC")} steps computed, ${count("S")} skipped`;
    return `${known}${unknown ? `, ${unknown} not known yet` : ""}, of ${this.steps}`;
  }

  private tabulate(): void {
    if (!this.details.open) return put(this.table);
    const cell = (value: number | null) => (value === null ? "" : value.toFixed(4));
    const rows = this.bars.map((bar, i) =>
      h("tr", {}, h("th", { scope: "row" }, i + 1), h("td", {}, cell(bar.d)), h("td", {}, cell(bar.acc)), h("td", {}, NAMES[bar.decision])),
    );
    const head = ["step", "distance d", "added up", "decision"].map((name) => h("th", { scope: "col" }, name));
    put(this.table, h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)));
  }
}

/** A decision: full where the transformer ran, with a notch where it had to, low and hollow where it was skipped. */
function decision(letter: Bar["decision"] | null, x: number, y: number, cell: number, height: number): SVGElement {
  const gap = Math.min(1.5, cell * 0.15);
  const box = { x: x + gap / 2, width: Math.max(1, cell - gap) };
  const group = s("g", {});
  if (letter === "S") {
    group.append(s("rect", { ...box, y: y + height * 0.62, height: height * 0.38, class: "cell-skipped" }));
  } else if (letter === "F" || letter === "C") {
    group.append(s("rect", { ...box, y, height, class: letter === "F" ? "cell-forced" : "cell-computed" }));
    if (letter === "F") {
      const middle = box.x + box.width / 2;
      const half = Math.min(3.5, box.width * 0.35);
      const points = `${middle - half},${y + 5} ${middle + half},${y + 5} ${middle},${y + 5 + 1.8 * half}`;
      group.append(s("polygon", { points, class: "cell-notch" }));
    }
  } else {
    group.append(s("rect", { ...box, y: y + height - 3, height: 3, class: letter === "?" ? "cell-unknown" : "cell-to-come" }));
  }
  return group;
}

function sample(letter: "F" | "C" | "S"): SVGElement {
  return s("svg", { width: 12, height: 16, viewBox: "0 0 12 16", "aria-hidden": "true" }, decision(letter, 0, 0, 12, 16));
}

function short(value: number): string {
  return value >= 10 ? value.toFixed(0) : value >= 0.995 ? value.toFixed(1) : value.toPrecision(2).replace(/0+$/, "");
}
