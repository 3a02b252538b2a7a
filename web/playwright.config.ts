import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results/runs",
  reporter: [["list"]],
  // The software adapter takes all cores.
  workers: 1,
  timeout: 300_000,
  use: {
    launchOptions: {
      executablePath: process.env.STEEP_CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"],
    },
  },
});
