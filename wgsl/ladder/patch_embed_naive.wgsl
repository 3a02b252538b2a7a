// x = patches(z) · wᵀ + bias + pos: an output to an invocation.
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
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> pos: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(4, 64)
fn patch_embed(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x >= p.dim || id.y >= p.rows { return; }
  let image = id.y / TOKENS;
  let token = id.y % TOKENS;
  var y = 0.0;
  var j = id.x * p.channels * PATCH * PATCH;
  for (var channel = 0u; channel < p.channels; channel += 1u) {
    for (var down = 0u; down < PATCH; down += 1u) {
      let line = (image * p.channels + channel) * p.height + token / ACROSS * PATCH + down;
      let i = line * p.width + token % ACROSS * PATCH;
      for (var right = 0u; right < PATCH; right += 1u) {
        y += z[i + right] * element(w[j / PER], j % PER);
        j += 1u;
      }
    }
  }
  let placed = y + bias[id.x] + pos[token * p.dim + id.x];
  for (var copy = 0u; copy < p.copies; copy += 1u) {
    x[(copy * p.rows + id.y) * p.dim + id.x] = placed;
  }
}
