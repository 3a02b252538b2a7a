// out = in + residual, four elements to an invocation at a time.
struct Params { elements: u32 }
@group(0) @binding(0) var<storage, read_write> stack_out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> stack_in: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn residual_reuse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements) / 4u;
  for (var i = group.x * TILE / 4u + thread; i < end; i += WG) {
    stack_out[i] = stack_in[i] + residual[i];
  }
}
