// out = a·x + b·y, four elements to an invocation at a time; in place, x is `out` itself.
struct Params { elements: u32, in_place: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

// Where a is 0, x may hold anything.
fn a_times_x(i: u32) -> vec4<f32> {
  if p.a == 0.0 { return vec4(0.0); }
  if p.in_place != 0u { return p.a * out[i]; }
  return p.a * x[i];
}

@compute @workgroup_size(WG)
fn axpby(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements) / 4u;
  for (var i = group.x * TILE / 4u + thread; i < end; i += WG) {
    out[i] = fma(vec4(p.b), y[i], a_times_x(i));
  }
}
