// out = epilogue(x · wᵀ + bias): an output to an invocation.
//
// Where a word holds two outputs, the invocation of the first makes both.
#include "common/linear.wgsl"

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> mods: array<f32>;
@group(0) @binding(5) var<storage, read> onto: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

@compute @workgroup_size(4, 64)
fn linear(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = id.y * p.columns + id.x;
  if id.y >= p.rows || id.x >= p.columns || first % PER_O != 0u { return; }
  var word = out[first / PER_O];
  for (var i = 0u; i < PER_O && first + i < p.rows * p.columns; i += 1u) {
    word = put_o(word, i, output(first + i, element_o(word, i)));
  }
  out[first / PER_O] = word;
}

fn output(at: u32, old: f32) -> f32 {
  let row = at / p.columns;
  let column = at % p.columns;
  var y = 0.0;
  for (var k = 0u; k < p.depth; k += 1u) {
    let i = row * p.depth + k;
    let j = column * p.depth + k;
    y += element(x[i / PER], i % PER) * element(w[j / PER], j % PER);
  }
  var alpha = 0.0;
  var onto_this = old;
  if HAS_ALPHA { alpha = mods[alpha_index(p, row, column)]; }
  if EPILOGUE == RESIDUAL_ONTO { onto_this = onto[at]; }
  return epilogue(vec4(y + bias[column]), vec4(alpha), vec4(onto_this)).x;
}
