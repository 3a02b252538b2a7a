// expect: out: 
// The header does not say that rows must be whole vectors, so the lab tries others, too.
// from workgroup memory for 64 products, where the exercise before has two numbers for one.
// steep: tile = 1, 64, 64
// steep: dtypes = f32
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
// Of every row of a tile 16 products, as four vectors, and one that is not used: so eight rows lie in different banks.
var<workgroup> xs: array<array<vec4<f32>, 5>, SIDE>;
var<workgroup> ws: array<array<vec4<f32>, 5>, SIDE>;

@compute @workgroup_size(16, 16)
fn linear(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) me: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let quads = p.depth / 4u;
  let row0 = tile.y * SIDE;
  let column0 = tile.x * SIDE;
  // What this invocation brings: vector `at` of row `bring` of either tile.
  let bring = thread / 4u;
  let at = thread % 4u;
  var sum: array<array<f32, 4>, 4>;
  for (var q0 = 0u; q0 < quads; q0 += 4u) {
    var from_x = vec4(0.0);
    var from_w = vec4(0.0);
    if row0 + bring < p.rows && q0 + at < quads { from_x = x[(row0 + bring) * quads + q0 + at]; }
    if column0 + bring < p.columns && q0 + at < quads { from_w = w[(column0 + bring) * quads + q0 + at]; }
    xs[bring][at] = from_x;
    ws[bring][at] = from_w;
    workgroupBarrier();
    for (var q = 0u; q < 4u; q++) {
      // Rows me.y, me.y + 16, .. and columns me.x, me.x + 16, ..: neighbours store neighbours.
      let w0 = ws[me.x][q];
      let w1 = ws[me.x + 16u][q];
      let w2 = ws[me.x + 32u][q];
      let w3 = ws[me.x + 48u][q];
      for (var i = 0u; i < 4u; i++) {
        let a = xs[me.y + 16u * i][q];
        sum[i][0] += dot(a, w0);
        sum[i][1] += dot(a, w1);
        sum[i][2] += dot(a, w2);
        sum[i][3] += dot(a, w3);
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      let row = row0 + me.y + 16u * i;
      let column = column0 + me.x + 16u * j;
      if row < p.rows && column < p.columns { finish(row, column, sum[i][j]); }
    }
  }
}
