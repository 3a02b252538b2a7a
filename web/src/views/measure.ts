import { h, put } from "../dom";

export function measure(root: HTMLElement): () => void {
  put(root, h("h1", {}, "measure"));
  return () => {};
}
