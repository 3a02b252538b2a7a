import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "@playwright/test";
import { expect, test } from "./page";
import { SMALL, make } from "./run";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");

/** What axe finds that somebody could not see, hear or reach. */
async function faults(page: Page): Promise<string[]> {
  return page.evaluate(async (text) => {
    // Through the function's own text: the page's policy lets no script in.
    new Function(text)();
    const { axe } = window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } };
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  }, AXE);
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds no fault in any view, ${colorScheme}`, async ({ browser, home }) => {
    const context = await browser.newContext({ colorScheme, bypassCSP: true });
    const page = await context.newPage();
    await make(page, home, { ...SMALL, steps: 2, device: "cpu" });
    expect(await faults(page)).toEqual([]);
    for (const view of ["kernels", "kernels/tea_gate/rust", "measure", "how"]) {
      await page.goto(`${home}#/${view}`);
      await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
      if (view.startsWith("kernels")) await page.locator(".cm-content").waitFor();
      expect(await faults(page), view).toEqual([]);
    }
    await context.close();
  });
}

test("after the first load it works without a connection", async ({ page, context, home }) => {
  await make(page, home, { ...SMALL, steps: 2, device: "cpu" });
  await page.evaluate(async () => (await navigator.serviceWorker.ready).active?.state);
  await context.setOffline(true);
  await page.reload();
  await page.goto("about:blank");
  await make(page, home, { ...SMALL, steps: 3, device: "cpu" });
  await page.goto(`${home}#/kernels`);
  await expect(page.locator(".cm-content")).toBeVisible();
});

test("a lost device is said, and the next link runs on the CPU", async ({ page, home }) => {
  await make(page, home, { ...SMALL, steps: 2, device: "wgpu" });
  const worker = page.workers().find((worker) => worker.url().includes("worker"))!;
  await worker.evaluate(() => (self as unknown as { onmessage(event: object): void }).onmessage({ data: { id: 1e6, call: "lose", args: {} } }));
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(page.getByText(/lost/).first()).toBeVisible({ timeout: 30_000 });
  await page.goto("about:blank");
  await make(page, home, { ...SMALL, steps: 2, device: "cpu" });
});

test("distances are decided anew as the slider moves", async ({ page, home }) => {
  await page.goto(`${home}#/how`);
  const answer = page.locator(".answer");
  const computed = async () => Number(/^\d+/.exec(await answer.innerText())?.[0]);
  await expect(answer).toHaveText(/^\d+ of 50 steps/, { timeout: 30_000 });
  const before = await computed();
  await page.getByLabel(/Threshold/).fill("0.3");
  await expect.poll(computed).toBeLessThan(before);
});
