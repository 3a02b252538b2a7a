/** The device: which one it is, the choice of another, and what to do when it fails. */

import { h, put } from "../dom";
import type { engine as Engine } from "../engine/client";
import type { DeviceName } from "../engine/protocol";

const CHOICES: Record<DeviceName, string> = { auto: "Best there is", wgpu: "GPU (WebGPU)", cpu: "CPU (WebAssembly)" };

/** The choice in the header, and what was found. */
export function device(engine: typeof Engine): HTMLElement {
  const select = h(
    "select",
    { "aria-label": "Device", onchange: () => void engine.open(select.value as DeviceName) },
    ...Object.entries(CHOICES).map(([value, name]) => h("option", { value }, name)),
  );
  const found = h("span", { class: "found" });
  const show = () => {
    const { status } = engine;
    if (status.state !== "closed") select.value = status.wanted;
    const text = {
      closed: () => "",
      opening: () => (status.state === "opening" ? loading(status.progress) : ""),
      open: () => (status.state === "open" ? status.opened.about.describe : ""),
      failed: () => "not available",
    }[status.state]();
    found.textContent = text;
    found.title = text;
  };
  engine.watch(show);
  show();
  return h("div", { class: "device" }, select, found);
}

function loading(progress: { loaded: number; total: number | null; kept: boolean } | null): string {
  if (!progress) return "starting …";
  if (progress.total !== null && progress.loaded >= progress.total) return "preparing the model …";
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const of = progress.total ? ` of ${megabytes(progress.total)}` : "";
  return `model: ${megabytes(progress.loaded)}${of} MB`;
}

/** How long a device may take to open once the model is there. */
const PATIENCE_MS = 10_000;

/** What went wrong, and the ways on. */
export function notice(engine: typeof Engine): HTMLElement {
  const root = h("div", {});
  let dismissed = "";
  let patience = 0;
  const cpu = () => h("button", { type: "button", onclick: () => void engine.open("cpu") }, "Use the CPU");
  const show = () => {
    const { status } = engine;
    clearTimeout(patience);
    if (status.state === "opening" && status.wanted !== "cpu" && (status.progress?.loaded ?? 0) === status.progress?.total) {
      const text = "Perhaps a kernel of an earlier visit does not end. A browser gives such a GPU up after a while.";
      patience = window.setTimeout(() => put(root, card("hint", "The device does not answer.", text, cpu())), PATIENCE_MS);
    }
    if (status.state === "failed") {
      const retry = h("button", { type: "button", onclick: () => void engine.open(status.wanted) }, "Try again");
      put(root, card("error", "The device does not work.", status.error, retry, status.wanted !== "cpu" && cpu()));
    } else if (status.state === "open") {
      const texts = [
        status.opened.about.no_gpu &&
          `No GPU can be used, so this runs on the CPU: the same clips, more slowly. (${status.opened.about.no_gpu})`,
        status.unkept && `This browser keeps no files for this page, so the model is fetched anew each time. (${status.unkept})`,
      ].filter((text): text is string => Boolean(text));
      if (!texts.length || texts.join() === dismissed) return put(root);
      const close = () => {
        dismissed = texts.join();
        put(root);
      };
      put(root, card("hint", "", texts.join(" "), h("button", { type: "button", class: "quiet", onclick: close }, "Close")));
    } else {
      put(root);
    }
  };
  engine.watch(show);
  show();
  return root;
}

/** A message with buttons. */
export function card(kind: "error" | "hint", title: string, text: string, ...actions: (Node | false)[]): HTMLElement {
  return h(
    "div",
    { class: `notice ${kind}` },
    h("p", {}, title && h("strong", {}, `${title} `), text),
    h("div", { class: "row" }, ...actions),
  );
}
