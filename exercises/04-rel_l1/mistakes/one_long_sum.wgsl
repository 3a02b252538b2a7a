// expect: change, size: 
// One running sum in f32: each addition rounds, and equal addends all round the same way.
// steep: tile = 1, 1, 1
// steep: dtypes = f32
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 64u;

struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> prev: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cur: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.elements, p.runs, group.x + 1u);
  var total = vec2(0.0);
  for (var i = cut(p.elements, p.runs, group.x) + thread; i < end; i += WG) {
    let next = cur[i];
    let old = prev[i];
    prev[i] = next;
    total += vec2(abs(next - old), abs(old));
  }
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
