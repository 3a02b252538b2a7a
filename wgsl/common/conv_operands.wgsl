// out = conv(x) + bias + add: the operands of `matmul`, four elements at a time, and what becomes of a sum.
// Whoever includes this brings a `matmul`.
//
// A row is a pixel of `out`, its k the window around it in x: pixels of the window, line by line, and of each its
// channels. What has to be divided by is a constant of the call: SIZE of the window, UP, and HEIGHT, WIDTH and
// CHANNELS of the image.
#include "common/conv_window.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<T4>;
@group(0) @binding(1) var<storage, read> x: array<T4>;
@group(0) @binding(2) var<storage, read> w: array<T4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> onto: array<T4>;
@group(0) @binding(5) var<uniform> p: Params;

const QUADS = CHANNELS / 4u;

@compute @workgroup_size(WG)
fn conv2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  matmul(tile, thread, p.rows, p.columns / 4u, SIZE * SIZE * QUADS);
}

fn x_row(row: u32) -> u32 { return row; }

fn x_at(row: u32, k: u32) -> vec4<f32> {
  let pixel = source(row, k / QUADS);
  if pixel == OUTSIDE { return vec4(0.0); }
  return wide(x[pixel * QUADS + k % QUADS]);
}

fn w_row(column: u32) -> u32 { return column * SIZE * SIZE * QUADS; }
fn w_at(row: u32, k: u32) -> vec4<f32> { return wide(w[row + k]); }
fn bias_at(columns: u32) -> vec4<f32> { return bias[columns]; }

fn finish(row: u32, columns: u32, y: vec4<f32>) {
  let at = row * (p.columns / 4u) + columns;
  var sum = y;
  if ADD == 1u { sum += wide(onto[at]); }
  out[at] = narrow(max(sum, vec4(p.least)));
}
