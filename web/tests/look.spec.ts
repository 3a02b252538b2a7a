import { test } from "./page";
import { chooseGpu } from "./run";

/** Pictures of every view after it has done something, narrow and wide, light and dark, for somebody to look at: `npm run look`. */
for (const [width, height] of [[390, 844], [1280, 800]] as const) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`@look ${width}×${height} ${colorScheme}`, async ({ browser, home }) => {
      test.setTimeout(600_000);
      const page = await browser.newPage({ viewport: { width, height }, colorScheme });
      const shot = (name: string) => page.screenshot({ path: `test-results/look/${name}-${width}-${colorScheme}.png`, fullPage: true });
      await page.goto(`${home}#/generate?cache=tea:0.1:identity&device=cpu`);
      await page.locator(".stage .status").getByText("With a cache: step 3").waitFor({ timeout: 150_000 });
      await shot("running");
      await page.locator(".stage .status").getByText(/^(Done|It did not)/).waitFor({ timeout: 150_000 });
      await shot("generate");
      await page.goto(`${home}#/how`);
      await page.locator(".answer").getByText(/^\d+ of/).waitFor();
      await shot("how");
      await chooseGpu(page);
      await page.goto(`${home}#/kernels/take/naive`);
      await page.locator(".cm-content").waitFor();
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByText(/✓ right/).waitFor({ timeout: 120_000 });
      await shot("kernels");
      await page.goto(`${home}#/kernels/axpby/01-axpby`);
      await page.locator(".cm-content").getByText("axpby").first().waitFor();
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByText(/✗ wrong/).waitFor({ timeout: 120_000 });
      await shot("wrong");
      await page.goto(`${home}#/measure?steps=2`);
      await page.getByLabel("Ops", { exact: true }).selectOption("take");
      await page.getByRole("button", { name: "Measure", exact: true }).click();
      await page.getByText(/^Measured on/).waitFor({ timeout: 240_000 });
      await shot("measure");
      await page.close();
    });
  }
}
