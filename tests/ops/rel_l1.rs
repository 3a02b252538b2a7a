use steep::device::Gate;
use steep::ops::{PARTIALS, REL_L1, rel_l1};
use steep::{DType::*, oracle};

use crate::*;

/// Runs the op on values that `dtype` holds; checks that prev := cur and returns the two sums.
fn run(on: &On, dtype: DType, cur: &[f32], prev: &[f32], pairs: usize) -> [f64; 2] {
    let case = format!("{}, {pairs} pairs", on.case(dtype, cur.len(), 0.0));
    let (mut anchor, mut partials) = (on.inout(dtype, [prev.len()], prev), on.out(F32, [pairs, 2]));
    rel_l1(Gate::Open, &mut anchor, &mut partials, &on.tensor(dtype, [cur.len()], cur)).unwrap();
    assert!(values(&case, &anchor) == cur, "{case}: prev is not cur");
    totals(&case, &partials)
}

/// Sums within 1e-6, whatever the size: a plain f32 loop would lose digits with n.
#[test]
fn agrees_with_the_oracle() {
    for n in [1, 3, 15, 16, 17, 33, 193, 1000, 4099, 70001] {
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let (cur, prev) = (normal(1, dtype, n, offset, 1.0), normal(2, dtype, n, offset, 1.0));
            let want = oracle::rel_l1(&cur.wide, &prev.wide);
            for on in sources(&REL_L1) {
                for pairs in [1, 7, PARTIALS, 1025] {
                    let got = run(&on, dtype, &cur.x, &prev.x, pairs);
                    let case = format!("{}, {pairs} pairs", on.case(dtype, n, offset));
                    relative(&case, "change", got[0], want[0], 1e-6);
                    relative(&case, "size", got[1], want[1], 1e-6);
                }
            }
        }
    }
}

/// b = 37·i mod 101 − 50 and a = b + (13·i mod 7) − 3: exact in every dtype, and so are their sums.
#[test]
fn golden_integers() {
    let b: Vec<f32> = (0..4096).map(|i| (37 * i % 101) as f32 - 50.0).collect();
    let a: Vec<f32> = (0..4096).map(|i| b[i as usize] + (13 * i % 7) as f32 - 3.0).collect();
    for (on, dtype) in FLOATS.into_iter().flat_map(|t| sources(&REL_L1).map(move |on| (on, t))) {
        for pairs in [1, 7, PARTIALS] {
            assert_eq!(run(&on, dtype, &a, &b, pairs), [7023.0, 103435.0], "{}", on.case(dtype, 4096, 0.0));
        }
    }
}

/// b = sin(0.1·i), a = b + 0.01·cos(0.3·i), in f64, then rounded to f32 and to the dtype; distances worked out in f64 elsewhere.
#[test]
fn golden_waves() {
    for (n, f32, bf16) in [
        (7, 0.02003726313105594, 0.02180722891566265),
        (1000, 0.009981280487733538, 0.009848224097050223),
        (1000003, 0.01000003600013216, 0.009990634374012923),
    ] {
        let b = |i: i32| (0.1 * f64::from(i)).sin();
        let a = |i: i32| b(i) + 0.01 * (0.3 * f64::from(i)).cos();
        for (dtype, want) in [(F32, f32), (BF16, bf16)] {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..n).map(|i| (a(i) as f32, b(i) as f32)).unzip();
            let (a, b) = (round(dtype, &a), round(dtype, &b));
            for on in sources(&REL_L1) {
                let [change, size] = run(&on, dtype, &a, &b, PARTIALS);
                relative(&on.case(dtype, n, 0.0), "distance", change / size, want, 1e-6);
            }
        }
    }
}

/// 2^25 ones: a sequential f32 sum stops at 2^24.
#[test]
fn many_ones() {
    const N: usize = 1 << 25;
    let ones = vec![1.0; N];
    for (on, dtype) in [F32, BF16].into_iter().flat_map(|t| sources(&REL_L1).map(move |on| (on, t))) {
        let cur = on.tensor(dtype, [N], &ones);
        for pairs in [1, PARTIALS] {
            let mut prev = on.zeros(dtype, [N]);
            let mut step = || {
                let mut partials = on.out(F32, [pairs, 2]);
                rel_l1(Gate::Open, &mut prev, &mut partials, &cur).unwrap();
                totals("ones", &partials)
            };
            let case = on.case(dtype, N, 0.0);
            assert_eq!(step(), [N as f64, 0.0], "{case}");
            assert_eq!(step(), [0.0, N as f64], "{case}");
        }
    }
}

/// Rounding errors of equal addends all go the same way: 64 additions in a row are off by up to 32·2^-24, which is
/// 2e-6, but stretches of thousands would lose a thousandth.
#[test]
fn many_equal_numbers() {
    const N: usize = 1 << 22;
    for on in sources(&REL_L1) {
        for pairs in [1, PARTIALS] {
            let got = run(&on, F32, &vec![0.3; N], &vec![0.1; N], pairs);
            let [cur, prev] = [0.3f32, 0.1].map(f64::from);
            let case = format!("{}, {pairs} pairs", on.case(F32, N, 0.0));
            relative(&case, "change", got[0], (cur - prev) * N as f64, 4e-6);
            relative(&case, "size", got[1], prev * N as f64, 4e-6);
        }
    }
}

#[test]
fn the_same_bits_twice() {
    let (cur, prev) = (oracle::data(1, 70001, 0.0, 1.0), oracle::data(2, 70001, 0.0, 1.0));
    for (on, dtype) in FLOATS.into_iter().flat_map(|t| sources(&REL_L1).map(move |on| (on, t))) {
        let once = || {
            let (mut prev, mut partials) = (on.tensor(dtype, [70001], &prev), on.out(F32, [PARTIALS, 2]));
            rel_l1(Gate::Open, &mut prev, &mut partials, &on.tensor(dtype, [70001], &cur)).unwrap();
            bits(&partials)
        };
        assert!(once() == once(), "{}", on.case(dtype, 70001, 0.0));
    }
}

/// A NaN must reach the decision, which then computes.
#[test]
fn nan_shows_in_the_sums() {
    for (on, at) in [0, 15, 16, 36].into_iter().flat_map(|at| sources(&REL_L1).map(move |on| (on, at))) {
        let mut cur = [1.0; 37];
        cur[at] = f32::NAN;
        let (mut prev, mut partials) = (on.f32([37], &[0.0; 37]), on.out(F32, [4, 2]));
        rel_l1(Gate::Open, &mut prev, &mut partials, &on.f32([37], &cur)).unwrap();
        let [change, size] = totals("NaN", &partials);
        assert!(change.is_nan() && size == 0.0, "{}: {change} {size}", on.case(F32, at, 0.0));
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (cur, prev) = (oracle::data(1, 99999, 0.0, 1.0), oracle::data(2, 99999, 0.0, 1.0));
    threads(&REL_L1, |on| {
        let (mut prev, mut partials) = (on.tensor(BF16, [99999], &prev), on.out(F32, [7, 2]));
        rel_l1(Gate::Open, &mut prev, &mut partials, &on.tensor(BF16, [99999], &cur)).unwrap();
        bits(&partials)
    });
}

#[test]
fn gated() {
    let x = oracle::data(1, 80, 0.0, 1.0);
    let outputs = |on: &On| [on.inout(BF16, [40], &x[..40]), on.out(F32, [3, 2])];
    gates(&REL_L1, outputs, |on, gate, [prev, partials]| {
        rel_l1(gate, prev, partials, &on.tensor(BF16, [40], &x[40..]))
    });
}

#[test]
fn refused() {
    for on in sources(&REL_L1) {
        let check = |message: &str, outs: [Tensor; 2], cur: Tensor| {
            let mut outs = outs;
            refuses(&on, message, &mut outs, |[prev, partials]| rel_l1(Gate::Open, prev, partials, &cur));
        };
        let (z, pairs) = (|dtype| on.zeros(dtype, [2, 3]), |n, m| on.out(F32, [n, m]));
        check("rel_l1: prev: wanted f16 [2, 3], got bf16 [2, 3]", [z(BF16), pairs(4, 2)], z(F16));
        let flat = on.zeros(F32, [6]);
        check("rel_l1: prev: wanted f32 [2, 3], got f32 [6]", [flat, pairs(4, 2)], z(F32));
        check("rel_l1: cur: wanted f32, f16 or bf16, got u32", [z(U32), pairs(4, 2)], z(U32));
        check("rel_l1: partials: wanted f32 [4, 2], got f32 [4, 1]", [z(F32), pairs(4, 1)], z(F32));
        check("rel_l1: partials: wanted f32 [P, 2], P > 0, got f32 [0, 2]", [z(F32), pairs(0, 2)], z(F32));
        let halves = on.out(F16, [4, 2]);
        check("rel_l1: partials: wanted f32 [4, 2], got f16 [4, 2]", [z(F32), halves], z(F32));
    }
}
