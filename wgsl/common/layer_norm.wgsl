// Layer norm of rows of x: their statistics, found by runs of WIDTH invocations with a row each, and what
// they do. Whoever includes this brings a `sum`, and `x` and `p` of the op.
struct Row { mean: f32, inverse_deviation: f32 }

// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
fn statistics(row: u32, thread: u32, epsilon: f32) -> Row {
  let d = f32(p.dim);
  let first = row * p.dim / 4u;
  let end = first + p.dim / 4u;
  var elements = vec4(0.0);
  for (var i = first + thread % WIDTH; i < end; i += WIDTH) {
    elements += x[i];
  }
  let mean = quotient(sum(vec2(across(elements), 0.0), thread, WIDTH).x, d);
  var squares = vec4(0.0);
  for (var i = first + thread % WIDTH; i < end; i += WIDTH) {
    let deviation = x[i] - mean;
    squares = fma(deviation, deviation, squares);
  }
  let variance = sum(vec2(across(squares), 0.0), thread, WIDTH).x / d;
  return Row(mean, inverseSqrt(variance + epsilon));
}

// a / b, rounded once: WGSL lets a division be off by more, and then a constant row would not be its own mean.
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  return q + fma(-q, b, a) / b;
}

fn across(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

// Four elements of a row, modulated.
fn modulated(x: vec4<f32>, row: Row, shift: vec4<f32>, scale: vec4<f32>) -> vec4<f32> {
  return fma((x - row.mean) * row.inverse_deviation, 1.0 + scale, shift);
}
