// out = epilogue(x·wᵀ + bias), sums across the lanes of a subgroup: no workgroup memory, no barrier, any size of subgroup.
// steep: tile = 1, 4, 16
// steep: needs = subgroups
// steep: dtypes = f32
// Rows of x and w are read as vectors of four, so they must be whole ones:
// steep: multiple = 4
#include "common/linear.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> mods: array<f32>;
@group(0) @binding(5) var<storage, read> onto: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

// The bias, and what happens to a sum before it is stored.
fn finish(row: u32, column: u32, sum: f32) {
  let at = row * p.columns + column;
  var alpha = 0.0;
  var old = 0.0;
  if HAS_ALPHA { alpha = mods[alpha_index(p, row, column)]; }
  if EPILOGUE == RESIDUAL { old = out[at]; }
  if EPILOGUE == RESIDUAL_ONTO { old = onto[at]; }
  out[at] = epilogue(vec4(sum + bias[column]), vec4(alpha), vec4(old)).x;
}

@compute @workgroup_size(64)
fn linear(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) lanes: u32,
) {
  let quads = p.depth / 4u;
  // A workgroup has 4×16 outputs: 16 times four neighbours in a row. Its subgroups take turns.
  for (var job = subgroup; job < 16u; job += subgroups) {
    let row = tile.y * 4u + job / 4u;
    // p.columns is a multiple of four: there are all four columns or none.
    let column = tile.x * 16u + job % 4u * 4u;
    if row >= p.rows || column >= p.columns { continue; }
    var sum = vec4(0.0);
    // Neighbouring lanes read neighbouring vectors; a vector of x is used four times.
    for (var q = lane; q < quads; q += lanes) {
      let a = x[row * quads + q];
      sum.x += dot(a, w[column * quads + q]);
      sum.y += dot(a, w[(column + 1u) * quads + q]);
      sum.z += dot(a, w[(column + 2u) * quads + q]);
      sum.w += dot(a, w[(column + 3u) * quads + q]);
    }
    let total = subgroupAdd(sum);
    if lane == 0u {
      finish(row, column, total.x);
      finish(row, column + 1u, total.y);
      finish(row, column + 2u, total.z);
      finish(row, column + 3u, total.w);
    }
  }
}
