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
  await page.goto("about:blank");
  expect(await make(page, home, { ...SMALL, steps: 3, device: "cpu" })).toMatch(/^F[CSF]F$/);
  for (const view of ["kernels", "measure", "how"]) {
    await page.goto(`${home}#/${view}`);
    await page.reload();
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  }
  await page.goto(`${home}#/kernels`);
  await expect(page.locator(".cm-content")).toContainText("patch_embed", { timeout: 60_000 });
});

test("distances are decided anew as the slider moves", async ({ page, home }) => {
  await page.goto(`${home}#/how`);
  const answer = page.locator(".answer");
  const letters = page.locator(".replay .letters");
  const slider = page.getByLabel(/Threshold/);
  const computed = async () => (await letters.innerText()).replaceAll("S", "").length;
  await expect(answer).toHaveText(/^\d+ of 50 steps/, { timeout: 60_000 });
  const before = await computed();
  await slider.fill("0.3");
  await expect.poll(computed).toBeLessThan(before);
  await expect(answer).toHaveText(new RegExp(`^${await computed()} of 50 steps`));
  // No step is skipped at 0, and by keys it moves, too.
  await slider.fill("0");
  await expect(letters).toHaveText(/^F[C]{48}F$/);
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await expect(page.locator(".replay output")).toHaveText("0.001");
  // The fitted polynomial has thresholds of its own, and each digit its distances.
  await page.getByLabel("Distances count").selectOption("fitted");
  await expect(page.locator(".replay output")).toHaveText("0.020");
  await expect(letters).toHaveText(/S/);
  const six = await letters.innerText();
  await page.getByLabel("Digit").selectOption("3");
  await expect(letters).not.toHaveText(six);
});
