// e^x to two units in the last place, which WGSL's own need not be: x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^r
// by a polynomial of degree 6 (its coefficients are those of Cephes' expf), 2^n put together from bits. Below
// -86.9 the result is 0, as subnormals begin there; x is at most 88.
fn exp_(x: f32) -> f32 {
  let n = round(max(x, -86.9) * 1.44269504);
  let r = fma(n, 2.12194440e-4, fma(n, -0.693359375, max(x, -86.9)));
  var y = 1.9875691500e-4;
  y = fma(y, r, 1.3981999507e-3);
  y = fma(y, r, 8.3334519073e-3);
  y = fma(y, r, 4.1665795894e-2);
  y = fma(y, r, 1.6666665459e-1);
  y = fma(y, r, 5.0000001201e-1);
  y = fma(y, r * r, r) + 1.0;
  return select(y * bitcast<f32>(u32(i32(n) + 127) << 23u), 0.0, x < -86.9);
}
