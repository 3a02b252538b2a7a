/** Runs on the page as a visitor makes them, and the native program's of the same settings. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { DEFAULTS, write } from "../src/settings";
import type { Settings } from "../src/engine/protocol";
import { expect } from "./page";

/** Few steps, one of them skipped: a step takes the software adapter seconds. */
export const SMALL: Settings = { ...DEFAULTS, steps: 4, guidance: 1, cache: "tea:0.5:identity", time: 0 };

/** Chooses the software GPU in the header of the page that is open. */
export async function chooseGpu(page: Page): Promise<void> {
  await page.getByLabel("Device", { exact: true }).selectOption("wgpu");
  await expect(page.locator(".found")).toContainText("webgpu", { timeout: 90_000 });
}

/** Opens the link of a run, which makes it, and waits for its end. Returns the decisions. */
export async function make(page: Page, home: string, settings: Settings): Promise<string> {
  await page.goto(home + write(settings));
  await expect(page.getByText(/^(Done|It did not work)/)).toBeVisible({ timeout: 150_000 });
  await expect(page.locator(".status")).toHaveText("Done.");
  return page.locator(".skip-map .letters").innerText();
}

/** The file behind a button of the page. */
export async function saved(page: Page, button: string): Promise<Buffer> {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button, exact: true }).click()]);
  return readFileSync(await file.path());
}

/** The same run by the native program, on the CPU. */
export function native({ class: digit, seed, steps, guidance, cache }: Settings): { decisions: string; clip: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), "steep-"));
  const [clip, record] = [join(folder, "clip.png"), join(folder, "run.json")];
  const settings = { class: digit, seed, steps, guidance, cache, device: "cpu", scale: 1, out: clip, json: record };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  execFileSync("cargo", ["run", "--quiet", "--", "generate", "--quiet", ...flags], { cwd: new URL("../..", import.meta.url), stdio: "pipe" });
  const { steps: made } = JSON.parse(readFileSync(record, "utf8")) as { steps: { decision: string }[] };
  return { decisions: made.map(({ decision }) => decision).join(""), clip: readFileSync(clip) };
}

/** PSNR in dB of two animated pictures, over all pixels of all frames. */
export async function psnr(page: Page, a: Buffer, b: Buffer): Promise<number> {
  const error = await page.evaluate(
    async (files) => {
      const decode = async (text: string) => {
        const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const decoder = new ImageDecoder({ data, type: "image/png" });
        await decoder.tracks.ready;
        await decoder.completed;
        const track = decoder.tracks.selectedTrack!;
        const frames: ImageData[] = [];
        for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
          const { image } = await decoder.decode({ frameIndex });
          const context = new OffscreenCanvas(image.displayWidth, image.displayHeight).getContext("2d")!;
          context.drawImage(image, 0, 0, 32, 32);
          frames.push(context.getImageData(0, 0, 32, 32));
        }
        return frames;
      };
      const [x, y] = await Promise.all(files.map(decode));
      if (!x || !y || x.length !== y.length || x.length < 2) throw new Error(`${x?.length} and ${y?.length} frames`);
      let sum = 0;
      x.forEach((frame, f) => frame.data.forEach((value, i) => (sum += (value - y[f]!.data[i]!) ** 2)));
      return sum / (x.length * 32 * 32 * 4);
    },
    [a.toString("base64"), b.toString("base64")],
  );
  return error === 0 ? Infinity : 10 * Math.log10(255 ** 2 / error);
}
