use steep::device::Gate;
use steep::ops::{RESIDUAL_STORE, residual_store};
use steep::{DType::*, oracle};

use crate::*;

#[test]
fn agrees_with_the_oracle() {
    for shape in [[1, 1], [3, 5], [1, 16], [33, 17], [1, 16385], [193, 172], [193, 173]] {
        for offset in OFFSETS {
            let n = shape[0] * shape[1];
            let (a, b) = (normal(1, F32, n, offset, 1.0), normal(2, F32, n, offset, 1.0));
            let want = oracle::residual_store(&a.wide, &b.wide);
            for on in sources(&RESIDUAL_STORE) {
                let mut out = on.out(F32, shape);
                residual_store(Gate::Open, &mut out, &on.f32(shape, &a.x), &on.f32(shape, &b.x)).unwrap();
                exact(&on.case(F32, shape, offset), "residual", &out, &want);
            }
        }
    }
}

#[test]
fn gated() {
    let (a, b) = (oracle::data(1, 40, 0.0, 1.0), oracle::data(2, 40, 0.0, 1.0));
    let outputs = |on: &On| [on.out(F32, [40])];
    gates(&RESIDUAL_STORE, outputs, |on, gate, [out]| {
        residual_store(gate, out, &on.f32([40], &a), &on.f32([40], &b))
    });
}

#[test]
fn refused() {
    for on in sources(&RESIDUAL_STORE) {
        let t = |dtype, n: usize| on.zeros(dtype, [n]);
        let mut outs = [on.out(F32, [4])];
        let mut check = |message: &str, a: Tensor, b: Tensor| {
            refuses(&on, message, &mut outs, |[out]| residual_store(Gate::Open, out, &a, &b));
        };
        check("residual_store: stack_out: wanted f32 [4], got f32 [3]", t(F32, 3), t(F32, 4));
        check("residual_store: stack_out: wanted f32 [4], got bf16 [4]", t(BF16, 4), t(F32, 4));
        check("residual_store: stack_in: wanted f32 [4], got f32 [5]", t(F32, 4), t(F32, 5));
        check("residual_store: stack_in: wanted f32 [4], got u32 [4]", t(F32, 4), t(U32, 4));
        let (mut outs, a) = ([on.out(F16, [4])], t(F32, 4));
        let message = "residual_store: residual: wanted f32 [4], got f16 [4]";
        refuses(&on, message, &mut outs, |[out]| residual_store(Gate::Open, out, &a, &a));
    }
}
