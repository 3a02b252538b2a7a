// cur = modulate(x); partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows; signal =
// cur.
//
// A workgroup takes a share, a run of WIDTH invocations one of its rows at a time, four elements to an
// invocation. The sums are of the values as stored. Whoever includes this brings a `sum`.
#include "common/cut.wgsl"
#include "common/layer_norm.wgsl"

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32, runs: u32,
}
@group(0) @binding(0) var<storage, read_write> signal: array<T4>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> mods: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn modulate_rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let begin = cut(p.rows, p.runs, group.x);
  let end = cut(p.rows, p.runs, group.x + 1u);
  var total = vec2(0.0);
  for (var k = begin; k < end; k += WG / WIDTH) {
    let row = k + thread / WIDTH;
    // Invocations past the last row write nothing, but they must reach the barriers too.
    let r = statistics(min(row, p.rows - 1u), thread, 1e-6);
    if row < end {
      let first = row * p.dim / 4u;
      let sample = row / p.rows_per_sample * p.mods_columns;
      let shift = (sample + p.shift_at) / 4u;
      let scale = (sample + p.scale_at) / 4u;
      var change = vec4(0.0);
      var size = vec4(0.0);
      for (var i = thread % WIDTH; i < p.dim / 4u; i += WIDTH) {
        let cur = narrow(modulated(x[first + i], r, mods[shift + i], mods[scale + i]));
        let old = wide(signal[first + i]);
        signal[first + i] = cur;
        change += abs(wide(cur) - old);
        size += abs(old);
      }
      total += vec2(across(change), across(size));
    }
  }
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
