/** How Chromium is started: with WebGPU on a software adapter, as there need be no GPU. */
export const LAUNCH = {
  executablePath: process.env.STEEP_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"],
};
