// out = epilogue(x·wᵀ + bias), a tile of 64×64 outputs per workgroup, 4×4 of them per invocation in registers
//
// Try it: steep try starter.wgsl
// expect: out: element 0 is NaN
// steep: tile = 1, 64, 64
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

const SIDE = 64u;
// Of every row of a tile 16 products, as four vectors.
var<workgroup> xs: array<array<vec4<f32>, 4>, SIDE>;
var<workgroup> ws: array<array<vec4<f32>, 4>, SIDE>;

@compute @workgroup_size(16, 16)
fn linear(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) me: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let quads = p.depth / 4u;
  var sum: array<array<f32, 4>, 4>;
  for (var q0 = 0u; q0 < quads; q0 += 4u) {
    // Yours: each invocation brings one vector of x and one of w.
    xs[thread / 4u][thread % 4u] = vec4(0.0);
    ws[thread / 4u][thread % 4u] = vec4(0.0);
    // Then, for every vector of the products: four of xs, four of ws, and 16 times dot().
  }
  // Yours: finish(row, column, sum[i][j]) for each of the 16 that is an output.
}
