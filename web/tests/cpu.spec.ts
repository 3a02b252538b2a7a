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
});
