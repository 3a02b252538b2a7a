/** What every test uses: the built page on a host, and a record of what must not happen on it. */

import { test as base } from "@playwright/test";
import { PATH, serve } from "./serve";

interface Fixtures {
  /** The page's address. */
  home: string;
  /** Faults on the console, and requests to other hosts. Empty at the end of a test, unless it says otherwise. */
  faults: string[];
}

export const test = base.extend<Fixtures, { host: string }>({
  host: [
    async ({}, use) => {
      const server = await serve(0);
      const address = server.address();
      if (typeof address !== "object" || !address) throw new Error("no port");
      await use(`http://127.0.0.1:${address.port}`);
      server.close();
    },
    { scope: "worker" },
  ],
  home: async ({ host }, use) => use(host + PATH),
  faults: [
    async ({ context, host }, use) => {
      const faults: string[] = [];
      context.on("console", (message) => {
        // A test that keeps the service worker out is told so.
        if (message.text().includes("blocked by Playwright")) return;
        if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
      });
      context.on("weberror", (error) => faults.push(`uncaught: ${error.error().message}`));
      context.on("request", (request) => {
        const url = request.url();
        if (!url.startsWith(host) && !/^(blob|data):/.test(url)) faults.push(`request to ${url}`);
      });
      await use(faults);
      base.expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

export const { expect } = base;
