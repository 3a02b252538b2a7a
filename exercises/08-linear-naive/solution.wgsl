// out = epilogue(x·wᵀ + bias), one invocation per output.
// steep: tile = 1, 8, 8
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

@compute @workgroup_size(8, 8)
fn linear(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y;
  let column = id.x;
  if row >= p.rows || column >= p.columns { return; }
  var sum = 0.0;
  for (var k = 0u; k < p.depth; k++) {
    sum = fma(x[row * p.depth + k], w[column * p.depth + k], sum);
  }
  finish(row, column, sum);
}
