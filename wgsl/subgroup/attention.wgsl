// out = softmax(q · kᵀ / √h) · v; what an invocation's neighbours have comes from their registers.
//
// That neighbours are in one subgroup is what adapters do with workgroups of one dimension; WGSL does not promise it.
#include "common/attention.wgsl"

const_assert LANES % COLUMNS == 0u;

fn most(x: vec4<f32>, i: u32) -> vec4<f32> {
  var top = x;
  for (var k = 1u; k < COLUMNS; k *= 2u) {
    top = max(top, subgroupShuffleXor(top, k));
  }
  workgroupBarrier();
  return top;
}
