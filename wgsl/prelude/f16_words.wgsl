const PER = 2u;
fn element(word: u32, i: u32) -> f32 {
  let both = unpack2x16float(word);
  return select(both.x, both.y, i == 1u);
}
fn put(word: u32, i: u32, x: f32) -> u32 {
  let half = pack2x16float(vec2(x, 0.0));
  return select((word & 0xffff0000u) | half, (word & 0xffffu) | (half << 16u), i == 1u);
}
