// Sums over k of x[row, k]·w[column, k]. Rows of x go from register to register: there is no workgroup memory,
// and nobody waits.
//
// A workgroup makes a tile of 64 rows by 64 columns. Eight neighbours make eight of the rows: each has eight
// columns of all of them, two quads that lie 32 columns apart, and brings one row of x, a quad of k at a time. So
// a shuffle hands over a number for eight multiplications.
//
// That neighbours are in one subgroup is what adapters do with workgroups of one dimension; WGSL does not promise it.
//
// The op brings the same functions as in common/matmul.wgsl.
#include "common/store_block.wgsl"
const WG = 64u;
const TILE = 64u;
const_assert LANES % 8u == 0u;

fn matmul(tile: vec3<u32>, thread: u32, rows: u32, quads: u32, depth: u32) {
  // Past the end, the last row or quad comes again, and nobody stores its sums.
  let row = tile.y * TILE + thread / 8u * 8u;
  let x = x_row(min(row + thread % 8u, rows - 1u));
  let quad = tile.x * TILE / 4u + thread % 8u;
  let left = min(quad, quads - 1u);
  let right = min(quad + 8u, quads - 1u);
  let l = vec4(w_row(4u * left), w_row(4u * left + 1u), w_row(4u * left + 2u), w_row(4u * left + 3u));
  let r = vec4(w_row(4u * right), w_row(4u * right + 1u), w_row(4u * right + 2u), w_row(4u * right + 3u));
  // The lane of the first of the eight.
  let first = thread % LANES / 8u * 8u;

  // Rows 0 to 3 and 4 to 7.
  var l0: mat4x4<f32>;
  var l4: mat4x4<f32>;
  var r0: mat4x4<f32>;
  var r4: mat4x4<f32>;
  for (var k = 0u; k < depth; k += 1u) {
    let own = x_at(x, k);
    let wl = transpose(mat4x4(w_at(l.x, k), w_at(l.y, k), w_at(l.z, k), w_at(l.w, k)));
    let wr = transpose(mat4x4(w_at(r.x, k), w_at(r.y, k), w_at(r.z, k), w_at(r.w, k)));
    let low = four_rows(own, first);
    add(&l0, low, wl);
    add(&r0, low, wr);
    let high = four_rows(own, first + 4u);
    add(&l4, high, wl);
    add(&r4, high, wr);
  }

  store(l0, row, rows, quad, quads);
  store(l4, row + 4u, rows, quad, quads);
  store(r0, row, rows, quad + 8u, quads);
  store(r4, row + 4u, rows, quad + 8u, quads);
}

// The quads of k that four neighbours have.
fn four_rows(x: vec4<f32>, lane: u32) -> mat4x4<f32> {
  return mat4x4(
    subgroupShuffle(x, lane),
    subgroupShuffle(x, lane + 1u),
    subgroupShuffle(x, lane + 2u),
    subgroupShuffle(x, lane + 3u));
}

// x[row] is a quad of k, w[k] four columns, y[row] four columns.
fn add(y: ptr<function, mat4x4<f32>>, x: mat4x4<f32>, w: mat4x4<f32>) {
  (*y)[0] = add_row((*y)[0], x[0], w);
  (*y)[1] = add_row((*y)[1], x[1], w);
  (*y)[2] = add_row((*y)[2], x[2], w);
  (*y)[3] = add_row((*y)[3], x[3], w);
}

fn add_row(y: vec4<f32>, x: vec4<f32>, w: mat4x4<f32>) -> vec4<f32> {
  return fma(x.wwww, w[3], fma(x.zzzz, w[2], fma(x.yyyy, w[1], fma(x.xxxx, w[0], y))));
}
