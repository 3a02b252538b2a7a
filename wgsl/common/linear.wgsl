// What all sources of `linear` share: its parameters and the epilogue, which is a constant of the call:
// EPILOGUE. On llvmpipe, where both sides of a branch are computed, choosing it in the kernel would halve the
// kernel's speed.
#include "common/activations.wgsl"

struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  epilogue: u32,
  // Rows that share a row of modulation, its length, and where the alpha starts in it.
  rows_per_sample: u32,
  mods_columns: u32,
  alpha_at: u32,
}
const SILU = 1u;
const GELU = 2u;
const RESIDUAL = 3u;
const RESIDUAL_ONTO = 4u;
const HAS_ALPHA = EPILOGUE >= RESIDUAL;

// Where in `mods` the alpha of an output is.
fn alpha_index(p: Params, row: u32, column: u32) -> u32 {
  return row / p.rows_per_sample * p.mods_columns + p.alpha_at + column;
}

// `y` with the bias in it; `alpha` and `old` are read by the epilogues that alpha.
fn epilogue(y: vec4<f32>, alpha: vec4<f32>, old: vec4<f32>) -> vec4<f32> {
  switch EPILOGUE {
    case SILU: { return silu(y); }
    case GELU: { return gelu(y); }
    case RESIDUAL, RESIDUAL_ONTO: { return fma(alpha, y, old); }
    default: { return y; }
  }
}
