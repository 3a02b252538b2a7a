import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

/** What the built page may load: its own files and nothing else. WebAssembly needs a word of its own. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** The policy in the page, and the service worker with the list of files that it keeps. For the built page only. */
function shipped(): Plugin {
  return {
    name: "shipped",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: POLICY },
        injectTo: "head-prepend",
      },
    ],
    generateBundle(_, bundle) {
      // The weights come later, and are kept by the worker that shows their progress.
      const files = Object.keys(bundle).filter((file) => !/\.(safetensors|map)$/.test(file));
      files.push("icon.svg");
      const page = bundle["index.html"];
      const text = files.join() + (page?.type === "asset" ? page.source : "");
      const version = createHash("sha256").update(text).digest("hex").slice(0, 12);
      const source = readFileSync("src/sw.js", "utf8")
        .replace("__VERSION__", JSON.stringify(version))
        .replace("__FILES__", JSON.stringify(["./", ...files.filter((file) => file !== "index.html")]));
      this.emitFile({ type: "asset", fileName: "sw.js", source });
    },
  };
}

export default defineConfig({
  // Any path of any host.
  base: "./",
  plugins: [shipped()],
  // The weights, the kernels and the recorded runs are the repository's.
  server: { fs: { allow: [".."] } },
  worker: { format: "es" },
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
});
