// expect: change, size: 
// prev is read after it was moved on: there is never a change.
// steep: tile = 1, 1, 1
// steep: dtypes = f32
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 256u;

struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> prev: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cur: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

// The terms of one element; moves `prev` on.
fn step(i: u32, end: u32) -> vec2<f32> {
  if i >= end { return vec2(0.0); }
  let next = cur[i];
  prev[i] = next;
  let old = prev[i];
  return vec2(abs(next - old), abs(old));
}

@compute @workgroup_size(WG)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.elements, p.runs, group.x + 1u);
  var i = cut(p.elements, p.runs, group.x) + thread;
  var total = vec2(0.0);
  // WGSL has no f64. Not more than 64 additions in a row: equal addends are all rounded the same way. Four elements at a
  // time, because llvmpipe ends all loops of a shader after 65535 iterations together.
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
