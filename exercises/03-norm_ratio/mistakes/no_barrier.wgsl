// expect: ratio:
// No barrier in the tree: what others have not written yet is added.
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
  var total = 0.0;
  for (var row = cut(p.rows, p.runs, group.x); row < end; row++) {
    var squares = vec2(0.0);
    for (var j = thread; j < p.dim; j += WG) {
      let both = vec2(cur[row * p.dim + j], prev[row * p.dim + j]);
      squares += both * both;
    }
    terms[thread] = squares;
    // A tree: the upper half is added to the lower half, until one is left. The order of additions is always the same.
    for (var half = WG / 2u; half > 0u; half /= 2u) {
      if thread < half {
        terms[thread] += terms[thread + half];
      }
    }
    if thread == 0u {
      let norms = sqrt(terms[0]);
      total += norms.x / norms.y;
    }
    // The next row writes to where this one still reads.
    workgroupBarrier();
  }
  // A share without rows says 0.
  if thread == 0u {
    partials[group.x] = total;
  }
}
