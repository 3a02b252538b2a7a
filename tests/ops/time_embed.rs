use steep::device::Gate;
use steep::ops::{TIME_EMBED, time_embed};
use steep::{DType::*, oracle};

use crate::*;

/// Times as samplers hand them over: the ends of the range, fractions, integers. And some that they never do.
const TIMES: [f32; 9] = [0.0, 1000.0, 999.0, 1e-3, 33.333, 500.0, 721.9, -0.7, -333.25];

/// The angle t·f is f32: f and the product are each rounded, and f's exponent before, which moves t·f by up to
/// (3/2 + ln 10000 / 2)·2^-24·t·f, say 2^-21·t. Then come the roundings of the cosine.
#[test]
fn agrees_with_the_oracle() {
    for batch in [1, 2, 7, 16, 33] {
        for dtype in FLOATS {
            let times: Vec<f32> = (0..2 * batch).map(|i| TIMES[i % 9] / (1 + i / 9) as f32).collect();
            let want = oracle::time_embed(&wide(&times[batch..]));
            for on in sources(&TIME_EMBED) {
                let mut out = on.out(dtype, [batch, 256]);
                time_embed(Gate::Open, &mut out, &on.f32([2, batch], &times), 1).unwrap();
                let case = on.case(dtype, batch, 0.0);
                close(&case, "out", &out, &want, bound(dtype, 1e-9));
                let unit = bound(dtype, 0.0).sqrt().max(0.5f64.powi(24));
                for (i, (got, want)) in values(&case, &out).iter().zip(&want).enumerate() {
                    let error = (f64::from(*got) - want).abs();
                    let most = unit + f64::from(times[batch + i / 256].abs()) * 0.5f64.powi(21);
                    assert!(
                        error <= most,
                        "{case}: out[{i}] is {got}, wanted {want}: {error:.1e} > {most:.1e}"
                    );
                }
            }
        }
    }
}

#[test]
fn gated() {
    let outputs = |on: &On| [on.out(BF16, [2, 256])];
    gates(&TIME_EMBED, outputs, |on, gate, [out]| time_embed(gate, out, &on.f32([1, 2], &[3.0, 4.0]), 0));
}

#[test]
fn refused() {
    for on in sources(&TIME_EMBED) {
        let check = |message: &str, out: Tensor, times: Tensor, step: usize| {
            refuses(&on, message, &mut [out], |[out]| time_embed(Gate::Open, out, &times, step));
        };
        let times = || on.zeros(F32, [3, 2]);
        let message = "time_embed: out: wanted f16 [2, 256], got f16 [2, 128]";
        check(message, on.out(F16, [2, 128]), times(), 0);
        let message = "time_embed: out: wanted f32 [2, 256], got f32 [3, 256]";
        check(message, on.out(F32, [3, 256]), times(), 0);
        let message = "time_embed: out: wanted f32, f16 or bf16, got u32";
        check(message, on.out(U32, [2, 256]), times(), 0);
        let message = "time_embed: times: wanted 2 dimensions, got f32 [2]";
        check(message, on.out(F32, [2, 256]), on.zeros(F32, [2]), 0);
        let message = "time_embed: times: wanted f32 [3, 2], got bf16 [3, 2]";
        check(message, on.out(F32, [2, 256]), on.zeros(BF16, [3, 2]), 0);
        check("time_embed: step: wanted less than 3, got 3", on.out(F32, [2, 256]), times(), 3);
    }
}
