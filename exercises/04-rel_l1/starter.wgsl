// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share of the elements, then prev = cur, in one pass
//
// Try it: steep try starter.wgsl
// expect: change, size: element 0 is NaN
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

@compute @workgroup_size(WG)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  var total = vec2(0.0);
  // Yours: elements cut(p.elements, p.runs, group.x) up to the next share's first.
  let sums = sum(total, thread, WG);
  // Yours: every invocation has the sums now.
}
