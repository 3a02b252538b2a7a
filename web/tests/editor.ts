/** The editor as a test uses it. */

import type { Page } from "@playwright/test";
import { expect } from "./page";
import { chooseGpu } from "./run";

/** Opens a shader of an op, with the software adapter, and waits for its text. */
export async function open(page: Page, home: string, view: string): Promise<void> {
  await page.goto(`${home}#/how`);
  await chooseGpu(page);
  await page.goto(`${home}#/kernels/${view}`);
  await expect(page.locator(".cm-content")).toContainText("@compute");
}

/** Puts a text in place of the editor's. */
export async function write(page: Page, change: (text: string) => string): Promise<void> {
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
