/** Times of ops, beside what the device can do at best. */

import type { Timed } from "../engine/protocol";
import { table } from "./table";

const TITLES = { op: "op", source: "source", shape: "shape", dtype: "type" } as const;

/** A row for each time, with these of its names in front. */
export function timedTable(rows: Timed[], caption: string, names: (keyof typeof TITLES)[]): HTMLElement {
  const cells = (row: Timed) => [...names.map((name) => row[name]), `${row.ms.toPrecision(3)}\u00a0ms`, share(row)];
  return table([...names.map((name) => TITLES[name]), "time", "of the ceiling"], rows.map(cells), caption);
}

function share({ ceiling_pct, bound }: Timed): string {
  return ceiling_pct === null ? "" : `${ceiling_pct.toFixed(0)}\u00a0% of the ${bound === "copy" ? "copy" : "product"}`;
}
