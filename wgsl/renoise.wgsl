// z = z + exp((f·high + (1 − f)·low)/2)·noise, f = (v + 1)/2, v the channels of the tokens behind the
// prediction.
//
// A workgroup takes TILE rows of patches, an invocation one pixel of one channel at a time. What has to be
// divided by is a constant of the call: PATCH (the size of a patch), ACROSS and DOWN (patches of an image),
// CHANNELS.
#include "common/exp.wgsl"

struct Params {
  channels: u32, height: u32, width: u32, patch_size: u32, low: f32, high: f32, bands: u32,
}
@group(0) @binding(0) var<storage, read_write> z: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn renoise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  const width = ACROSS * PATCH;
  // Pixels of a band, channel by channel, line by line.
  const pixels = CHANNELS * PATCH * width;
  let end = min((group.x + 1u) * TILE, p.bands) * pixels;
  for (var i = group.x * TILE * pixels + thread; i < end; i += WG) {
    let band = i / pixels;
    let channel = i % pixels / (PATCH * width);
    let y = i / width % PATCH;
    let x = i % width;
    let patch_ = band * ACROSS + x / PATCH;
    let pixel = (patch_ * PATCH + y) * PATCH + x % PATCH;
    let f = fma(0.5, tokens[(2u * pixel + 1u) * CHANNELS + channel], 0.5);
    let log = fma(f, p.high - p.low, p.low);
    let image = band / DOWN * CHANNELS + channel;
    let at = ((image * DOWN + band % DOWN) * PATCH + y) * width + x;
    z[at] = fma(exp_(0.5 * log), noise[at], z[at]);
  }
}
