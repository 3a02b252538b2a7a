// out = layer_norm(x) · (1 + scale) + shift, the last two from row b of `mods` for sample b.
//
// An invocation takes a row; of f16 and bf16 two rows, because a row of them may end in the middle of a word.
#include "ladder/layer_norm_naive.wgsl"

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mods: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(ROWS)
fn modulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let last = min((group.x + 1u) * ROWS, p.rows);
  let first = group.x * ROWS + thread * PER;
  for (var row = first; row < min(first + PER, last); row++) {
    let r = statistics(row, p.epsilon);
    for (var j = 0u; j < p.dim; j++) {
      let i = row * p.dim + j;
      out[i / PER] = put(out[i / PER], i % PER, modulated(row, j, r));
    }
  }
}
