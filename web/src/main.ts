/** The frame of the page: addresses to views, the device in the header, and what went wrong. */

import "./style.css";
import { h, put } from "./dom";
import { engine } from "./engine/client";
import { device, notice } from "./ui/device";
import { generate } from "./views/generate";
import { how } from "./views/how";
import { kernels } from "./views/kernels";
import { measure } from "./views/measure";

/** A page: it fills `root`, and returns what is to be done when it is left. */
export type View = (root: HTMLElement, path: string[], query: URLSearchParams) => () => void;

/** `name` is what the navigation calls a page whose title is longer. */
const VIEWS: Record<string, { title: string; name?: string; view: View }> = {
  generate: { title: "Generate", view: generate },
  kernels: { title: "Kernels", view: kernels },
  measure: { title: "Measure this GPU", name: "Measure", view: measure },
  how: { title: "How it works", view: how },
};

const main = document.getElementById("main") as HTMLElement;
let leave = () => {};
let first = true;

function show(): void {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...rest] = path.split("/").filter(Boolean);
  const found = VIEWS[name] ? name : "generate";
  const { title, view } = VIEWS[found]!;
  leave();
  document.title = `${title} · steep`;
  put(
    document.getElementById("pages")!,
    ...Object.entries(VIEWS).map(([id, { title, name }]) =>
      h("a", { href: `#/${id}`, "aria-current": id === found ? "page" : null }, name ?? title),
    ),
  );
  put(main);
  leave = view(main, rest, new URLSearchParams(query));
  // Who reads with their ears begins at the new page's start. At the first, the browser does that.
  if (!first) main.focus({ preventScroll: true });
  if (!first) scrollTo(0, 0);
  first = false;
}

put(document.getElementById("device")!, device(engine));
document.getElementById("notice")!.append(notice(engine));
addEventListener("hashchange", show);
show();

if (import.meta.env.PROD && "serviceWorker" in navigator) {
  // Where it is refused, the page works as long as there is a connection; the worker says so.
  navigator.serviceWorker.register("./sw.js").catch(() => {});
}
