//! Bytes: times in, sinusoids out; far too few to matter, the time is that of a launch and of cos.

use super::*;
use crate::ops::{FREQUENCIES, TIME_EMBED, time_embed};

/// Times as samplers hand them over: the ends of the range, fractions, integers. And some that they never do.
const TIMES: [f32; 9] = [0.0, 1000.0, 999.0, 1e-3, 33.333, 500.0, 721.9, -0.7, -333.25];

/// What facebook/DiT divides by.
const ORIGINAL: f32 = FREQUENCIES as f32;

pub(super) const SIZES: Sizes = Sizes {
    names: &["times"],
    case: |dtype, n| near_zero(dtype, n[0]),
    operations: |case| 4 * case.longest(),
};

/// Times near 0, as good as any others.
fn near_zero(dtype: DType, batch: usize) -> Case {
    case(dtype, batch, normal("times", DType::F32, [1, batch], 2), (0, ORIGINAL))
}

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let make = |batch: usize| move || (0..2 * batch).map(|i| TIMES[i % 9] / (1 + i / 9) as f32).collect();
    let tests = [1, 2, 7, 16, 33].map(|batch| {
        let case = case(dtype, batch, numbers("times", DType::F32, [2, batch], make(batch)), (1, ORIGINAL));
        if batch == 2 { case.gated() } else { case }
    });
    let diffusers = case(dtype, 9, numbers("times", DType::F32, [2, 9], make(9)), (1, 127.0));
    let benches = [2, 64].map(|batch| near_zero(dtype, batch).bench_too());
    tests.into_iter().chain([diffusers.named("9 times, divided by 127")]).chain(benches).collect()
}

fn case(dtype: DType, batch: usize, times: Operand, (step, divisor): (usize, f32)) -> Case {
    let operands = ([output("out", dtype, [batch, 2 * FREQUENCIES])], [times]);
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        time_embed(gate, &mut w[0], &r[0], step, divisor)
    };
    Case::new(&TIME_EMBED, dtype, format!("{batch} times"), operands, call, move |v| {
        let times = &v.read(0)[step * batch..];
        let want = naive(times, divisor);
        let unit = measure::unit(dtype).max(0.5f64.powi(24));
        let each = (0..want.len()).map(|i| unit + times[i / (2 * FREQUENCIES)].abs() * 0.5f64.powi(21));
        let each = Bound::Each(each.collect());
        let why = "the angle t·f is f32: f and the product are each rounded, and f's exponent before, which moves t·f \
            by up to (3/2 + ln 10000 / 2)·2^-24·t·f, say 2^-21·t; then come the roundings of the cosine";
        vec![
            Check::output("out", 0, want.clone(), Bound::Stored(dtype, 1e-9), why),
            Check::output("each", 0, want, each, why),
        ]
    })
}

/// `out[b] = [cos(t_b·f₀), .., sin(t_b·f₀), ..]`, f_k = 10000^(−k/divisor) → [B, 256].
fn naive(times: &[f64], divisor: f32) -> Vec<f64> {
    let mut out = vec![];
    for t in times {
        let angle = |k: usize| t * 10000f64.powf(-(k as f64) / f64::from(divisor));
        out.extend((0..FREQUENCIES).map(|k| angle(k).cos()));
        out.extend((0..FREQUENCIES).map(|k| angle(k).sin()));
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F32, 2, normal("times", F32, [3, 2], 1), (0, ORIGINAL));
    vec![
        base.with("out", F16, &[2, 128]).refused("out: wanted f16 [2, 256], got f16 [2, 128]"),
        base.with("out", F32, &[3, 256]).refused("out: wanted f32 [2, 256], got f32 [3, 256]"),
        base.with("out", U32, &[2, 256]).refused("out: wanted f32, f16 or bf16, got u32"),
        base.with("times", F32, &[2]).refused("times: wanted 2 dimensions, got f32 [2]"),
        base.with("times", BF16, &[3, 2]).refused("times: wanted f32 [3, 2], got bf16 [3, 2]"),
        case(F32, 2, normal("times", F32, [3, 2], 1), (3, ORIGINAL))
            .refused("step: wanted less than 3, got 3"),
        case(F32, 2, normal("times", F32, [3, 2], 1), (0, 0.0)).refused("divisor: wanted more than 0, got 0"),
    ]
}
