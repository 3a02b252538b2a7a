// x = patches(z) · wᵀ + bias + pos: the operands of `matmul`, four elements at a time, and what becomes of a sum.
// Whoever includes this brings a `matmul`.
//
// A patch is read where it lies in z. What has to be divided by is a constant of the call: PATCH (its size),
// ACROSS (patches side by side) and TOKENS (patches of an image).
struct Params {
  samples: u32,
  frames: u32,
  channels: u32,
  height: u32,
  width: u32,
  patch_size: u32,
  dim: u32,
  rows: u32,
  copies: u32,
}
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<T4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> pos: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn patch_embed(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  matmul(tile, thread, p.rows, p.dim / 4u, p.channels * PATCH * PATCH / 4u);
}

// Where the patch of a row starts in z.
fn x_row(row: u32) -> u32 {
  let image = row / TOKENS;
  let token = row % TOKENS;
  let line = image * p.channels * p.height + token / ACROSS * PATCH;
  return line * p.width + token % ACROSS * PATCH;
}

fn x_at(row: u32, k: u32) -> vec4<f32> {
  // Channels, lines, elements of a patch.
  let i = 4u * k + vec4(0u, 1u, 2u, 3u);
  let at = row + i / (PATCH * PATCH) * p.height * p.width + i / PATCH % PATCH * p.width + i % PATCH;
  return vec4(z[at.x], z[at.y], z[at.z], z[at.w]);
}

fn w_row(column: u32) -> u32 { return column * (p.channels * PATCH * PATCH / 4u); }
fn w_at(row: u32, k: u32) -> vec4<f32> { return wide(w[row + k]); }
fn bias_at(columns: u32) -> vec4<f32> { return bias[columns]; }

fn finish(row: u32, columns: u32, y: vec4<f32>) {
  let placed = y + pos[row % TOKENS * (p.dim / 4u) + columns];
  for (var copy = 0u; copy < p.copies; copy += 1u) {
    x[(copy * p.rows + row) * (p.dim / 4u) + columns] = placed;
  }
}
