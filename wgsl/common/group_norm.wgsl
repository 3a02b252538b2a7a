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
  let step = vec2(WG / width, WG % width);
  let here = Group(group.y * p.pixels * quads + group.x * width, width, quads, step);
  let first = vec2(thread / width, thread % width);
  // Four at a time, because llvmpipe ends all loops of a shader after 65535 iterations together.
  var elements = vec4(0.0);
  for (var a = first; a.x < p.pixels;) {
    let b = after(here, a);
    let c = after(here, b);
    let d = after(here, c);
    elements += (deviation(here, a, 0.0) + deviation(here, b, 0.0))
      + (deviation(here, c, 0.0) + deviation(here, d, 0.0));
    a = after(here, d);
  }
  let n = f32(4u * p.pixels * width);
  let mean = sum(vec2(across(elements), 0.0), thread, WG).x / n;
  var squares = vec4(0.0);
  for (var a = first; a.x < p.pixels;) {
    let b = after(here, a);
    let c = after(here, b);
    let d = after(here, c);
    squares += (square(here, a, mean) + square(here, b, mean)) + (square(here, c, mean) + square(here, d, mean));
    a = after(here, d);
  }
  let scale = inverseSqrt(sum(vec2(across(squares), 0.0), thread, WG).x / n + p.epsilon);
  let channel = group.x * width;
  for (var a = first; a.x < p.pixels;) {
    let b = after(here, a);
    let c = after(here, b);
    let d = after(here, c);
    normalise(here, a, mean, scale, channel);
    normalise(here, b, mean, scale, channel);
    normalise(here, c, mean, scale, channel);
    normalise(here, d, mean, scale, channel);
    a = after(here, d);
  }
}

// Where the vectors of a group are: its first one, how many of them a pixel has, how many the pixel has in all, and how
// far an invocation goes each time.
struct Group { first: u32, width: u32, quads: u32, step: vec2<u32> }

// An invocation's next vector: its pixel, and its place in there. An integer division for each would cost more than the
// vector does.
fn after(g: Group, at: vec2<u32>) -> vec2<u32> {
  let next = at + g.step;
  return select(next, vec2(next.x + 1u, next.y - g.width), next.y >= g.width);
}

fn place(g: Group, at: vec2<u32>) -> u32 {
  return g.first + at.x * g.quads + at.y;
}

// What one of the group's vectors is apart from the mean; past its end nothing.
fn deviation(g: Group, at: vec2<u32>, mean: f32) -> vec4<f32> {
  if at.x >= p.pixels { return vec4(0.0); }
  return wide(x[place(g, at)]) - mean;
}

fn square(g: Group, at: vec2<u32>, mean: f32) -> vec4<f32> {
  let d = deviation(g, at, mean);
  return d * d;
}

fn normalise(g: Group, at: vec2<u32>, mean: f32, scale: f32, first_channel: u32) {
  if at.x >= p.pixels { return; }
  let channel = first_channel + at.y;
  var y = fma(deviation(g, at, mean) * scale, weight[channel], bias[channel]);
  if p.silu != 0u { y = silu(y); }
  out[place(g, at)] = narrow(y);
}

fn across(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}
