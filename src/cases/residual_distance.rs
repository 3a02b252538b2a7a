//! Bytes: three streams in, the partial sums out.

use super::*;
use crate::ops::{PARTIALS, RESIDUAL_DISTANCE, residual_distance};

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |_, n| case(random(n, 0.0), PARTIALS, 0.0),
    operations: |case| 7 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    for n in [1, 3, 7, 8, 16, 33, 40, 1000, 2049, 4099, 4101, 70001] {
        for (mean, runs) in
            MEANS.into_iter().flat_map(|mean| [1, 3, 7, PARTIALS, 1025].map(|runs| (mean, runs)))
        {
            all.push(case(random(&[n], mean), runs, mean));
        }
    }
    all.push(case(random(&[40], 0.0), 3, 0.0).gated());
    // Integers, exact whatever the order: |(9 − 4) − 2| + |(1 − 3) − 5| over |2| + |5|.
    let by_hand =
        [given("out", [2], [9.0, 1.0]), given("input", [2], [4.0, 3.0]), given("kept", [2], [2.0, 5.0])];
    all.push(case(by_hand, 3, 0.0).named("10 over 7 by hand"));
    // As those of `rel_l1`: long sums of equal numbers lose little.
    const N: usize = 1 << 22;
    for runs in [1, PARTIALS] {
        let equal = [("out", 0.3), ("input", 0.0), ("kept", 0.1)]
            .map(|(name, x)| numbers(name, DType::F32, [N], move || vec![x; N]));
        all.push(case(equal, runs, 30.0).named(format!("{N} equal numbers in {runs} runs")));
    }
    all.extend(
        [[512, 192], [4096, 1152]]
            .map(|shape| case(random(&shape, 0.0), PARTIALS, 0.0).named(times(shape)).bench()),
    );
    all
}

fn random(shape: &[usize], mean: f32) -> [Operand; 3] {
    let shape = Shape::try_from(shape).expect("a shape");
    let of = |name, seed| normal(name, DType::F32, shape, seed);
    [of("out", 1).around(mean), of("input", 2).around(mean), of("kept", 3)]
}

fn case(streams: [Operand; 3], runs: usize, mean: f32) -> Case {
    let name = format!("{} in {runs} runs, mean {mean}", streams[0].shape);
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        residual_distance(gate, &mut w[0], &r[0], &r[1], &r[2])
    };
    let operands = ([output("partials", DType::F32, [runs, 2])], streams);
    let case = Case::new(&RESIDUAL_DISTANCE, DType::F32, name, operands, call, move |v| {
        let sums = naive(&v.read(0), &v.read(1), &v.read(2));
        let change = 1e-6 + f64::from(mean) * 1e-7;
        let bound = Bound::Each(vec![change * sums[0], 1e-6 * sums[1].max(change * 1e6 * sums[1])]);
        let why =
            "differences are rounded to f32 before they are summed: around 100 that is 100·2^-24 of each";
        vec![Check::totals("change, size", 0, &sums, bound, why)]
    });
    Case { emulated: runs <= 7, ..case }
}

/// `[Σ|(out − input) − kept|, Σ|kept|]`.
fn naive(out: &[f64], input: &[f64], kept: &[f64]) -> [f64; 2] {
    let residual: Vec<f64> = out.iter().zip(input).map(|(out, input)| out - input).collect();
    super::rel_l1::naive(&residual, kept)
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(random(&[4], 0.0), 4, 0.0);
    vec![
        base.with("input", F32, &[3]).refused("input: wanted f32 [4], got f32 [3]"),
        base.with("kept", F16, &[4]).refused("kept: wanted f32 [4], got f16 [4]"),
        base.with("out", BF16, &[4]).refused("out: wanted f32 [4], got bf16 [4]"),
        base.with("partials", F32, &[4, 1]).refused("partials: wanted f32 [4, 2], got f32 [4, 1]"),
    ]
}
