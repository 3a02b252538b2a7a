// Layer norm of rows of x, one invocation to a row. `x`, `mods` and `p` are the op's.
struct Row { mean: f32, inverse_deviation: f32 }

// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision. Sums
// settle every 64 elements.
fn statistics(row: u32, epsilon: f32) -> Row {
  let d = f32(p.dim);
  let first = row * p.dim;
  let end = first + p.dim;
  var total = 0.0;
  for (var i = first; i < end; ) {
    var part = 0.0;
    for (let stop = min(i + 64u, end); i < stop; i++) {
      part += x[i];
    }
    total += part;
  }
  // A division may be off by more than a rounding, and then a constant row would not be its own mean.
  let quotient = total / d;
  let mean = quotient + fma(-quotient, d, total) / d;
  var squares = 0.0;
  for (var i = first; i < end; ) {
    var part = 0.0;
    for (let stop = min(i + 64u, end); i < stop; i++) {
      part = fma(x[i] - mean, x[i] - mean, part);
    }
    squares += part;
  }
  return Row(mean, inverseSqrt(squares / d + epsilon));
}

// The j-th element of a row, modulated.
fn modulated(row: u32, j: u32, r: Row) -> f32 {
  let sample = row / p.rows_per_sample * p.mods_columns;
  let shift = mods[sample + p.shift_at + j];
  let scale = mods[sample + p.scale_at + j];
  return fma((x[row * p.dim + j] - r.mean) * r.inverse_deviation, 1.0 + scale, shift);
}
