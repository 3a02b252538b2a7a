// out = epilogue(x·wᵀ + bias), a tile of 16×16 outputs per workgroup, through workgroup memory: every number that is read
// from memory is used 16 times.
// steep: tile = 1, 16, 16
// steep: dtypes = f32
#include "common/linear.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
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

const SIDE = 16u;
var<workgroup> xs: array<array<f32, SIDE>, SIDE>;
// A column more than is used: 16 invocations that read a column would meet in the same banks.
var<workgroup> ws: array<array<f32, SIDE + 1u>, SIDE>;

@compute @workgroup_size(SIDE, SIDE)
fn linear(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_id) me: vec3<u32>) {
  let row = tile.y * SIDE + me.y;
  let column = tile.x * SIDE + me.x;
  // What this invocation brings of w is not what it computes: row me.y of the tile, so that neighbours read neighbours.
  let brought = tile.x * SIDE + me.y;
  var sum = 0.0;
  for (var k0 = 0u; k0 < p.depth; k0 += SIDE) {
    let k = k0 + me.x;
    // Zeros past the ends: they add nothing. No invocation leaves before the barriers.
    var from_x = 0.0;
    var from_w = 0.0;
    if row < p.rows && k < p.depth { from_x = x[row * p.depth + k]; }
    if brought < p.columns && k < p.depth { from_w = w[brought * p.depth + k]; }
    xs[me.y][me.x] = from_x;
    ws[me.y][me.x] = from_w;
    // The tiles are complete.
    workgroupBarrier();
    for (var i = 0u; i < SIDE; i++) {
      sum = fma(xs[me.y][i], ws[me.x][i], sum);
    }
    // All are done with them.
    workgroupBarrier();
  }
  if row < p.rows && column < p.columns {
    finish(row, column, sum);
  }
}
