// out = epilogue(x · wᵀ + bias): the operands of `matmul`, four elements at a time, and what becomes of a sum.
// Whoever includes this brings a `matmul`.
#include "common/linear.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<O4>;
@group(0) @binding(1) var<storage, read> x: array<T4>;
@group(0) @binding(2) var<storage, read> w: array<T4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mods: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> onto: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn linear(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  matmul(tile, thread, p.rows, p.columns / 4u, p.depth / 4u);
}

fn x_row(row: u32) -> u32 { return row * (p.depth / 4u); }
fn x_at(row: u32, k: u32) -> vec4<f32> { return wide(x[row + k]); }
fn w_row(column: u32) -> u32 { return column * (p.depth / 4u); }
fn w_at(row: u32, k: u32) -> vec4<f32> { return wide(w[row + k]); }
fn bias_at(columns: u32) -> vec4<f32> { return bias[columns]; }

fn finish(row: u32, columns: u32, y: vec4<f32>) {
  let at = row * (p.columns / 4u) + columns;
  var alpha: vec4<f32>;
  var old: vec4<f32>;
  if HAS_ALPHA { alpha = mods[alpha_index(p, row, columns * 4u) / 4u]; }
  if EPILOGUE == RESIDUAL { old = wide_o(out[at]); }
  if EPILOGUE == RESIDUAL_ONTO { old = onto[at]; }
  out[at] = narrow_o(epilogue(y, alpha, old));
}
