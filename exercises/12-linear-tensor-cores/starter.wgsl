// out = epilogue(x·wᵀ + bias), sums across the lanes of a subgroup
//
// Try it: steep try starter.wgsl
// expect: out: element 0 is NaN
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
    let column = tile.x * 16u + job % 4u * 4u;
    var sum = vec4(0.0);
    // Yours: a lane adds up every lanes-th vector of the products, for four outputs at once; subgroupAdd(sum) is known to
    // all lanes, and one of them stores: finish(row, column + j, sum[j]).
  }
}
