// d = Σ changes / Σ sizes; sum += f(d); skip this step while the sum stays below the threshold
//
// Try it: steep try starter.wgsl
// expect: flag: element 0 is
// steep: tile = 1, 1, 1
#include "common/sum.wgsl"

const WG = 64u;
const NAN = 0x7fc00000u;
const INFINITY = 0x7f800000u;
const CLAMP = 1u;
const ABS = 2u;

struct Params {
  step: u32, partials: u32, forced: u32, negative: u32, threshold: f32,
  c4: f32, c3: f32, c2: f32, c1: f32, c0: f32, accumulates: u32, max_skips: u32, lowest: f32, highest: f32,
}
@group(0) @binding(0) var<storage, read_write> flag: array<u32>;
// Bits of f32: compilers may assume that there is neither NaN nor infinity, so what is either is found and written as bits.
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> trace: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

fn magnitude(x: f32) -> u32 { return bitcast<u32>(x) & 0x7fffffffu; }
fn finite(x: f32) -> bool { return magnitude(x) < INFINITY; }
fn nan(x: f32) -> bool { return magnitude(x) > INFINITY; }

// The bits of change / size, neither of which is negative.
fn quotient(change: f32, size: f32) -> u32 {
  if nan(change) || nan(size) || (change == 0.0 && size == 0.0) || !(finite(change) || finite(size)) {
    return NAN;
  }
  if !finite(change) || size == 0.0 {
    return INFINITY;
  }
  return select(0u, bitcast<u32>(change / size), finite(size));
}

// A row of the trace: d, f(d), the sum, the decision (0 skipped, 1 computed, 2 forced).
@compute @workgroup_size(WG)
fn tea_gate(@builtin(local_invocation_index) thread: u32) {
  var terms = vec2(0.0);
  // Yours: the sum of partials[i], by all invocations; at step 0 there is nothing to compare with.
  let sums = sum(terms, thread, WG);
  if thread > 0u { return; }
  let d_bits = select(NAN, quotient(sums.x, sums.y), p.step > 0u);
  // Yours: trace[p.step], flag[0] (1: compute), state[0] (the sum) and state[1] (1.0: a step was computed).
}
