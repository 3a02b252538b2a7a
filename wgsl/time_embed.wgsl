// out[b] = [cos(t·f_0), .., cos(t·f_127), sin(t·f_0), .., sin(t·f_127)] with f_k =
// 10000^(-k/divisor), t = times[step, b].
//
// An invocation takes four frequencies. Angles reach 1000, of which WGSL's own sine and cosine need not make
// anything.
#include "common/exp.wgsl"

struct Params { batch: u32, step: u32, divisor: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<T4>;
@group(0) @binding(1) var<storage, read> times: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

// 2^32 parts to a turn, so that whole turns drop out where u32 overflows.
const PARTS_PER_RADIAN = 683565276.0;
const RADIANS_PER_PART = 1.46291807926715968e-9;

// The angle in parts of a turn: of its whole radians in integers, of the rest in floats.
fn parts(angle: f32) -> u32 {
  let whole = round(angle);
  return u32(i32(whole)) * u32(PARTS_PER_RADIAN) + u32(i32((angle - whole) * PARTS_PER_RADIAN));
}

// (cos, sin): the eighth of a turn either side of a quarter's multiple, by polynomials (Cephes' sinf and
// cosf), and which quarter it was.
fn cos_sin(parts: u32) -> vec2<f32> {
  let quarter = (parts + (1u << 29u)) >> 30u;
  let r = f32(bitcast<i32>(parts - (quarter << 30u))) * RADIANS_PER_PART;
  let z = r * r;
  let s = fma(fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1) * z, r, r);
  let c4 = fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
  let c = fma(c4 * z, z, fma(-0.5, z, 1.0));
  let turned = select(vec2(c, s), vec2(-s, c), (quarter & 1u) != 0u);
  return select(turned, -turned, (quarter & 2u) != 0u);
}

// Each step rounded to f32 as in the reference: at t = 1000 the last place of the exponent is half a
// thousandth of a radian.
fn frequency(k: u32) -> f32 {
  let e = 9.2103405 * f32(k);
  let q = e / p.divisor;
  // Rounded once: WGSL lets a division be off by more.
  return exp_(-(q + fma(-q, p.divisor, e) / p.divisor));
}

@compute @workgroup_size(32)
fn time_embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let t = times[p.step * p.batch + group.x];
  var cosines: vec4<f32>;
  var sines: vec4<f32>;
  for (var j = 0u; j < 4u; j++) {
    let both = cos_sin(parts(t * frequency(4u * thread + j)));
    cosines[j] = both.x;
    sines[j] = both.y;
  }
  out[group.x * 64u + thread] = narrow(cosines);
  out[group.x * 64u + 32u + thread] = narrow(sines);
}
