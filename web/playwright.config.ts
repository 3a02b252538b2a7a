import { defineConfig } from "@playwright/test";
import { LAUNCH } from "./tests/launch";

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results/runs",
  reporter: [["list"]],
  // The software adapter takes all cores.
  workers: 1,
  timeout: 300_000,
  use: {
    launchOptions: LAUNCH,
    // A button that stays disabled is found at once, and not at the end of the test.
    actionTimeout: 60_000,
  },
});
