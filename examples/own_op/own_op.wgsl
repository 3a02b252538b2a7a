// y = x / √(1 + x²), an element to an invocation at a time; a workgroup takes TILE elements.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<uniform> elements: u32;

@compute @workgroup_size(256)
fn soft_clip(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, elements);
  for (var i = group.x * TILE + thread; i < end; i += 256u) {
    y[i] = x[i] / sqrt(fma(x[i], x[i], 1.0));
  }
}
