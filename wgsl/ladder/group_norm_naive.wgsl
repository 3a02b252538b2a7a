// out = (x − mean) / √(variance + ε) · weight + bias, then SiLU: an invocation takes a group of an image, four
// channels of a pixel at a time.
#include "common/activations.wgsl"

struct Params { pixels: u32, channels: u32, groups: u32, silu: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<T4>;
@group(0) @binding(1) var<storage, read> x: array<T4>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(64)
fn group_norm(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x >= p.groups { return; }
  // Vectors of four channels: of a pixel, and of a group in it.
  let quads = p.channels / 4u;
  let width = quads / p.groups;
  let first = id.y * p.pixels * quads + id.x * width;
  let n = vec4(f32(p.pixels * width * 4u));
  var sum = vec4(0.0);
  for (var pixel = 0u; pixel < p.pixels; pixel += 1u) {
    for (var i = 0u; i < width; i += 1u) { sum += wide(x[first + pixel * quads + i]); }
  }
  let mean = dot(sum, 1.0 / n);
  var squares = vec4(0.0);
  for (var pixel = 0u; pixel < p.pixels; pixel += 1u) {
    for (var i = 0u; i < width; i += 1u) {
      let deviation = wide(x[first + pixel * quads + i]) - mean;
      squares += deviation * deviation;
    }
  }
  let scale = inverseSqrt(dot(squares, 1.0 / n) + p.epsilon);
  for (var pixel = 0u; pixel < p.pixels; pixel += 1u) {
    for (var i = 0u; i < width; i += 1u) {
      let at = first + pixel * quads + i;
      let channel = id.x * width + i;
      var y = (wide(x[at]) - mean) * scale * weight[channel] + bias[channel];
      if p.silu != 0u { y = silu(y); }
      out[at] = narrow(y);
    }
  }
}
