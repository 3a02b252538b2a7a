//! Bytes: four lists of partial sums in; a launch and no more.

use super::*;
use crate::ops::{EASY_DISTANCE, EasySums, PARTIALS, easy_distance};

const NAMES: [&str; 4] = ["moved", "inputs", "outputs", "sizes"];

pub(super) const SIZES: Sizes =
    Sizes { names: &["pairs"], case: |_, n| random(n[0]), operations: |case| 4 * case.longest() };

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all: Vec<_> = [1, 7, 64, 65, 255, PARTIALS, 600, 1025].map(random).into();
    all.push(random(5).gated());
    // Each of the four sums has its place: 2·3 over 5·7.
    let by_hand = [[1.0, 9.0, 2.0, 9.0], [5.0, 9.0, 0.0, 9.0], [2.0, 9.0, 0.0, 9.0], [9.0, 3.0, 9.0, 4.0]];
    let mut sums = NAMES.into_iter().zip(by_hand).map(|(name, x)| given(name, [2, 2], x));
    all.push(case([(); 4].map(|()| sums.next().expect("four"))).named("6 over 35 by hand"));
    all.push(random(PARTIALS).named(format!("4×{PARTIALS}×2")).bench_too());
    all
}

fn random(pairs: usize) -> Case {
    case(NAMES.map(|name| normal(name, DType::F32, [pairs, 2], name.len() as u64).around(4.0)))
}

fn case(sums: [Operand; 4]) -> Case {
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let [moved, inputs, outputs, sizes] = r else { unreachable!("four lists") };
        easy_distance(gate, &mut w[0], &EasySums { moved, inputs, outputs, sizes })
    };
    let name = format!("{} pairs", sums[0].elements() / 2);
    Case::new(&EASY_DISTANCE, DType::F32, name, ([output("pair", DType::F32, [1, 2])], sums), call, |v| {
        let want = naive([0, 1, 2, 3].map(|i| v.read(i)));
        vec![Check::output("pair", 0, want, Bound::Relative(2e-6), "two sums in f32, and their product")]
    })
}

/// `[Σ outputs[.., 0]·Σ moved[.., 0], Σ inputs[.., 0]·Σ sizes[.., 1]]`.
fn naive([moved, inputs, outputs, sizes]: [Vec<f64>; 4]) -> Vec<f64> {
    let sum = |x: &[f64], column: usize| x.iter().skip(column).step_by(2).sum::<f64>();
    vec![sum(&outputs, 0) * sum(&moved, 0), sum(&inputs, 0) * sum(&sizes, 1)]
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = random(4);
    vec![
        base.with("pair", F32, &[2, 2]).refused("pair: wanted f32 [1, 2], got f32 [2, 2]"),
        base.with("sizes", F32, &[3, 2]).refused("sizes: wanted f32 [4, 2], got f32 [3, 2]"),
        base.with("moved", F32, &[0, 2])
            .refused("partials: wanted f32 [P, 2], 0 < P ≤ 65535, got f32 [0, 2]"),
    ]
}
