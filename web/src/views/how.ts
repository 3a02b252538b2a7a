import { h, put } from "../dom";

export function how(root: HTMLElement): () => void {
  put(root, h("h1", {}, "how"));
  return () => {};
}
