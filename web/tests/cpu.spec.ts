import { write } from "../src/settings";
import { expect, test } from "./page";
import { SMALL } from "./run";

/** A browser without WebGPU. */
test.use({
  launchOptions: {
    executablePath: process.env.STEEP_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-features=WebGPU", "--disable-gpu"],
  },
});

test("without WebGPU the CPU makes the clip, and the page says why", async ({ page, home }) => {
  await page.goto(home + write({ ...SMALL, steps: 2, device: "auto" }));
  await expect(page.locator(".stage .status")).toHaveText("Done.", { timeout: 60_000 });
  await expect(page.locator(".found")).toContainText("cpu");
  await expect(page.locator(".notice")).toContainText("No GPU can be used");
  await expect(page.locator(".notice")).toContainText("this browser has no WebGPU");
});

test("where WebGPU is asked for and is not there, the page says so and offers the CPU", async ({ page, home }) => {
  await page.goto(home + write({ ...SMALL, steps: 2, device: "wgpu" }));
  await expect(page.locator(".notice.error")).toContainText("no adapter: this browser has no WebGPU", { timeout: 60_000 });
  await page.getByRole("button", { name: "Use the CPU" }).click();
  await expect(page.locator(".found")).toContainText("cpu", { timeout: 60_000 });
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await expect(page.locator(".stage .status")).toHaveText("Done.", { timeout: 120_000 });
});
