// c = time + table[label] and act = SiLU(c), two rows to a workgroup, a word of `act` to an invocation at a time.
// steep: tile = 1, 1, 2
#include "common/exp.wgsl"

struct Params { dim: u32, rows: u32, batch: u32 }
@group(0) @binding(0) var<storage, read_write> c: array<f32>;
@group(0) @binding(1) var<storage, read_write> act: array<u32>;
@group(0) @binding(2) var<storage, read> time: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

// Of a large negative x, e^x is 0 and e^-x infinite, and WGSL promises nothing about infinity.
fn silu(x: f32) -> f32 {
  let e = exp_(-abs(x));
  return x * select(e, 1.0, x > 0.0) / (1.0 + e);
}

@compute @workgroup_size(64)
fn label_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min(2u * (group.x + 1u), p.batch) * p.dim;
  for (var i = 2u * group.x * p.dim + thread * PER; i < end; i += 64u * PER) {
    // All elements of a word are one invocation's. The last word may have one that is nobody's, and stays as it is.
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
