// partials[r] = Σ ‖cur[row]‖ / ‖prev[row]‖ over the r-th share of the rows
//
// Try it: steep try starter.wgsl
// expect: ratio: element 0 is NaN
// steep: tile = 1, 1, 1
#include "common/cut.wgsl"

const WG = 64u;

struct Params { rows: u32, dim: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> partials: array<f32>;
@group(0) @binding(1) var<storage, read> cur: array<f32>;
@group(0) @binding(2) var<storage, read> prev: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

// Σ cur² in x, Σ prev² in y.
var<workgroup> terms: array<vec2<f32>, WG>;

@compute @workgroup_size(WG)
fn norm_ratio(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.rows, p.runs, group.x + 1u);
  for (var row = cut(p.rows, p.runs, group.x); row < end; row++) {
    // Yours: the sums of squares of a row, by all invocations of the workgroup.
    terms[thread] = vec2(0.0);
  }
  // Yours: one invocation writes partials[group.x].
}
