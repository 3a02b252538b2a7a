// out = a·x + b·y, an element to an invocation at a time; in place, x is `out` itself.
struct Params { elements: u32, in_place: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

// Where a is 0, x may hold anything.
fn a_times_x(i: u32) -> f32 {
  if p.a == 0.0 { return 0.0; }
  if p.in_place != 0u { return p.a * out[i]; }
  return p.a * x[i];
}

@compute @workgroup_size(256)
fn axpby(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements);
  for (var i = group.x * TILE + thread; i < end; i += 256u) {
    out[i] = fma(p.b, y[i], a_times_x(i));
  }
}
