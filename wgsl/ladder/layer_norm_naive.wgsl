// Layer norm of rows of x, one invocation to a row.
struct Row { mean: f32, inverse_deviation: f32 }

// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
// Deviations add up to what rounding took from the mean: it is given back. Sums settle every 64 elements.
fn statistics(row: u32) -> Row {
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
  let mean = total / f32(p.dim);
  var totals = vec2(0.0);
  for (var i = first; i < end; ) {
    var part = vec2(0.0);
    for (let stop = min(i + 64u, end); i < stop; i++) {
      let deviation = x[i] - mean;
      part += vec2(deviation, deviation * deviation);
    }
    totals += part;
  }
  totals /= f32(p.dim);
  return Row(mean + totals.x, inverseSqrt(totals.y - totals.x * totals.x + 1e-6));
}

// The j-th element of a row, modulated.
fn modulated(row: u32, j: u32, r: Row) -> f32 {
  let sample = row / p.rows_per_sample * p.mods_columns;
  let shift = mods[sample + p.shift_at + j];
  let scale = mods[sample + p.scale_at + j];
  return fma((x[row * p.dim + j] - r.mean) * r.inverse_deviation, 1.0 + scale, shift);
}
