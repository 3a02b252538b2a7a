import type { Page } from "@playwright/test";
import { expect, test } from "./page";

/** Opens a shader of an op, with the software adapter, and waits for its text. */
async function open(page: Page, home: string, view: string): Promise<void> {
  await page.goto(`${home}#/how`);
  await page.getByLabel("Device").selectOption("wgpu");
  await expect(page.locator(".found")).toContainText("webgpu", { timeout: 60_000 });
  await page.goto(`${home}#/kernels/${view}`);
  await expect(page.locator(".cm-content")).toContainText("@compute");
}

/** Puts a text in place of the editor's. */
async function write(page: Page, change: (text: string) => string): Promise<void> {
  const content = page.locator(".cm-content");
  // Short shaders: of a long text the editor draws a part.
  const text = (await content.locator(".cm-line").allInnerTexts()).map((line) => line.replace(/\n$/, "")).join("\n");
  const changed = change(text);
  expect(changed).not.toBe(text);
  await content.evaluate((node, insert) => {
    type View = { state: { doc: { length: number } }; dispatch(spec: object): void };
    const { view } = (node as unknown as { cmTile: { view: View } }).cmTile;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert } });
  }, changed);
}

async function run(page: Page, verdict: RegExp): Promise<void> {
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.locator(".verdict")).toHaveText(verdict, { timeout: 80_000 });
}

test("a shader is right as it is, wrong once it is changed, and right again", async ({ page, home }) => {
  await open(page, home, "take/naive");
  await run(page, /^✓ right in all \d+ cases/);
  await expect(page.getByRole("table")).toContainText("naive");
  await write(page, (text) => text.replace("p.elements", "p.elements - 1u"));
  await run(page, /^✗ wrong in \d+ of \d+ cases/);
  await expect(page.locator(".findings li").first()).toContainText(/element \d+/);
  await page.getByRole("button", { name: "Undo all changes" }).click();
  await run(page, /^✓ right in all/);
});

test("a starter of an exercise is told what is missing", async ({ page, home }) => {
  await open(page, home, "axpby/01-axpby");
  await run(page, /^✗ wrong/);
  await expect(page.locator(".findings li").first()).toContainText(/element \d+ is/);
});
