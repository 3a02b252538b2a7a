// out = layer_norm(x) · (1 + scale) + shift, the last two from row b of `mods` for sample b.
//
// On a processor every lane's load counts, wherever the line is: a workgroup takes ROWS rows, so that it
// loads shift and scale once for all of them, or once for each sample that they belong to.
#include "cpu/lanes.wgsl"
#include "cpu/sum.wgsl"
#include "common/layer_norm.wgsl"

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<storage, read_write> out: array<T4>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> mods: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn modulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let d = p.dim / 4u;
  let last = min((group.x + 1u) * ROWS, p.rows);
  var first = group.x * ROWS;
  while first < last {
    let sample = first / p.rows_per_sample;
    let end = min(last, (sample + 1u) * p.rows_per_sample);
    var rows: array<Row, ROWS>;
    for (var row = first; row < end; row++) {
      rows[row - first] = statistics(row, lane, p.epsilon);
    }
    let shift = (sample * p.mods_columns + p.shift_at) / 4u;
    let scale = (sample * p.mods_columns + p.scale_at) / 4u;
    for (var i = lane; i < d; i += LANES) {
      let a = mods[shift + i];
      let b = mods[scale + i];
      for (var row = first; row < end; row++) {
        out[row * d + i] = narrow(modulated(x[row * d + i], rows[row - first], a, b));
      }
    }
    first = end;
  }
}
