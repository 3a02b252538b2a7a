// out = softmax(q · kᵀ / √h) · v; what an invocation's neighbours have comes through workgroup memory.
#include "common/attention.wgsl"

var<workgroup> exchange: array<vec4<f32>, WG>;

fn most(x: vec4<f32>, i: u32) -> vec4<f32> {
  exchange[i] = x;
  workgroupBarrier();
  var top = x;
  for (var k = 0u; k < COLUMNS; k++) {
    top = max(top, exchange[i / COLUMNS * COLUMNS + k]);
  }
  return top;
}
