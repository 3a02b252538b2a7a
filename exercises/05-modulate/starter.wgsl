// out = layer_norm(x)·(1 + scale) + shift
//
// Try it: steep try starter.wgsl
// expect: out: element 0 is NaN
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

@compute @workgroup_size(WG)
fn modulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x;
  let sample = row / p.rows_per_sample * p.mods_columns;
  // Yours: a row for this workgroup. sum(vec2(a, b), thread, WG) gives both sums over the workgroup to all.
  // Shift begins at mods[sample + p.shift_at], scale at mods[sample + p.scale_at].
}
