// partials[r] = Σ ‖cur[row]‖ / ‖prev[row]‖ over the r-th share of the rows. A workgroup takes a share, row by row.
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 64u;

struct Params { rows: u32, dim: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> partials: array<f32>;
@group(0) @binding(1) var<storage, read> cur: array<f32>;
@group(0) @binding(2) var<storage, read> prev: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn norm_ratio(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.rows, p.runs, group.x + 1u);
  var total = 0.0;
  for (var row = cut(p.rows, p.runs, group.x); row < end; row++) {
    var squares = vec2(0.0);
    for (var i = row * p.dim + thread; i < (row + 1u) * p.dim; i += WG) {
      let x = vec2(cur[i], prev[i]);
      squares += x * x;
    }
    let norms = sqrt(sum(squares, thread, WG));
    total += norms.x / norms.y;
  }
  if thread == 0u {
    partials[group.x] = total;
  }
}
