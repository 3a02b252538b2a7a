// x[b, f, n, :] += table[f, :].
//
// A workgroup takes TILE rows, a run of WIDTH invocations one of them at a time, four elements to an
// invocation.
struct Params { frames: u32, tokens: u32, dim: u32, rows: u32 }
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn temporal_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let d = p.dim / 4u;
  let end = min((group.x + 1u) * TILE, p.rows);
  for (var row = group.x * TILE + thread / WIDTH; row < end; row += WG / WIDTH) {
    let frame = row / p.tokens % p.frames;
    for (var i = thread % WIDTH; i < d; i += WIDTH) {
      x[row * d + i] += table[frame * d + i];
    }
  }
}
