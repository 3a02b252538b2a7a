// c = time + table[label] and act = SiLU(c); a label past the table means its last row.
//
// Try it: steep try starter.wgsl
// expect: c: element 0 is NaN
// steep: tile = 1, 1, 2
// A workgroup takes two rows: then it begins at the beginning of a word, whatever p.dim is.
#include "common/exp.wgsl"

struct Params { dim: u32, rows: u32, batch: u32 }
@group(0) @binding(0) var<storage, read_write> c: array<f32>;
// Words: each holds PER elements, one of f32, two of f16 or bf16. put(word, j, x) is the word with x as element j.
@group(0) @binding(1) var<storage, read_write> act: array<u32>;
@group(0) @binding(2) var<storage, read> time: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(64)
fn label_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  // Yours: rows 2·group.x and the next one, where they are rows, by 64 invocations. exp_(x) is a good eˣ for x up to 88.
}
