// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share of the elements, then prev = cur.
//
// A workgroup takes a share, word by word: an element of f32, two of f16 or bf16.
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 256u;

struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> prev: array<u32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cur: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

// The terms of the j-th element of a word.
fn terms_of(next: u32, old: u32, j: u32) -> vec2<f32> {
  let was = element(old, j);
  return vec2(abs(element(next, j) - was), abs(was));
}

// The terms of one word; moves `prev` on.
fn step(i: u32, end: u32) -> vec2<f32> {
  if i >= end {
    return vec2(0.0);
  }
  let next = cur[i];
  let old = prev[i];
  // Behind an odd number of halves lies one that is not ours.
  if i * PER + PER > p.elements {
    prev[i] = put(old, 0u, element(next, 0u));
    return terms_of(next, old, 0u);
  }
  prev[i] = next;
  return terms_of(next, old, 0u) + select(vec2(0.0), terms_of(next, old, 1u), PER == 2u);
}

@compute @workgroup_size(WG)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let words = (p.elements + PER - 1u) / PER;
  let end = cut(words, p.runs, group.x + 1u);
  var i = cut(words, p.runs, group.x) + thread;
  var total = vec2(0.0);
  // Not more than 64 additions in a row: equal addends are all rounded the same way. Four words at a time,
  // because llvmpipe ends all loops of a shader after 65535 iterations together.
  while i < end {
    var part = vec2(0.0);
    for (var k = 0u; k < 64u && i < end; k++) {
      part += (step(i, end) + step(i + WG, end)) + (step(i + 2u * WG, end) + step(i + 3u * WG, end));
      i += 4u * WG;
    }
    total += part;
  }
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
