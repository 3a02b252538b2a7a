// cur = layer_norm(x)·(1 + scale) + shift; partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows;
// signal = cur: exercises 4 and 5 in one pass
//
// Try it: steep try starter.wgsl
// expect: change, size: element 0 is NaN
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

@compute @workgroup_size(WG)
fn modulate_rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.rows, p.runs, group.x + 1u);
  var total = vec2(0.0);
  for (var k = cut(p.rows, p.runs, group.x); k < end; k += WG / WIDTH) {
    let row = k + thread / WIDTH;
    // Yours: a row for WIDTH invocations, if there is one. sum(v, thread, WIDTH) is the sum over these; it has barriers.
  }
  let sums = sum(total, thread, WG);
  // Yours: every invocation has the sums now.
}
