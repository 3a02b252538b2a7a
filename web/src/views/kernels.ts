import { h, put } from "../dom";

export function kernels(root: HTMLElement): () => void {
  put(root, h("h1", {}, "kernels"));
  return () => {};
}
