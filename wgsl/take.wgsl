// out = table[index], an element to an invocation at a time.
struct Params { elements: u32, index: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(256)
fn take(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements);
  for (var i = group.x * TILE + thread; i < end; i += 256u) {
    out[i] = table[p.index * p.elements + i];
  }
}
