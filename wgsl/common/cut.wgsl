// Where the i-th of `parts` nearly equal cuts of 0..n begins: ⌊n·i / parts⌋, without the product, which u32
// may not hold.
fn cut(n: u32, parts: u32, i: u32) -> u32 {
  return n / parts * i + n % parts * i / parts;
}
