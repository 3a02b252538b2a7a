// partials[r] = (Σ|(out − in) − kept|, Σ|kept|) over the r-th share of the elements. A workgroup takes a share.
#include "common/cut.wgsl"
#include "common/sum.wgsl"

const WG = 256u;

struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> block_out: array<f32>;
@group(0) @binding(2) var<storage, read> block_in: array<f32>;
@group(0) @binding(3) var<storage, read> kept: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

fn terms_of(i: u32, end: u32) -> vec2<f32> {
  if i >= end {
    return vec2(0.0);
  }
  let was = kept[i];
  return vec2(abs((block_out[i] - block_in[i]) - was), abs(was));
}

@compute @workgroup_size(WG)
fn residual_distance(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = cut(p.elements, p.runs, group.x + 1u);
  var i = cut(p.elements, p.runs, group.x) + thread;
  var total = vec2(0.0);
  // Not more than 64 additions in a row: equal addends are all rounded the same way. Four at a time, because
  // llvmpipe ends all loops of a shader after 65535 iterations together.
  while i < end {
    var part = vec2(0.0);
    for (var k = 0u; k < 64u && i < end; k++) {
      part += (terms_of(i, end) + terms_of(i + WG, end))
        + (terms_of(i + 2u * WG, end) + terms_of(i + 3u * WG, end));
      i += 4u * WG;
    }
    total += part;
  }
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
