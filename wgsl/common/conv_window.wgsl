// What all sources of `conv2d` share: its parameters, and which pixel of x a place of a window is.
struct Params {
  rows: u32,
  columns: u32,
  channels: u32,
  height: u32,
  width: u32,
  size: u32,
  up: u32,
  add: u32,
  least: f32,
}
const OUTSIDE = 0xffffffffu;

// The pixel of x that pixel `row` of `out` sees at place `tap` of its window; OUTSIDE where that is none of the image.
fn source(row: u32, tap: u32) -> u32 {
  // Above and left of the image these are large numbers.
  let y = row / WIDTH % HEIGHT + tap / SIZE - SIZE / 2u;
  let column = row % WIDTH + tap % SIZE - SIZE / 2u;
  if y >= HEIGHT || column >= WIDTH { return OUTSIDE; }
  let image = row / (WIDTH * HEIGHT);
  return (image * (HEIGHT / UP) + y / UP) * (WIDTH / UP) + column / UP;
}
