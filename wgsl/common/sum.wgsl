// Σ x over each run of `width` neighbouring invocations of the workgroup, known to all of them: a tree in
// workgroup memory. `i` is the invocation's index.
var<workgroup> terms: array<vec2<f32>, WG>;

fn sum(x: vec2<f32>, i: u32, width: u32) -> vec2<f32> {
  terms[i] = x;
  for (var half = width / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if i % width < half {
      terms[i] += terms[i + half];
    }
  }
  workgroupBarrier();
  let total = terms[i / width * width];
  workgroupBarrier();
  return total;
}
