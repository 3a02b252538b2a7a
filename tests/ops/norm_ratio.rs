use steep::device::Gate;
use steep::ops::{NORM_RATIO, PARTIALS, norm_ratio};
use steep::{DType::*, oracle};

use crate::*;

fn total(case: &str, partials: &Tensor) -> f64 {
    wide(&values(case, partials)).iter().sum()
}

#[test]
fn agrees_with_the_oracle() {
    for shape in [[1, 1, 1, 1], [1, 2, 3, 5], [2, 3, 7, 64], [1, 4, 33, 193]] {
        for offset in OFFSETS {
            let n = shape.iter().product();
            let (cur, prev) = (normal(1, F32, n, offset, 1.0), normal(2, F32, n, offset, 2.0));
            let want = oracle::norm_ratio(&cur.wide, &prev.wide, shape[3]);
            for on in sources(&NORM_RATIO) {
                for runs in [1, 7, PARTIALS] {
                    let mut partials = on.out(F32, [runs, 1]);
                    let (cur, prev) = (on.f32(shape, &cur.x), on.f32(shape, &prev.x));
                    norm_ratio(Gate::Open, &mut partials, &cur, &prev).unwrap();
                    let case = format!("{}, {runs} runs", on.case(F32, shape, offset));
                    relative(&case, "ratio", total(&case, &partials), want, 4e-6);
                }
            }
        }
    }
}

/// (3, 4) over (0, 2), and (0, 1) over (1, 0): 2.5 and 1.
#[test]
fn a_case_by_hand() {
    for on in sources(&NORM_RATIO) {
        let mut partials = on.out(F32, [2, 1]);
        let (cur, prev) = (on.f32([1, 1, 2, 2], &[3., 4., 0., 1.]), on.f32([1, 1, 2, 2], &[0., 2., 1., 0.]));
        norm_ratio(Gate::Open, &mut partials, &cur, &prev).unwrap();
        assert_eq!(values("by hand", &partials), [2.5, 1.0]);
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 48, 0.0, 1.0);
    let shape = [1, 2, 3, 4];
    gates(
        &NORM_RATIO,
        |on| [on.out(F32, [3, 1])],
        |on, gate, [partials]| norm_ratio(gate, partials, &on.f32(shape, &x[..24]), &on.f32(shape, &x[24..])),
    );
}

#[test]
fn refused() {
    for on in sources(&NORM_RATIO) {
        let check = |message: &str, partials: Tensor, cur: Tensor, prev: Tensor| {
            refuses(&on, message, &mut [partials], |[p]| norm_ratio(Gate::Open, p, &cur, &prev));
        };
        let t = |dtype| on.zeros(dtype, [1, 1, 2, 3]);
        let p = |n, m| on.out(F32, [n, m]);
        check("norm_ratio: prev: wanted f32 [1, 1, 2, 3], got f16 [1, 1, 2, 3]", p(4, 1), t(F32), t(F16));
        check("norm_ratio: cur: wanted f32 [1, 1, 2, 3], got bf16 [1, 1, 2, 3]", p(4, 1), t(BF16), t(F32));
        check("norm_ratio: partials: wanted f32 [4, 1], got f32 [4, 2]", p(4, 2), t(F32), t(F32));
        check("norm_ratio: partials: wanted f32 [P, 1], P > 0, got f32 [0, 1]", p(0, 1), t(F32), t(F32));
    }
}
