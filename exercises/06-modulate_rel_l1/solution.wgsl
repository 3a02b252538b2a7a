// cur = layer_norm(x)·(1 + scale) + shift; partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows;
// signal = cur: a share to a workgroup, a row to WIDTH invocations at a time.
// steep: tile = 1, 1, 1
// steep: dtypes = f32
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 256u;
// Invocations that share a row.
const WIDTH = 64u;

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32, runs: u32,
}
@group(0) @binding(0) var<storage, read_write> signal: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> mods: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

// a / b, rounded once: WGSL lets a division be off by more, and then a constant row would not be its own mean.
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  return q + fma(-q, b, a) / b;
}

@compute @workgroup_size(WG)
fn modulate_rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let lane = thread % WIDTH;
  let d = f32(p.dim);
  let end = cut(p.rows, p.runs, group.x + 1u);
  var total = vec2(0.0);
  for (var k = cut(p.rows, p.runs, group.x); k < end; k += WG / WIDTH) {
    let row = k + thread / WIDTH;
    // Invocations past the last row read that one again: they must reach the barriers too.
    let first = min(row, p.rows - 1u) * p.dim;
    var elements = 0.0;
    for (var j = lane; j < p.dim; j += WIDTH) {
      elements += x[first + j];
    }
    let mean = quotient(sum(vec2(elements, 0.0), thread, WIDTH).x, d);
    var squares = 0.0;
    for (var j = lane; j < p.dim; j += WIDTH) {
      let deviation = x[first + j] - mean;
      squares = fma(deviation, deviation, squares);
    }
    let variance = sum(vec2(squares, 0.0), thread, WIDTH).x / d;
    let inverse_deviation = inverseSqrt(variance + 1e-6);
    // But they write nothing and count for nothing.
    if row < end {
      let sample = row / p.rows_per_sample * p.mods_columns;
      for (var j = lane; j < p.dim; j += WIDTH) {
        let normal = (x[first + j] - mean) * inverse_deviation;
        let cur = fma(normal, 1.0 + mods[sample + p.scale_at + j], mods[sample + p.shift_at + j]);
        // All that the measurement costs is this read.
        let old = signal[first + j];
        signal[first + j] = cur;
        total += vec2(abs(cur - old), abs(old));
      }
    }
  }
  // A share without rows says 0.
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
