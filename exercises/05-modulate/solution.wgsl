// out = layer_norm(x)·(1 + scale) + shift, a row to a workgroup.
// steep: tile = 1, 1, 1
// steep: dtypes = f32
#include "common/sum.wgsl"

const WG = 64u;

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mods: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

// a / b, rounded once: WGSL lets a division be off by more, and then a constant row would not be its own mean.
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  return q + fma(-q, b, a) / b;
}

@compute @workgroup_size(WG)
fn modulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x;
  let first = row * p.dim;
  let sample = row / p.rows_per_sample * p.mods_columns;
  let d = f32(p.dim);
  var elements = 0.0;
  for (var j = thread; j < p.dim; j += WG) {
    elements += x[first + j];
  }
  let mean = quotient(sum(vec2(elements, 0.0), thread, WG).x, d);
  // A second pass over the row, which is in the cache now: E[x²] − E[x]² would subtract two large numbers.
  var squares = 0.0;
  for (var j = thread; j < p.dim; j += WG) {
    let deviation = x[first + j] - mean;
    squares = fma(deviation, deviation, squares);
  }
  let variance = sum(vec2(squares, 0.0), thread, WG).x / d;
  let inverse_deviation = inverseSqrt(variance + p.epsilon);
  for (var j = thread; j < p.dim; j += WG) {
    let normal = (x[first + j] - mean) * inverse_deviation;
    out[first + j] = fma(normal, 1.0 + mods[sample + p.scale_at + j], mods[sample + p.shift_at + j]);
  }
}
