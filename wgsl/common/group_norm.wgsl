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
  // Vectors of four channels: of a pixel, and of the group in the image.
  let quads = p.channels / 4u;
  let width = quads / p.groups;
  let all = p.pixels * width;
  let here = Group(group.y * p.pixels * quads + group.x * width, width, quads, all);
  // Four at a time, because llvmpipe ends all loops of a shader after 65535 iterations together.
  var elements = vec4(0.0);
  for (var i = thread; i < all; i += 4u * WG) {
    elements += (deviation(here, i, 0.0) + deviation(here, i + WG, 0.0))
      + (deviation(here, i + 2u * WG, 0.0) + deviation(here, i + 3u * WG, 0.0));
  }
  let n = f32(4u * all);
  let mean = sum(vec2(across(elements), 0.0), thread, WG).x / n;
  var squares = vec4(0.0);
  for (var i = thread; i < all; i += 4u * WG) {
    squares += (square(here, i, mean) + square(here, i + WG, mean))
      + (square(here, i + 2u * WG, mean) + square(here, i + 3u * WG, mean));
  }
  let scale = inverseSqrt(sum(vec2(across(squares), 0.0), thread, WG).x / n + p.epsilon);
  let channel = group.x * width;
  for (var i = thread; i < all; i += 4u * WG) {
    normalise(here, i, mean, scale, channel);
    normalise(here, i + WG, mean, scale, channel);
    normalise(here, i + 2u * WG, mean, scale, channel);
    normalise(here, i + 3u * WG, mean, scale, channel);
  }
}

// Where the vectors of a group are.
struct Group { first: u32, width: u32, quads: u32, all: u32 }

fn place(g: Group, i: u32) -> u32 {
  return g.first + i / g.width * g.quads + i % g.width;
}

// What the group's i-th vector is apart from the mean; past its end nothing.
fn deviation(g: Group, i: u32, mean: f32) -> vec4<f32> {
  if i >= g.all { return vec4(0.0); }
  return wide(x[place(g, i)]) - mean;
}

fn square(g: Group, i: u32, mean: f32) -> vec4<f32> {
  let d = deviation(g, i, mean);
  return d * d;
}

fn normalise(g: Group, i: u32, mean: f32, scale: f32, first_channel: u32) {
  if i >= g.all { return; }
  let channel = first_channel + i % g.width;
  var y = fma(deviation(g, i, mean) * scale, weight[channel], bias[channel]);
  if p.silu != 0u { y = silu(y); }
  out[place(g, i)] = narrow(y);
}

fn across(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}
