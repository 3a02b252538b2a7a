// expect: the end of outputs: written past
// `<=` where `<` belongs.
// steep: tile = 1, 1, 256
struct Params { elements: u32, in_place: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn axpby(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if i <= p.elements {
    var ax = 0.0;
    if p.a != 0.0 {
      if p.in_place != 0u { ax = p.a * out[i]; } else { ax = p.a * x[i]; }
    }
    out[i] = fma(p.b, y[i], ax);
  }
}
