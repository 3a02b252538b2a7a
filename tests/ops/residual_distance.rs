use steep::device::Gate;
use steep::ops::{PARTIALS, RESIDUAL_DISTANCE, residual_distance};
use steep::{DType::*, oracle};

use crate::*;

fn run(on: &On, x: [&[f32]; 3], pairs: usize) -> [f64; 2] {
    let case = format!("{}, {pairs} pairs", on.case(F32, x[0].len(), 0.0));
    let mut partials = on.out(F32, [pairs, 2]);
    let [out, input, kept] = x.map(|x| on.f32([x.len()], x));
    residual_distance(Gate::Open, &mut partials, &out, &input, &kept).unwrap();
    totals(&case, &partials)
}

/// Differences are rounded to f32 before they are summed: with an offset of 100 that is 100·2^-24 of each.
#[test]
fn agrees_with_the_oracle() {
    for n in [1, 3, 16, 33, 1000, 4099, 70001] {
        for offset in OFFSETS {
            let [out, input] = [1, 2].map(|seed| normal(seed, F32, n, offset, 1.0));
            let kept = normal(3, F32, n, 0.0, 1.0);
            let want = oracle::residual_distance(&out.wide, &input.wide, &kept.wide);
            for on in sources(&RESIDUAL_DISTANCE) {
                for pairs in [1, 7, PARTIALS, 1025] {
                    let got = run(&on, [&out.x, &input.x, &kept.x], pairs);
                    let case = format!("{}, {pairs} pairs", on.case(F32, n, offset));
                    relative(&case, "change", got[0], want[0], 1e-6 + f64::from(offset) * 1e-7);
                    relative(&case, "size", got[1], want[1], 1e-6);
                }
            }
        }
    }
}

/// Integers, exact whatever the order: |(9 − 4) − 2| + |(1 − 3) − 5| over |2| + |5|.
#[test]
fn a_case_by_hand() {
    for on in sources(&RESIDUAL_DISTANCE) {
        assert_eq!(run(&on, [&[9.0, 1.0], &[4.0, 3.0], &[2.0, 5.0]], 3), [10.0, 7.0]);
    }
}

/// As `rel_l1`'s: long sums of equal numbers lose little.
#[test]
fn many_equal_numbers() {
    const N: usize = 1 << 22;
    let (out, input, kept) = (vec![0.3; N], vec![0.0; N], vec![0.1; N]);
    for on in sources(&RESIDUAL_DISTANCE) {
        for pairs in [1, PARTIALS] {
            let got = run(&on, [&out, &input, &kept], pairs);
            let [out, kept] = [0.3f32, 0.1].map(f64::from);
            relative("equal", "change", got[0], (out - kept) * N as f64, 4e-6);
            relative("equal", "size", got[1], kept * N as f64, 4e-6);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x = [1, 2, 3].map(|seed| oracle::data(seed, 99999, 0.0, 1.0));
    threads(&RESIDUAL_DISTANCE, |on| {
        let mut partials = on.out(F32, [7, 2]);
        let [out, input, kept] = x.each_ref().map(|x| on.f32([99999], x));
        residual_distance(Gate::Open, &mut partials, &out, &input, &kept).unwrap();
        bits(&partials)
    });
}

#[test]
fn gated() {
    let x = [1, 2, 3].map(|seed| oracle::data(seed, 40, 0.0, 1.0));
    gates(
        &RESIDUAL_DISTANCE,
        |on| [on.out(F32, [3, 2])],
        |on, gate, [partials]| {
            let [out, input, kept] = x.each_ref().map(|x| on.f32([40], x));
            residual_distance(gate, partials, &out, &input, &kept)
        },
    );
}

#[test]
fn refused() {
    for on in sources(&RESIDUAL_DISTANCE) {
        let t = |dtype, n: usize| on.zeros(dtype, [n]);
        let check = |message: &str, partials: Tensor, out: Tensor, input: Tensor, kept: Tensor| {
            refuses(&on, message, &mut [partials], |[p]| {
                residual_distance(Gate::Open, p, &out, &input, &kept)
            });
        };
        let p = |n, m| on.out(F32, [n, m]);
        let name = "residual_distance";
        let four = || t(F32, 4);
        check(&format!("{name}: input: wanted f32 [4], got f32 [3]"), p(4, 2), four(), t(F32, 3), four());
        check(&format!("{name}: kept: wanted f32 [4], got f16 [4]"), p(4, 2), four(), four(), t(F16, 4));
        check(&format!("{name}: out: wanted f32 [4], got bf16 [4]"), p(4, 2), t(BF16, 4), four(), four());
        check(
            &format!("{name}: partials: wanted f32 [4, 2], got f32 [4, 1]"),
            p(4, 1),
            four(),
            four(),
            four(),
        );
    }
}
