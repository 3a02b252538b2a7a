import { readFileSync } from "node:fs";
import { expect, test } from "./page";
import { chooseGpu } from "./run";

/** The keys that docs/results.md describes in the table behind the line that begins so. */
function documented(begin: string): string[] {
  const text = readFileSync(new URL("../../docs/results.md", import.meta.url), "utf8");
  const table = text.slice(text.indexOf(begin)).split("\n").slice(1).join("\n").trimStart().split("\n\n")[0]!;
  const cells = table.split("\n").slice(2).map((row) => row.split("|")[1]!);
  return cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1]!)).sort();
}

test("one op is verified and timed, a cached run made, and the file has the documented format", async ({ page, home }) => {
  test.setTimeout(300_000);
  await page.goto(`${home}#/measure?steps=3`);
  await chooseGpu(page);
  await page.getByLabel("Ops", { exact: true }).selectOption("take");
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  await expect(page.locator(".status")).toHaveText(/^Measured on .*webgpu/, { timeout: 240_000 });

  await expect(page.locator(".right")).toHaveText(/^✓ all \d+ are right$/);
  await expect(page.getByRole("table", { name: "What is right" })).toContainText("naive");
  await expect(page.getByRole("table", { name: "How fast it is" })).toContainText(/take.*naive.*ms/);
  await expect(page.getByText("of 3 steps computed")).toContainText(/F[CS]F/);

  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download (JSON)" }).click()]);
  expect(file.suggestedFilename()).toMatch(/^\d{4}-\d\d-\d\d-[a-z0-9.-]+\.page\.json$/);
  const results = JSON.parse(readFileSync(await file.path(), "utf8"));
  expect(Object.keys(results).sort()).toEqual([...documented("`format` is `steep"), "format"].sort().filter((key) => key in results));
  expect(results.format).toBe("steep results 1");
  expect(results.machine.browser).toMatch(/^Chrome\//);
  expect(results.devices).toHaveLength(1);
  const [device] = results.devices;
  expect(Object.keys(device).sort()).toEqual(["copy_gbps", "description", "facts", "matmul_gflops", "name", "run", "timed", "verified"]);
  expect(device.facts.backend).toBe("webgpu");
  expect(device.facts.limits.maxComputeWorkgroupsPerDimension).toBeGreaterThan(0);

  for (const row of device.verified) {
    expect(Object.keys(row).sort()).toEqual(documented("A row of `verified`"));
    expect(row.op).toBe("take");
    expect([row.wrong, row.fault]).toEqual([0, null]);
    expect(row.cases).toBeGreaterThan(0);
  }
  for (const row of device.timed) {
    expect(Object.keys(row).sort()).toEqual(documented("A row of `timed`"));
    expect(row.op).toBe("take");
    expect(row.ceiling).toBeGreaterThan(0);
    expect(row.low_ms).toBeLessThanOrEqual(row.ms);
  }
  expect(device.verified.length).toBeGreaterThan(0);
  expect(device.timed.length).toBeGreaterThan(0);
  expect(device.run.steps).toHaveLength(3);
  expect(device.run.cache).toBe("tea:0.1:identity");

  // What was measured stays while the visitor looks around.
  await page.goto(`${home}#/how`);
  await page.goto(`${home}#/measure`);
  await expect(page.getByRole("table", { name: "What is right" })).toBeVisible();
});

test("measuring can be cancelled", async ({ page, home }) => {
  await page.goto(`${home}#/measure`);
  await chooseGpu(page);
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  await expect(page.locator(".status")).toHaveText(/patch_embed/, { timeout: 60_000 });
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator(".status")).toHaveText("Cancelled.", { timeout: 60_000 });
  await expect(page.getByRole("button", { name: "Measure", exact: true })).toBeEnabled();
});
