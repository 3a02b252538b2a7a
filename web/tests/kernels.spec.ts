import type { Page } from "@playwright/test";
import { open, write } from "./editor";
import { expect, test } from "./page";

async function run(page: Page, verdict: RegExp): Promise<void> {
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.locator(".verdict")).toHaveText(verdict, { timeout: 120_000 });
}

/** Replaces the entry point of `take` by one whose values go through workgroup memory, backwards. */
const exchanged = (change = (entry: string) => entry) => (text: string) =>
  text.slice(0, text.indexOf("@compute")) +
  change(`var<workgroup> tile: array<f32, 256>;

@compute @workgroup_size(256)
fn take(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  for (var k = 0u; k < TILE / 256u; k++) {
    let base = group.x * TILE + k * 256u;
    let other = 255u - thread;
    if (base + thread < p.elements) {
      tile[thread] = table[p.index * p.elements + base + thread];
    }
    workgroupBarrier();
    if (base + other < p.elements) {
      out[base + other] = tile[other];
    }
    workgroupBarrier();
  }
}
`);

test("a shader is right as it is, wrong once it is changed, and timed where it is right", async ({ page, home }) => {
  await open(page, home, "take/naive");
  await write(page, (text) => text.replace("p.elements", "p.elements - 1u"));
  await run(page, /^✗ wrong in \d+ of \d+ cases/);
  await expect(page.locator(".findings li").first()).toContainText(/element \d+/);
  await page.getByRole("button", { name: "Undo all changes" }).click();
  await expect(page.locator(".findings li")).toHaveCount(0);
  await run(page, /^✓ right in all \d+ cases/);
  await expect(page.getByRole("table")).toContainText("naive");
});

test("what a compiler refuses is marked in its line, also where only a browser refuses it", async ({ page, home }) => {
  await open(page, home, "take/naive");
  const undo = page.getByRole("button", { name: "Undo all changes" });
  const finding = page.locator(".findings li");
  const mark = page.locator(".cm-lint-marker-error");
  const refused: [change: (text: string) => string, line: string | null, why: RegExp][] = [
    [(text) => text.replace("let end = ", "let end = ="), "let end", /'let'/],
    [(text) => text.replace("p.elements", "p.nothing"), "p.nothing", /nothing/],
    // Barriers that not all invocations reach: native compilers let them pass.
    [exchanged((entry) => entry.replace("    }\n    workgroupBarrier();", "      workgroupBarrier();\n    }")), "workgroupBarrier", /uniform control flow/],
    [(text) => text.replace("workgroup_size(256)", "workgroup_size(1024)"), null, /1024/],
  ];
  for (const [change, line, why] of refused) {
    await write(page, change);
    await run(page, /^✗ wrong in 1 of 1 cases/);
    await expect(finding).toHaveText(why);
    await expect(finding).toContainText("compile");
    if (line === null) await expect(mark).toHaveCount(0);
    else {
      const number = Number(/take\.wgsl:(\d+)/.exec(await finding.innerText())?.[1]);
      await expect(page.locator(".cm-line").nth(number - 1)).toContainText(line);
      await expect(page.locator(".cm-lineNumbers .cm-gutterElement").filter({ hasText: new RegExp(`^${number}$`) })).toBeVisible();
      await expect(mark).toHaveCount(1);
    }
    await undo.click();
    await expect(mark).toHaveCount(0);
  }
  await write(page, (text) => text.replace("fn take", "fn tak"));
  await run(page, /^It could not be tried: take\.wgsl:\d+: the entry point `tak` is no op/);
  await expect(mark).toHaveCount(1);
});

test("a race is found, and with its barriers the same shader is right", async ({ page, home }) => {
  await open(page, home, "take/naive");
  await write(page, exchanged((entry) => entry.replaceAll("    workgroupBarrier();\n", "")));
  await run(page, /^✗ wrong in \d+ of \d+ cases/);
  await expect(page.locator(".findings li").first()).toContainText(/element \d+ is/);
  await page.getByRole("button", { name: "Undo all changes" }).click();
  await write(page, exchanged());
  await run(page, /^✓ right in all/);
});

test("text can be typed, over a selection of lines, too", async ({ page, home }) => {
  await page.goto(`${home}#/kernels/take/naive`);
  const content = page.locator(".cm-content");
  const lines = () => content.locator(".cm-line").count();
  await content.click();
  await page.keyboard.press("Control+Home");
  const before = await lines();
  await page.keyboard.type("// mine");
  await page.keyboard.press("Enter");
  expect(await lines()).toBe(before + 1);
  await page.keyboard.press("Control+Home");
  for (let i = 0; i < 3; i++) await page.keyboard.press("Shift+ArrowDown");
  await page.keyboard.type("abc");
  expect(await lines()).toBe(before - 2);
  await expect(content.locator(".cm-line").first()).toHaveText(/^abc\/\/ steep/);
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText("all of it");
  await expect(content).toHaveText("all of it");
  await page.keyboard.press("Control+Z");
  await page.keyboard.press("Control+Z");
  await expect(content).toContainText("@compute");
  // No message of the content policy: see `faults`.
});

test("a starter of an exercise is told what is missing", async ({ page, home }) => {
  await open(page, home, "axpby/01-axpby");
  await run(page, /^✗ wrong/);
  await expect(page.locator(".findings li").first()).toContainText(/element \d+ is/);
});
