// out = in + (residual + ahead·(residual − before)), an element to an invocation at a time; ahead = (step −
// last)/(last − earlier), of the last two steps that computed.
struct Params { elements: u32, step: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> stack_in: array<f32>;
@group(0) @binding(2) var<storage, read> residual: array<f32>;
@group(0) @binding(3) var<storage, read> before: array<f32>;
@group(0) @binding(4) var<storage, read> trace: array<vec4<u32>>;
@group(0) @binding(5) var<uniform> p: Params;

// The last step before `end` that computed, or `end` where there is none.
fn computed(end: u32) -> u32 {
  for (var i = end; i > 0u; i--) {
    if (trace[i - 1u].w & 0x7fffffffu) != 0u {
      return i - 1u;
    }
  }
  return end;
}

fn ahead() -> f32 {
  let last = computed(p.step);
  let earlier = computed(last);
  return select(f32(p.step - last) / f32(last - earlier), 0.0, last == p.step || earlier == last);
}

@compute @workgroup_size(256)
fn residual_extrapolate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let end = min((group.x + 1u) * TILE, p.elements);
  let t = ahead();
  for (var i = group.x * TILE + thread; i < end; i += 256u) {
    let r = residual[i];
    out[i] = stack_in[i] + fma(t, r - before[i], r);
  }
}
