//! Bytes: two residuals in, the partial sums out.

use super::*;
use crate::ops::{NORM_RATIO, PARTIALS, norm_ratio};

/// B, F, N, d.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [1, 2, 3, 5],
    [1, 1, 5, 3],
    [1, 4, 4, 72],
    [2, 3, 7, 64],
    [1, 3, 3, 264],
    [1, 1, 3, 1100],
    [1, 4, 33, 193],
];

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |_, n| random([1, 1, n[0], n[1]], PARTIALS, 0.0),
    operations: |case| 4 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    for (shape, mean) in SHAPES.into_iter().flat_map(|shape| MEANS.map(|mean| (shape, mean))) {
        all.extend([1, 2, 7, PARTIALS].map(|runs| random(shape, runs, mean)));
    }
    all.push(random([1, 2, 3, 4], 3, 0.0).gated());
    // (3, 4) over (0, 2), and (0, 1) over (1, 0).
    let by_hand =
        [given("cur", [1, 1, 2, 2], [3., 4., 0., 1.]), given("prev", [1, 1, 2, 2], [0., 2., 1., 0.])];
    all.push(case(by_hand, 2).named("2.5 and 1 by hand"));
    for shape in [[2, 16, 16, 192], [1, 16, 256, 1152]] {
        let rows: usize = shape[..3].iter().product();
        all.push(random(shape, PARTIALS, 0.0).named(format!("{rows}×{}", shape[3])).bench());
    }
    all
}

fn random(shape: [usize; 4], runs: usize, mean: f32) -> Case {
    let cur = normal("cur", DType::F32, shape, 1).around(mean);
    let prev = normal("prev", DType::F32, shape, 2).around(mean).spread(2.0);
    case([cur, prev], runs).named(format!("{} in {runs} runs, mean {mean}", times(shape)))
}

fn case(operands: [Operand; 2], runs: usize) -> Case {
    let dim = operands[0].shape.dims()[3];
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| norm_ratio(gate, &mut w[0], &r[0], &r[1]);
    let partials = output("partials", DType::F32, [runs, 1]);
    let case = Case::new(&NORM_RATIO, DType::F32, "", ([partials], operands), call, move |v| {
        let want = naive(&v.read(0), &v.read(1), dim);
        vec![Check::totals("ratio", 0, &[want], Bound::Relative(4e-6), "sums of d squares in f32")]
    });
    Case { emulated: runs <= 7, ..case }
}

/// `Σ ‖cur[row]‖ / ‖prev[row]‖` over rows of `dim`.
fn naive(cur: &[f64], prev: &[f64], dim: usize) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    cur.chunks(dim).zip(prev.chunks(dim)).map(|(cur, prev)| norm(cur) / norm(prev)).sum()
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = random([1, 1, 2, 3], 4, 0.0);
    vec![
        base.with("prev", F16, &[1, 1, 2, 3]).refused("prev: wanted f32 [1, 1, 2, 3], got f16 [1, 1, 2, 3]"),
        base.with("cur", BF16, &[1, 1, 2, 3]).refused("cur: wanted f32 [1, 1, 2, 3], got bf16 [1, 1, 2, 3]"),
        base.with("partials", F32, &[4, 2]).refused("partials: wanted f32 [4, 1], got f32 [4, 2]"),
        base.with("partials", F32, &[0, 1])
            .refused("partials: wanted f32 [P, 1], 0 < P ≤ 65535, got f32 [0, 1]"),
    ]
}
