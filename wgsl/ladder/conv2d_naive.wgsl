// out = conv(x) + bias + add: an output to an invocation.
//
// Where a word holds two outputs, the invocation of the first makes both.
#include "common/conv_window.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> onto: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(4, 64)
fn conv2d(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = id.y * p.columns + id.x;
  if id.y >= p.rows || id.x >= p.columns || first % PER != 0u { return; }
  var word = out[first / PER];
  for (var i = 0u; i < PER && first + i < p.rows * p.columns; i += 1u) {
    word = put(word, i, output(first + i));
  }
  out[first / PER] = word;
}

fn output(at: u32) -> f32 {
  let row = at / p.columns;
  let column = at % p.columns;
  var y = bias[column];
  for (var tap = 0u; tap < SIZE * SIZE; tap += 1u) {
    let pixel = source(row, tap);
    if pixel == OUTSIDE { continue; }
    for (var c = 0u; c < CHANNELS; c += 1u) {
      let i = pixel * CHANNELS + c;
      let j = (column * SIZE * SIZE + tap) * CHANNELS + c;
      y += element(x[i / PER], i % PER) * element(w[j / PER], j % PER);
    }
  }
  if ADD == 1u { y += element(onto[at / PER], at % PER); }
  return max(y, p.least);
}
