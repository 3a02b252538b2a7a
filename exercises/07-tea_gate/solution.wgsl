// d = Σ changes / Σ sizes; sum += f(d); skip this step while the sum stays below the threshold. One workgroup.
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

// Whether the steps before this one, back to the last computed one, are as many as may be skipped.
fn full() -> bool {
  var skips = 0u;
  for (var i = p.step; i > 0u && skips < p.max_skips && (trace[i - 1u].w & 0x7fffffffu) == 0u; i--) {
    skips++;
  }
  return skips >= p.max_skips;
}

// A row of the trace: d, f(d), the sum, the decision (0 skipped, 1 computed, 2 forced).
@compute @workgroup_size(WG)
fn tea_gate(@builtin(local_invocation_index) thread: u32) {
  var terms = vec2(0.0);
  // At step 0 the partial sums hold anything.
  if p.step > 0u {
    for (var i = thread; i < p.partials; i += WG) {
      terms += partials[i];
    }
  }
  let sums = sum(terms, thread, WG);
  if thread > 0u { return; }
  let d_bits = select(NAN, quotient(sums.x, sums.y), p.step > 0u);
  let d = bitcast<f32>(d_bits);
  // The polynomial, by Horner's rule; distances below those that it was fitted for count as the first of these.
  let x = select(d, p.lowest, d < p.lowest);
  let f = fma(fma(fma(fma(p.c4, x, p.c3), x, p.c2), x, p.c1), x, p.c0);
  // What is not known computes.
  let measured = p.forced == 0u && finite(d) && d <= p.highest && finite(f);
  let counted = select(select(f, abs(f), p.negative == ABS), max(f, 0.0), p.negative == CLAMP);
  let total = bitcast<f32>(state[0]) + counted;
  let computed_before = (state[1] & 0x7fffffffu) != 0u;
  let below = !nan(p.threshold) && p.threshold > 0.0 && total < p.threshold;
  let skip = measured && computed_before && below && !full();

  let rescaled = select(NAN, bitcast<u32>(f), measured);
  let compared = select(0u, bitcast<u32>(total), measured && finite(total));
  let decision = select(select(1.0, 0.0, skip), 2.0, p.forced != 0u);
  trace[p.step] = vec4(d_bits, rescaled, compared, bitcast<u32>(decision));
  flag[0] = select(1u, 0u, skip);
  state[0] = select(0u, bitcast<u32>(total), skip && p.accumulates != 0u);
  state[1] = bitcast<u32>(1.0);
}
