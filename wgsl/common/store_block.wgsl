// Gives a block of four rows of a quad of columns, y[row], to the op, which brings bias_at and finish.
fn store(y: mat4x4<f32>, row: u32, rows: u32, quad: u32, quads: u32) {
  if quad >= quads { return; }
  let bias = bias_at(quad);
  if row < rows { finish(row, quad, y[0] + bias); }
  if row + 1u < rows { finish(row + 1u, quad, y[1] + bias); }
  if row + 2u < rows { finish(row + 2u, quad, y[2] + bias); }
  if row + 3u < rows { finish(row + 3u, quad, y[3] + bias); }
}
