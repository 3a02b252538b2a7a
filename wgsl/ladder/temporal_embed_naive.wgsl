// x[b, f, n, :] += table[f, :], an element to an invocation at a time; a workgroup takes TILE rows.
struct Params { frames: u32, tokens: u32, dim: u32, rows: u32 }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(256)
fn temporal_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.rows) * p.dim;
  for (var i = group.x * TILE * p.dim + thread; i < end; i += 256u) {
    let frame = i / p.dim / p.tokens % p.frames;
    x[i] += table[frame * p.dim + i % p.dim];
  }
}
