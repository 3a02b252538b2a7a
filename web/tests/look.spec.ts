import { test } from "./page";

/** Pictures of every view, narrow and wide, light and dark, for somebody to look at: `npm run look`. */
const VIEWS = (process.env.VIEWS ?? "#/generate #/generate?cache=tea:0.1:identity #/kernels #/measure #/how").split(" ");

for (const width of [390, 1280]) {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const view of VIEWS) {
      test(`@look ${view} ${width} ${colorScheme}`, async ({ browser, home }) => {
        test.setTimeout(300_000);
        const page = await browser.newPage({ viewport: { width, height: 860 }, colorScheme });
        page.on("console", (message) => console.log(message.type(), message.text()));
        await page.goto(home + view);
        if (view.includes("cache=")) await page.getByText(/^(Done|It did not)/).waitFor({ timeout: 150_000 });
        await page.waitForTimeout(1500);
        const name = view.replaceAll(/\W+/g, "-").slice(1, 40);
        await page.screenshot({ path: `test-results/look/${name}-${width}-${colorScheme}.png`, fullPage: true });
        await page.close();
      });
    }
  }
}
