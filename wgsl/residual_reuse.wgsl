// out = in + residual, four elements to an invocation.
struct Params { elements: u32 }
@group(0) @binding(0) var<storage, read_write> stack_out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> stack_in: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn residual_reuse(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x < p.elements / 4u {
    stack_out[id.x] = stack_in[id.x] + residual[id.x];
  }
}
