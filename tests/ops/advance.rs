use steep::device::Gate;
use steep::ops::{ADVANCE, Update, advance};
use steep::{DType::*, oracle};

use crate::*;

const UPDATE: Update = Update { keep: 0.75, add: -0.3, guidance: 3.0 };

#[test]
fn agrees_with_the_oracle() {
    for n in [1, 3, 16, 561, 4097, 33000] {
        for offset in OFFSETS {
            let (z, v) = (normal(1, F32, n, offset, 1.0), normal(2, F32, n, offset, 1.0));
            let want = oracle::advance(&z.wide, &v.wide, UPDATE);
            for on in sources(&ADVANCE) {
                let mut out = on.inout(F32, [n], &z.x);
                advance(Gate::Open, &mut out, &on.f32([n], &v.x), UPDATE).unwrap();
                close(&on.case(F32, n, offset), "z", &out, &want, 1e-13);
            }
        }
    }
}

/// The head's own way and this one are the same step: a prediction that `denoise` laid out, then this, gives the bits
/// that `denoise` alone gives.
#[test]
fn is_the_step_that_denoise_takes() {
    let (z, tokens) = (oracle::data(1, 2 * 64, 0.0, 1.0), oracle::data(2, 2 * 2 * 64, 0.0, 1.0));
    for on in sources(&ADVANCE) {
        let shape = [2, 1, 1, 8, 8];
        let tokens = on.f32([4, 1, 4, 16], &tokens);
        let mut direct = on.f32(shape, &z);
        steep::ops::denoise(Gate::Open, &mut direct, &tokens, 4, UPDATE).unwrap();
        let (mut v, mut z) = (on.zeros(F32, shape), on.f32(shape, &z));
        let as_is = Update { keep: 0.0, add: 1.0, ..UPDATE };
        steep::ops::denoise(Gate::Open, &mut v, &tokens, 4, as_is).unwrap();
        advance(Gate::Open, &mut z, &v, UPDATE).unwrap();
        assert_eq!(bits(&z), bits(&direct), "{}", on.case(F32, shape, 0.0));
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 80, 0.0, 1.0);
    let outputs = |on: &On| [on.inout(F32, [40], &x[..40])];
    gates(&ADVANCE, outputs, |on, gate, [z]| advance(gate, z, &on.f32([40], &x[40..]), UPDATE));
}

#[test]
fn refused() {
    for on in sources(&ADVANCE) {
        let t = |dtype, n: usize| on.zeros(dtype, [n]);
        let check = |message: &str, z: Tensor, v: Tensor| {
            refuses(&on, message, &mut [z], |[z]| advance(Gate::Open, z, &v, UPDATE));
        };
        check("advance: v: wanted f32 [4], got f32 [3]", t(F32, 4), t(F32, 3));
        check("advance: v: wanted f32 [4], got f16 [4]", t(F32, 4), t(F16, 4));
        check("advance: z: wanted f32 [4], got bf16 [4]", t(BF16, 4), t(F32, 4));
    }
}
