// residual = out − in, an element to an invocation at a time.
struct Params { elements: u32 }
@group(0) @binding(0) var<storage, read_write> residual: array<f32>;
@group(0) @binding(1) var<storage, read> stack_out: array<f32>;
@group(0) @binding(2) var<storage, read> stack_in: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn residual_store(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements);
  for (var i = group.x * TILE + thread; i < end; i += 256u) {
    residual[i] = stack_out[i] - stack_in[i];
  }
}
