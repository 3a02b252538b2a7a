// expect: element 0 is NaN
// A factor of 0 does not make NaN go away.
// steep: tile = 1, 1, 256
struct Params { elements: u32, in_place: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn axpby(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if i >= p.elements { return; }
  var first = x[i];
  if p.in_place != 0u { first = out[i]; }
  out[i] = fma(p.b, y[i], p.a * first);
}
