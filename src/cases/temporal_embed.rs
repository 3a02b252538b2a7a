//! Bytes: x in and out, the table in.

use super::*;
use crate::ops::{TEMPORAL_EMBED, temporal_embed};

/// B, F, N, d.
const SHAPES: [[usize; 4]; 10] = [
    [1, 1, 1, 1],
    [2, 3, 1, 3],
    [2, 3, 5, 7],
    [1, 1, 5, 16],
    [1, 4, 3, 48],
    [2, 2, 15, 17],
    [1, 5, 33, 72],
    [3, 2, 65, 193],
    [2, 3, 35, 64],
    [2, 2, 1, 1100],
];

pub(super) const SIZES: Sizes = Sizes {
    names: &["clips", "frames", "tokens", "d"],
    case: |_, n| case([n[0], n[1], n[2], n[3]], 0.0),
    operations: |case| case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let tests = SHAPES
        .into_iter()
        .flat_map(|dims| MEANS.map(|mean| case(dims, mean).named(format!("{}, mean {mean}", times(dims)))));
    let gated = case([1, 2, 7, 3], 0.0).gated();
    let benches = [[2, 16, 16, 192], [2, 16, 128, 1152]].map(|dims| case(dims, 0.0).bench());
    tests.chain([gated]).chain(benches).collect()
}

fn case(dims: [usize; 4], mean: f32) -> Case {
    let [b, f, n, d] = dims;
    let x = normal("x", DType::F32, dims, 1).around(mean);
    let table = normal("table", DType::F32, [f, d], 2).around(mean);
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| temporal_embed(gate, &mut w[0], &r[0]);
    let name = format!("{}×{d}", b * f * n);
    Case::new(&TEMPORAL_EMBED, DType::F32, name, ([x], [table]), call, move |v| {
        let want = naive(&v.before(0), &v.read(0), dims);
        vec![Check::output("x", 0, want, Bound::Exact, "one addition")]
    })
}

/// `x[b, f, n, j] + table[f, j]` → [B, F, N, d].
fn naive(x: &[f64], table: &[f64], [batch, frames, tokens, dim]: [usize; 4]) -> Vec<f64> {
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..tokens {
                for j in 0..dim {
                    out.push(x[((b * frames + f) * tokens + n) * dim + j] + table[f * dim + j]);
                }
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case([1, 2, 3, 4], 0.0);
    vec![
        base.with("x", F32, &[2, 3, 4]).refused("x: wanted 4 dimensions, got f32 [2, 3, 4]"),
        base.with("x", BF16, &[1, 2, 3, 4]).refused("x: wanted f32 [1, 2, 3, 4], got bf16 [1, 2, 3, 4]"),
        base.with("table", F32, &[3, 4]).refused("table: wanted f32 [2, 4], got f32 [3, 4]"),
        base.with("table", F32, &[2, 5]).refused("table: wanted f32 [2, 4], got f32 [2, 5]"),
        base.with("table", F16, &[2, 4]).refused("table: wanted f32 [2, 4], got f16 [2, 4]"),
    ]
}
