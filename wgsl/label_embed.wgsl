// c = time + table[label] and act = c·σ(c); a label past the table means its last row.
//
// A workgroup takes TILE rows, an even number, as a row of f16 or bf16 may end in the middle of a word.
#include "common/exp.wgsl"

struct Params { dim: u32, rows: u32, batch: u32 }
@group(0) @binding(0) var<storage, read_write> c: array<f32>;
@group(0) @binding(1) var<storage, read_write> act: array<u32>;
@group(0) @binding(2) var<storage, read> time: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

// Of a large negative x, e^x is 0 and e^-x infinite.
fn silu(x: f32) -> f32 {
  let e = exp_(-abs(x));
  return x * select(e, 1.0, x > 0.0) / (1.0 + e);
}

@compute @workgroup_size(64)
fn label_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.batch) * p.dim;
  for (var i = group.x * TILE * p.dim + thread * PER; i < end; i += 64u * PER) {
    var word = act[i / PER];
    for (var j = 0u; j < min(PER, end - i); j++) {
      let row = (i + j) / p.dim;
      let label = min(labels[row], p.rows - 1u);
      let sum = time[i + j] + table[label * p.dim + (i + j) % p.dim];
      c[i + j] = sum;
      word = put(word, j, silu(sum));
    }
    act[i / PER] = word;
  }
}
