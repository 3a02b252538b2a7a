// out = (x − mean) / √(variance + ε) · weight + bias, then SiLU: a group of an image to a workgroup, four channels of a
// pixel to an invocation at a time. Whoever includes this brings a `sum` and its WG.
//
// The group is read three times: for the mean, for the deviations from it, so that a large mean costs no precision,
// and to be normalised.
#include "common/activations.wgsl"

struct Params { pixels: u32, channels: u32, groups: u32, silu: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<T4>;
@group(0) @binding(1) var<storage, read> x: array<T4>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn group_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  // Vectors of four channels: of a pixel, of a group in it, and of the group in the image.
  let quads = p.channels / 4u;
  let width = quads / p.groups;
  let all = p.pixels * width;
  let first = group.y * p.pixels * quads + group.x * width;
  var elements = vec4(0.0);
  for (var i = thread; i < all; i += WG) {
    elements += wide(x[first + i / width * quads + i % width]);
  }
  let n = f32(4u * all);
  let mean = sum(vec2(across(elements), 0.0), thread, WG).x / n;
  var squares = vec4(0.0);
  for (var i = thread; i < all; i += WG) {
    let deviation = wide(x[first + i / width * quads + i % width]) - mean;
    squares = fma(deviation, deviation, squares);
  }
  let scale = inverseSqrt(sum(vec2(across(squares), 0.0), thread, WG).x / n + p.epsilon);
  for (var i = thread; i < all; i += WG) {
    let at = first + i / width * quads + i % width;
    let channel = group.x * width + i % width;
    var y = fma((wide(x[at]) - mean) * scale, weight[channel], bias[channel]);
    if p.silu != 0u { y = silu(y); }
    out[at] = narrow(y);
  }
}

fn across(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}
