// Layer norm of rows of x: their statistics, found by runs of WIDTH invocations with a row each, and what
// they do.
struct Row { mean: f32, inverse_deviation: f32 }

// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
// Deviations add up to what rounding, and a division that WGSL does not ask to be exact, took from the mean:
// it is given back.
fn statistics(row: u32, thread: u32) -> Row {
  let first = row * p.dim / 4u;
  let end = first + p.dim / 4u;
  var elements = vec4(0.0);
  for (var i = first + thread % WIDTH; i < end; i += WIDTH) {
    elements += x[i];
  }
  let mean = sum(vec2(across(elements), 0.0), thread, WIDTH).x / f32(p.dim);
  var deviations = vec4(0.0);
  var squares = vec4(0.0);
  for (var i = first + thread % WIDTH; i < end; i += WIDTH) {
    let deviation = x[i] - mean;
    deviations += deviation;
    squares = fma(deviation, deviation, squares);
  }
  let sums = sum(vec2(across(deviations), across(squares)), thread, WIDTH) / f32(p.dim);
  return Row(mean + sums.x, inverseSqrt(sums.y - sums.x * sums.x + 1e-6));
}

fn across(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

// Four elements of a row, modulated.
fn modulated(x: vec4<f32>, row: Row, shift: vec4<f32>, scale: vec4<f32>) -> vec4<f32> {
  return fma((x - row.mean) * row.inverse_deviation, 1.0 + scale, shift);
}
