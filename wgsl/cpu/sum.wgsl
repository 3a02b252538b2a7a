// Σ x over the workgroup, which is one vector register: for its lanes a barrier would be a detour.
fn sum(x: vec2<f32>, i: u32, width: u32) -> vec2<f32> {
  return subgroupAdd(x);
}
