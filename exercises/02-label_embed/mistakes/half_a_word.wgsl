// expect: each act: element
// Two invocations write two halves of one word: both read it, both write it back, and one half is lost.
// steep: tile = 1, 1, 2
// steep: dtypes = f16, bf16
#include "common/exp.wgsl"

struct Params { dim: u32, rows: u32, batch: u32 }
@group(0) @binding(0) var<storage, read_write> c: array<f32>;
@group(0) @binding(1) var<storage, read_write> act: array<u32>;
@group(0) @binding(2) var<storage, read> time: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

fn silu(x: f32) -> f32 {
  let e = exp_(-abs(x));
  return x * select(e, 1.0, x > 0.0) / (1.0 + e);
}

@compute @workgroup_size(64)
fn label_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min(2u * (group.x + 1u), p.batch) * p.dim;
  for (var i = 2u * group.x * p.dim + thread; i < end; i += 64u) {
    let label = min(labels[i / p.dim], p.rows - 1u);
    let sum = time[i] + table[label * p.dim + i % p.dim];
    c[i] = sum;
    act[i / PER] = put(act[i / PER], i % PER, silu(sum));
  }
}
