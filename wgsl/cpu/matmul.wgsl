// Sums over k of x[row, k]·w[column, k], for software adapters: there an invocation is a lane
// of a vector register, and each of its loads is a scalar load. What counts is loads per multiplication.
//
// A workgroup is one subgroup, and makes its tile in pieces of 4·LANES rows by 4·LANES columns. Lane i has
// four columns of all these rows. It loads their four rows of w, but only every LANES-th row of x: the others
// come from the lanes that loaded them, since a shuffle from a lane known beforehand is a broadcast between
// registers.
//
// llvmpipe on two cores, f32, 512³, a piece to a workgroup: 46 GFLOP/s. 16, 24 or 64 rows to a piece: 35, 37,
// 49; eight columns to a lane: 55. The last two take three times as long to compile. Two quads of k at a time:
// 45; four, with 16 rows: 27.
//
// The op brings the same functions as in common/matmul.wgsl.
const WG = LANES;
const TILE = 64u;

alias Rows = array<vec4<f32>, LANES>;

// With FEW_ROWS the call has no more than eight rows, and what is behind them is left out.
const SECOND = FEW_ROWS == 0u || LANES < 8u;
const ALL = FEW_ROWS == 0u;

fn matmul(tile: vec3<u32>, lane: u32, rows: u32, quads: u32, depth: u32) {
  let row_end = min((tile.y + 1u) * TILE, rows);
  let quad_end = min((tile.x + 1u) * TILE / 4u, quads);
  for (var row = tile.y * TILE; row < row_end; row += 4u * LANES) {
    for (var quad = tile.x * TILE / 4u; quad < quad_end; quad += LANES) {
      piece(row, row_end, quad + lane, quad_end, depth, lane);
    }
  }
}

fn piece(row: u32, row_end: u32, quad: u32, quad_end: u32, depth: u32, lane: u32) {
  // Past the end, lanes repeat the last row or quad of columns, and store nothing.
  let x0 = x_row(min(row + lane, row_end - 1u));
  let x1 = x_row(min(row + LANES + lane, row_end - 1u));
  let x2 = x_row(min(row + 2u * LANES + lane, row_end - 1u));
  let x3 = x_row(min(row + 3u * LANES + lane, row_end - 1u));
  let columns = min(quad, quad_end - 1u);
  let w0 = w_row(4u * columns);
  let w1 = w_row(4u * columns + 1u);
  let w2 = w_row(4u * columns + 2u);
  let w3 = w_row(4u * columns + 3u);
  var y0: Rows;
  var y1: Rows;
  var y2: Rows;
  var y3: Rows;
  for (var k = 0u; k < depth; k += 1u) {
    let w = transpose(mat4x4(w_at(w0, k), w_at(w1, k), w_at(w2, k), w_at(w3, k)));
    add(&y0, x_at(x0, k), w);
    if SECOND { add(&y1, x_at(x1, k), w); }
    if ALL { add(&y2, x_at(x2, k), w); }
    if ALL { add(&y3, x_at(x3, k), w); }
  }
  let end = select(0u, row_end, quad < quad_end);
  let bias = bias_at(columns);
  store(&y0, row, end, quad, bias);
  if SECOND { store(&y1, row + LANES, end, quad, bias); }
  if ALL { store(&y2, row + 2u * LANES, end, quad, bias); }
  if ALL { store(&y3, row + 3u * LANES, end, quad, bias); }
}

// A quad of k for LANES rows: lane r has row r's x, w[k] is this lane's four columns. The driver unrolls the
// loop.
fn add(y: ptr<function, Rows>, mine: vec4<f32>, w: mat4x4<f32>) {
  for (var r = 0u; r < LANES; r += 1u) {
    let x = subgroupShuffle(mine, r);
    (*y)[r] = fma(x.wwww, w[3], fma(x.zzzz, w[2], fma(x.yyyy, w[1], fma(x.xxxx, w[0], (*y)[r]))));
  }
}

fn store(y: ptr<function, Rows>, row: u32, end: u32, quad: u32, bias: vec4<f32>) {
  for (var r = 0u; r < LANES; r += 1u) {
    if row + r < end { finish(row + r, quad, (*y)[r] + bias); }
  }
}
