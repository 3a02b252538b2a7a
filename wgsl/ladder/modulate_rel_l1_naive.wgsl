// cur = modulate(x); partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows; signal =
// cur.
//
// A workgroup takes a share, an invocation one of its rows at a time; of f16 and bf16 two rows, because a row
// of them may end in the middle of a word. The sums are of the values as stored.
#include "common/cut.wgsl"
#include "common/sum.wgsl"
#include "ladder/layer_norm_naive.wgsl"

const WG = 64u;

struct Params {
  rows: u32, dim: u32, rows_per_sample: u32, mods_columns: u32, shift_at: u32, scale_at: u32, runs: u32,
}
@group(0) @binding(0) var<storage, read_write> signal: array<u32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> mods: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn modulate_rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let pieces = (p.rows + PER - 1u) / PER;
  let end = cut(pieces, p.runs, group.x + 1u);
  var total = vec2(0.0);
  for (var piece = cut(pieces, p.runs, group.x) + thread; piece < end; piece += WG) {
    for (var row = piece * PER; row < min(piece * PER + PER, p.rows); row++) {
      let r = statistics(row, 1e-6);
      for (var j = 0u; j < p.dim; ) {
        var part = vec2(0.0);
        for (let stop = min(j + 64u, p.dim); j < stop; j++) {
          let i = row * p.dim + j;
          let old = element(signal[i / PER], i % PER);
          let word = put(signal[i / PER], i % PER, modulated(row, j, r));
          signal[i / PER] = word;
          part += vec2(abs(element(word, i % PER) - old), abs(old));
        }
        total += part;
      }
    }
  }
  let sums = sum(total, thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
