// A run of invocations is a subgroup, and a workgroup four of them.
//
// That neighbours are in one subgroup is what adapters do with workgroups of one dimension; WGSL does not promise it.
const WG = 4u * LANES;
const WIDTH = LANES;
var<workgroup> terms: array<vec2<f32>, WG / LANES>;

// Σ x over each run of `width` neighbouring invocations of the workgroup, whole subgroups, known to all of them:
// subgroups add up by themselves, and where there are several, they meet in workgroup memory. `i` is the invocation's
// index.
fn sum(x: vec2<f32>, i: u32, width: u32) -> vec2<f32> {
  let own = subgroupAdd(x);
  if width == LANES {
    return own;
  }
  if i % LANES == 0u {
    terms[i / LANES] = own;
  }
  workgroupBarrier();
  let run = width / LANES;
  let first = i / width * run;
  var total = terms[first];
  for (var k = 1u; k < run; k++) {
    total += terms[first + k];
  }
  workgroupBarrier();
  return total;
}
