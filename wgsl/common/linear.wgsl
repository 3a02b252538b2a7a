// What all sources of `linear` share: its parameters and the epilogue, which is a constant of the call:
// EPILOGUE. On llvmpipe, where both sides of a branch are computed, choosing it in the kernel would halve the
// kernel's speed.
struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  epilogue: u32,
  // Rows that share a row of modulation, its length, and where the gate starts in it.
  rows_per_sample: u32,
  mods_columns: u32,
  gate_at: u32,
}
const SILU = 1u;
const GELU = 2u;
const GATE_ADD = 3u;
const GATE_ADD_ONTO = 4u;
const GATES = EPILOGUE >= GATE_ADD;

// Where in `mods` the gate of an output is.
fn gate_of(p: Params, row: u32, column: u32) -> u32 {
  return row / p.rows_per_sample * p.mods_columns + p.gate_at + column;
}

// `y` with the bias in it; `gate` and `old` are read by the epilogues that gate.
fn epilogue(y: vec4<f32>, gate: vec4<f32>, old: vec4<f32>) -> vec4<f32> {
  switch EPILOGUE {
    case SILU: { return silu(y); }
    case GELU: { return gelu(y); }
    case GATE_ADD, GATE_ADD_ONTO: { return fma(gate, y, old); }
    default: { return y; }
  }
}
