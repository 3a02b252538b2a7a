// out = layer_norm(x) · (1 + scale) + shift, the last two from row b of `mods` for sample b.
//
// A workgroup takes ROWS rows, a run of WIDTH invocations one of them at a time, four elements to an
// invocation. Whoever includes this brings a `sum`.
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
fn modulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  for (var k = 0u; k < ROWS; k += WG / WIDTH) {
    let row = group.x * ROWS + k + thread / WIDTH;
    // Invocations past the last row write nothing, but they must reach the barriers too.
    let r = statistics(min(row, p.rows - 1u), thread, p.epsilon);
    if row < p.rows {
      let first = row * p.dim / 4u;
      let sample = row / p.rows_per_sample * p.mods_columns;
      let shift = (sample + p.shift_at) / 4u;
      let scale = (sample + p.scale_at) / 4u;
      for (var i = thread % WIDTH; i < p.dim / 4u; i += WIDTH) {
        out[first + i] = narrow(modulated(x[first + i], r, mods[shift + i], mods[scale + i]));
      }
    }
  }
}
