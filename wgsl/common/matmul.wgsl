// Sums over k of x[row, k]·w[column, k]: a workgroup makes a tile of 64 rows by 64 columns, 16 of k at a
// time, which come to workgroup memory from registers, where they arrive while the workgroup computes with
// the 16 before.
//
// 64 invocations stand 8 by 8 and make 8 x 8 sums each, in four blocks of 4 x 4 that lie 32 rows and columns
// apart, so that neighbours read and write neighbouring vectors. Tiles are kept transposed, [k][row / 4]:
// four rows times four columns are a block. Whoever loads takes 4 x 4 elements and transposes them in
// registers.
//
// The op brings x_row, x_at, w_row, w_at (a quad of k of the row that starts there), bias_at and finish.
#include "common/store_block.wgsl"
const WG = 64u;
const TILE = 64u;

var<workgroup> x_tile: array<array<vec4<f32>, 16>, 16>;
var<workgroup> w_tile: array<array<vec4<f32>, 16>, 16>;

fn matmul(tile: vec3<u32>, thread: u32, rows: u32, quads: u32, depth: u32) {
  // What this invocation brings: a quad of k of four rows. Four neighbours bring 16 elements of a row. Past
  // the end the last row comes again, and nobody stores its sums.
  let bring_k = thread % 4u;
  let bring = thread / 4u;
  let x_rows = tile.y * TILE + 4u * bring + vec4(0u, 1u, 2u, 3u);
  let x_last = min(x_rows, vec4(rows - 1u));
  let x_starts = vec4(x_row(x_last.x), x_row(x_last.y), x_row(x_last.z), x_row(x_last.w));
  let w_rows = tile.x * TILE + 4u * bring + vec4(0u, 1u, 2u, 3u);
  let w_last = min(w_rows, vec4(4u * quads - 1u));
  let w_starts = vec4(w_row(w_last.x), w_row(w_last.y), w_row(w_last.z), w_row(w_last.w));
  // In a tile's row, vector i lies at i ^ 2·(k / 4): so eight neighbours write to different banks.
  let to = bring ^ (2u * bring_k);

  // What it computes.
  let across = thread % 8u;
  let down = thread / 8u;
  let quad = tile.x * TILE / 4u + across;
  var y00: mat4x4<f32>;
  var y01: mat4x4<f32>;
  var y10: mat4x4<f32>;
  var y11: mat4x4<f32>;

  var x_block = x_load(x_starts, bring_k, depth);
  var w_block = w_load(w_starts, bring_k, depth);
  for (var k = 0u; k < depth; k += 4u) {
    workgroupBarrier();
    x_tile[4u * bring_k][to] = x_block[0];
    x_tile[4u * bring_k + 1u][to] = x_block[1];
    x_tile[4u * bring_k + 2u][to] = x_block[2];
    x_tile[4u * bring_k + 3u][to] = x_block[3];
    w_tile[4u * bring_k][to] = w_block[0];
    w_tile[4u * bring_k + 1u][to] = w_block[1];
    w_tile[4u * bring_k + 2u][to] = w_block[2];
    w_tile[4u * bring_k + 3u][to] = w_block[3];
    workgroupBarrier();
    x_block = x_load(x_starts, k + 4u + bring_k, depth);
    w_block = w_load(w_starts, k + 4u + bring_k, depth);
    for (var i = 0u; i < 16u; i += 1u) {
      let swizzle = 2u * (i / 4u);
      let x0 = x_tile[i][down ^ swizzle];
      let x1 = x_tile[i][(down + 8u) ^ swizzle];
      let w0 = w_tile[i][across ^ swizzle];
      let w1 = w_tile[i][(across + 8u) ^ swizzle];
      add(&y00, x0, w0);
      add(&y01, x0, w1);
      add(&y10, x1, w0);
      add(&y11, x1, w1);
    }
  }

  let row = tile.y * TILE + 4u * down;
  store(y00, row, rows, quad, quads);
  store(y01, row, rows, quad + 8u, quads);
  store(y10, row + 32u, rows, quad, quads);
  store(y11, row + 32u, rows, quad + 8u, quads);
}

// Four rows of a quad of k, transposed; zero past the end of k.
fn x_load(starts: vec4<u32>, k: u32, depth: u32) -> mat4x4<f32> {
  if k >= depth { return mat4x4<f32>(); }
  return transpose(mat4x4(x_at(starts.x, k), x_at(starts.y, k), x_at(starts.z, k), x_at(starts.w, k)));
}

fn w_load(starts: vec4<u32>, k: u32, depth: u32) -> mat4x4<f32> {
  if k >= depth { return mat4x4<f32>(); }
  return transpose(mat4x4(w_at(starts.x, k), w_at(starts.y, k), w_at(starts.z, k), w_at(starts.w, k)));
}

// y[row] is four columns of a row.
fn add(y: ptr<function, mat4x4<f32>>, x: vec4<f32>, w: vec4<f32>) {
  (*y)[0] = fma(x.xxxx, w, (*y)[0]);
  (*y)[1] = fma(x.yyyy, w, (*y)[1]);
  (*y)[2] = fma(x.zzzz, w, (*y)[2]);
  (*y)[3] = fma(x.wwww, w, (*y)[3]);
}
