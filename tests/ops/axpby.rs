use steep::device::Gate;
use steep::ops::{AXPBY, Update, axpby};
use steep::{DType::*, oracle};

use crate::*;

/// The factors of a residual that is stored, one that is reused, and a sampler's update.
const FACTORS: [(f32, f32); 3] = [(1.0, -1.0), (1.0, 1.0), (0.75, -0.3)];

#[test]
fn agrees_with_the_oracle() {
    for shape in [[1, 1], [3, 5], [1, 16], [33, 17], [1, 16385], [193, 172], [193, 173]] {
        for (offset, (a, b)) in OFFSETS.into_iter().flat_map(|o| FACTORS.map(|f| (o, f))) {
            let n = shape[0] * shape[1];
            let (x, y) = (normal(1, F32, n, offset, 1.0), normal(2, F32, n, offset, 1.0));
            let want = oracle::axpby((a, &x.wide), (b, &y.wide));
            let check = |case: &str, out: &Tensor| match a {
                // One rounding in all: the bits of a sum or a difference.
                1.0 => exact(case, "out", out, &want),
                _ => close(case, "out", out, &want, 1e-13),
            };
            for on in sources(&AXPBY) {
                let case = on.case(F32, shape, offset);
                let (x_on, y_on) = (on.f32(shape, &x.x), on.f32(shape, &y.x));
                let mut out = on.out(F32, shape);
                axpby(Gate::Open, &mut out, (a, Some(&x_on)), (b, &y_on)).unwrap();
                check(&case, &out);
                let mut in_place = on.inout(F32, shape, &x.x);
                axpby(Gate::Open, &mut in_place, (a, None), (b, &y_on)).unwrap();
                check(&format!("{case} in place"), &in_place);
                assert_eq!(bits(&out), bits(&in_place), "{case}");
            }
        }
    }
}

/// A factor of 0 keeps nothing of x, and `out` is NaN before.
#[test]
fn a_factor_of_zero_reads_no_x() {
    for (n, on) in [7usize, 1024].into_iter().flat_map(|n| sources(&AXPBY).map(move |on| (n, on))) {
        let y = oracle::data(1, n, 0.0, 1.0);
        let want: Vec<f64> = y.iter().map(|y| 2.0 * f64::from(*y)).collect();
        let (y, nan) = (on.f32([n], &y), on.f32([n], &vec![f32::NAN; n]));
        for x in [None, Some(&nan)] {
            let mut out = on.out(F32, [n]);
            axpby(Gate::Open, &mut out, (0.0, x), (2.0, &y)).unwrap();
            exact(&on.case(F32, [n], 0.0), "out", &out, &want);
        }
    }
}

/// The head's own way and this one are the same step: a prediction that `denoise` laid out, then this, gives the bits
/// that `denoise` alone gives.
#[test]
fn is_the_step_that_denoise_takes() {
    let update = Update { keep: 0.75, add: -0.3, guidance: 3.0 };
    let (z, tokens) = (oracle::data(1, 2 * 64, 0.0, 1.0), oracle::data(2, 2 * 2 * 64, 0.0, 1.0));
    for on in sources(&AXPBY) {
        let shape = [2, 1, 1, 8, 8];
        let tokens = on.f32([4, 1, 4, 16], &tokens);
        let mut direct = on.f32(shape, &z);
        steep::ops::denoise(Gate::Open, &mut direct, &tokens, 4, update).unwrap();
        let (mut v, mut z) = (on.zeros(F32, shape), on.f32(shape, &z));
        let as_is = Update { keep: 0.0, add: 1.0, ..update };
        steep::ops::denoise(Gate::Open, &mut v, &tokens, 4, as_is).unwrap();
        axpby(Gate::Open, &mut z, (update.keep, None), (update.add, &v)).unwrap();
        assert_eq!(bits(&z), bits(&direct), "{}", on.case(F32, shape, 0.0));
    }
}

#[test]
fn gated() {
    let (x, y) = (oracle::data(1, 40, 0.0, 1.0), oracle::data(2, 40, 0.0, 1.0));
    gates(
        &AXPBY,
        |on: &On| [on.out(F32, [40])],
        |on, gate, [out]| axpby(gate, out, (1.0, Some(&on.f32([40], &x))), (-1.0, &on.f32([40], &y))),
    );
    gates(
        &AXPBY,
        |on: &On| [on.inout(F32, [40], &x)],
        |on, gate, [out]| axpby(gate, out, (0.75, None), (-0.3, &on.f32([40], &y))),
    );
}

#[test]
fn refused() {
    for on in sources(&AXPBY) {
        let t = |dtype, n: usize| on.zeros(dtype, [n]);
        let check = |message: &str, out: Tensor, x: Option<Tensor>, y: Tensor| {
            refuses(&on, message, &mut [out], |[out]| axpby(Gate::Open, out, (1.0, x.as_ref()), (1.0, &y)));
        };
        let out = || on.out(F32, [4]);
        check("axpby: x: wanted f32 [4], got f32 [3]", out(), Some(t(F32, 3)), t(F32, 4));
        check("axpby: x: wanted f32 [4], got bf16 [4]", out(), Some(t(BF16, 4)), t(F32, 4));
        check("axpby: y: wanted f32 [4], got f32 [5]", out(), Some(t(F32, 4)), t(F32, 5));
        check("axpby: y: wanted f32 [4], got u32 [4]", out(), Some(t(F32, 4)), t(U32, 4));
        check("axpby: y: wanted f32 [4], got f16 [4]", out(), None, t(F16, 4));
        check("axpby: out: wanted f32 [4], got f16 [4]", on.out(F16, [4]), Some(t(F32, 4)), t(F32, 4));
    }
}
