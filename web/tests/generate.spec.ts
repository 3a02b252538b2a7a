import { write } from "../src/settings";
import { expect, test } from "./page";
import { SMALL, make, native, psnr, saved } from "./run";

test("WebGPU decides as the native program does, with both gates, and draws the same clip", async ({ page, home }) => {
  const expected = native(SMALL);
  expect(expected.decisions).toMatch(/^F.*S.*F$/);
  for (const gate of ["device", "host"] as const) {
    expect(await make(page, home, { ...SMALL, gate, device: "wgpu" })).toBe(expected.decisions);
    await expect(page.locator(".found")).toContainText("webgpu");
    await page.getByRole("button", { name: "APNG" }).waitFor();
    expect(await psnr(page, await saved(page, "APNG"), expected.clip)).toBeGreaterThan(50);
  }
});

test("the CPU decides as the native program does over a whole run", async ({ page, home }) => {
  const settings = { ...SMALL, steps: 30, cache: "tea:0.1:identity", device: "cpu" as const };
  const expected = native(settings);
  expect(await make(page, home, settings)).toBe(expected.decisions);
  expect(await psnr(page, await saved(page, "APNG"), expected.clip)).toBeGreaterThan(50);
  // The link says all of it: another visitor's page makes the same file.
  const first = await saved(page, "APNG");
  await page.getByRole("button", { name: "Copy link" }).click();
  const link = /https?:\S+/.exec(await page.locator(".status").innerText())?.[0] ?? page.url();
  await page.goto("about:blank");
  await page.goto(link);
  await expect(page.locator(".stage .status")).toHaveText("Done.", { timeout: 60_000 });
  expect((await saved(page, "APNG")).equals(first)).toBe(true);
});

test("a run is seen step by step, cancelled and begun again", async ({ page, home }) => {
  const status = page.locator(".stage .status");
  const map = page.locator(".skip-map .letters");
  await page.goto(home + write({ ...SMALL, steps: 250, device: "cpu" }));
  await expect(status).toHaveText(/^Every step: step \d+ of 250$/, { timeout: 60_000 });
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(status).toHaveText("Cancelled.", { timeout: 30_000 });
  // What the cached run decides is drawn while it goes on: a threshold that skips little, and steps for seconds.
  await page.getByLabel("Steps", { exact: true }).fill("150");
  await page.locator("#cache").fill("tea:0.01:identity");
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(status).toHaveText(/^With a cache: step \d+ of 150$/, { timeout: 120_000 });
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(status).toHaveText("Cancelled.", { timeout: 30_000 });
  await expect(map).toHaveText(/^F[CS]/);
  expect((await map.innerText()).length).toBeLessThan(150);
  await page.getByLabel("Steps", { exact: true }).fill("4");
  await page.getByLabel("Timed pairs").fill("1");
  await page.getByRole("button", { name: "Generate" }).click();
  await expect(status).toHaveText("Done.", { timeout: 60_000 });
  await expect(page.getByRole("row", { name: /^time/ })).toContainText(/m?s.*m?s/);
  await expect(page.getByRole("row", { name: /^speedup/ })).toContainText(/[\d.]+× of [\d.]+×/);
});

test("a policy that is none is said to be none", async ({ page, home }) => {
  await page.goto(home + write({ ...SMALL, cache: "teacake:0.1", device: "cpu" }));
  await expect(page.locator(".stage .status")).toContainText("teacake", { timeout: 30_000 });
});

test("a GIF has as many frames as the clip", async ({ page, home }) => {
  await make(page, home, { ...SMALL, steps: 2, device: "cpu" });
  const gif = await saved(page, "GIF");
  expect(gif.subarray(0, 6).toString("latin1")).toBe("GIF89a");
  // Each frame has a graphic control extension.
  expect(gif.toString("latin1").split("\x21\xf9\x04").length - 1).toBe(16);
  const map = (await saved(page, "Skip map")).toString();
  expect(map).toContain("<svg");
});
