import { open, write } from "./editor";
import { LAUNCH } from "./launch";
import { expect, test } from "./page";

// A browser of its own: what never ends keeps a GPU's process busy until the browser is closed.
test.use({ launchOptions: { ...LAUNCH, args: [...LAUNCH.args, "--mute-audio"] } });

test("a shader that does not end can be cancelled", async ({ page, home }) => {
  await open(page, home, "take/naive");
  await write(page, (text) => text.replace("i += 256u", "i += 256u * min(p.elements, 0u)"));
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.locator(".verdict")).toContainText("checking");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await expect(page.locator(".verdict")).toHaveText("Cancelled.", { timeout: 60_000 });
  // What the visitor wrote is still there.
  await expect(page.locator(".cm-content")).toContainText("min(p.elements, 0u)");
});
