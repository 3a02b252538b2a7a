// T = bf16: the upper half of an f32.
alias T4 = vec2<u32>;
const PER = 2u;
fn wide(x: T4) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4(x.x << 16u, x.x & 0xffff0000u, x.y << 16u, x.y & 0xffff0000u));
}
// To nearest, ties to even; NaN stays NaN.
fn halves(x: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(x);
  let rounded = (bits + 0x7fffu + ((bits >> vec4(16u)) & vec4(1u))) >> vec4(16u);
  let nan = (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u);
  return select(rounded, (bits >> vec4(16u)) | vec4(0x40u), nan);
}
fn narrow(x: vec4<f32>) -> T4 {
  let h = halves(x);
  return vec2(h.x | (h.y << 16u), h.z | (h.w << 16u));
}
fn element(word: u32, i: u32) -> f32 {
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, i == 1u));
}
fn put(word: u32, i: u32, x: f32) -> u32 {
  let half = halves(vec4(x)).x;
  return select((word & 0xffff0000u) | half, (word & 0xffffu) | (half << 16u), i == 1u);
}
