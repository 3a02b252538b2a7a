// z = z + exp((f·high + (1 − f)·low)/2)·noise, f = (v + 1)/2, v the channels of the tokens behind the
// prediction.
//
// A workgroup takes TILE rows of patches, an invocation one pixel of one channel at a time.
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
  let down = p.height / p.patch_size;
  let across = p.width / p.patch_size;
  let predicted = 2u * p.channels;
  // Pixels of a band, channel by channel, line by line.
  let pixels = p.channels * p.patch_size * p.width;
  let end = min((group.x + 1u) * TILE, p.bands) * pixels;
  for (var i = group.x * TILE * pixels + thread; i < end; i += WG) {
    let band = i / pixels;
    let channel = i % pixels / p.width / p.patch_size;
    let y = i / p.width % p.patch_size;
    let x = i % p.width;
    let patch_ = band * across + x / p.patch_size;
    let pixel = (patch_ * p.patch_size + y) * p.patch_size + x % p.patch_size;
    let f = fma(0.5, tokens[pixel * predicted + p.channels + channel], 0.5);
    let log = fma(f, p.high - p.low, p.low);
    let image = band / down * p.channels + channel;
    let at = (image * p.height + band % down * p.patch_size + y) * p.width + x;
    z[at] = fma(exp_(0.5 * log), noise[at], z[at]);
  }
}
