/** A host such as any: files of the built page under a path, and no more. */

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

export const PATH = "/some/where/";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

export function serve(port: number) {
  const root = new URL("../dist/", import.meta.url).pathname;
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    let file = join(root, normalize(decodeURIComponent(path.slice(PATH.length - 1))));
    if (file.endsWith("/")) file += "index.html";
    const stat = path.startsWith(PATH) ? statSync(file, { throwIfNoEntry: false }) : undefined;
    if (!stat?.isFile()) return void response.writeHead(404).end("no such file");
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": stat.size });
    createReadStream(file).pipe(response);
  });
  return new Promise<typeof server>((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}
