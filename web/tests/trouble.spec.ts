import type { Page, Worker } from "@playwright/test";
import { write } from "../src/settings";
import { expect, test } from "./page";
import { SMALL, chooseGpu, make } from "./run";

// Files are fetched by the page's worker alone, so that a test can put others in their place.
test.use({ serviceWorkers: "block" });

const notice = (page: Page) => page.locator("#notice");

/** The worker that owns the device. */
function worker(page: Page): Worker {
  return page.workers().find((worker) => worker.url().includes("worker"))!;
}

/** Puts a line in front of the worker's program. */
async function before(page: Page, line: string): Promise<void> {
  await page.route("**/assets/worker-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${line}\n${await response.text()}` });
  });
}

/** Presses the button that offers the CPU, and makes a clip there. */
async function goOnWithCpu(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Use the CPU" }).click();
  await expect(page.locator(".found")).toContainText("cpu", { timeout: 60_000 });
  await expect(notice(page)).toBeEmpty();
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await expect(page.locator(".stage .status")).toHaveText("Done.", { timeout: 120_000 });
  await expect(page.locator(".skip-map .letters")).toHaveText(/^F[CSF]*F$/);
  // The clip is there: not all of it is one grey.
  const greys = await page.locator("canvas").first().evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return new Set(data.filter((_, i) => i % 4 === 0)).size;
  });
  expect(greys).toBeGreaterThan(10);
}

/** The page with the software GPU, open and idle. */
async function open(page: Page, home: string): Promise<void> {
  await page.goto(`${home}#/generate?steps=2&guidance=1&time=0`);
  await chooseGpu(page);
}

async function lose(page: Page): Promise<void> {
  await worker(page).evaluate(() => (self as unknown as { onmessage(event: object): void }).onmessage({ data: { id: 1e6, call: "lose", args: {} } }));
}

test("a lost device is said, can be opened again, and the CPU goes on", async ({ page, home }) => {
  await open(page, home);
  await lose(page);
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await expect(page.locator(".stage .status")).toHaveText(/^It did not work: device wgpu:0: lost/, { timeout: 60_000 });
  await expect(notice(page)).toContainText(/The device does not work\. device wgpu:0: lost/);
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.locator(".found")).toContainText("webgpu", { timeout: 60_000 });
  await expect(notice(page)).toBeEmpty();
  await lose(page);
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await expect(notice(page)).toContainText(/The device does not work\. device wgpu:0: lost/, { timeout: 60_000 });
  await goOnWithCpu(page);
});

test("memory that the device does not have is said, and the CPU goes on", async ({ page, home }) => {
  await open(page, home);
  await worker(page).evaluate(() => {
    GPUDevice.prototype.popErrorScope = () => Promise.resolve(new GPUOutOfMemoryError("the buffer does not fit"));
  });
  await page.getByRole("button", { name: "Generate", exact: true }).click();
  await expect(notice(page)).toContainText(/The device does not work\. device wgpu:0: .*memory/i, { timeout: 60_000 });
  await goOnWithCpu(page);
});

test("a device that is chosen stays chosen in every view", async ({ page, home }) => {
  await open(page, home);
  for (const view of ["how", "kernels", "measure", "generate"]) {
    await page.goto(`${home}#/${view}`);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    await expect(page.locator(".found")).toContainText("webgpu");
  }
});

test("where files cannot be kept, the page says so and works", async ({ page, home }) => {
  await before(page, `self.caches.open = () => Promise.reject(new DOMException("storage is denied", "SecurityError"));`);
  await make(page, home, { ...SMALL, steps: 2, device: "cpu" });
  await expect(notice(page)).toContainText(/keeps no files for this page.*storage is denied/);
  await notice(page).getByRole("button", { name: "Close" }).click();
  await expect(notice(page)).toBeEmpty();
});

test("a wrong file is said, is not kept, and can be fetched again", async ({ page, home }) => {
  const wrong = [
    { body: "<p>Not found</p>", contentType: "text/html", says: /could not be fetched: the host answers 200 text\/html/ },
    { body: "half of a file", contentType: "application/octet-stream", says: /moving-mnist-32.*safetensors/ },
  ];
  let answer: (typeof wrong)[number] | null = null;
  await page.route("**/*.safetensors", (route) => (answer ? route.fulfill({ status: 200, ...answer }) : route.continue()));
  answer = wrong[0]!;
  await page.goto(home + write({ ...SMALL, steps: 2, device: "cpu" }));
  await expect(notice(page)).toContainText(answer.says, { timeout: 60_000 });
  answer = wrong[1]!;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(notice(page)).toContainText(answer.says, { timeout: 60_000 });
  answer = null;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.locator(".found")).toContainText("cpu", { timeout: 60_000 });
  await expect(notice(page)).toBeEmpty();
});
