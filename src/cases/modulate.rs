//! Bytes: x in, out out, shift and scale of each sample in.

use super::*;
use crate::ops::{Chunks, EPSILON, MODULATE, modulate};

/// Samples, rows of all samples, d.
pub(super) const SHAPES: [[usize; 3]; 13] = [
    [1, 1, 1],
    [2, 2, 3],
    [1, 15, 16],
    [2, 32, 17],
    [3, 33, 48],
    [1, 65, 63],
    [1, 33, 64],
    [5, 15, 72],
    [5, 65, 72],
    [2, 130, 96],
    [1, 70, 193],
    [1, 3, 1304],
    [2, 4, 2051],
];
pub(super) const BENCHES: [[usize; 3]; 2] = [[2, 512, 192], [2, 4096, 1152]];

/// Neither in order nor next to each other, of six.
pub(super) const CHUNKS: Chunks = Chunks { shift: 4, scale: 1 };

/// What bounds the error in f32, for rows with this mean.
pub(super) fn two_passes(mean: f32) -> f64 {
    if mean == 0.0 { 1e-13 } else { 1e-8 }
}

pub(super) const WHY: &str = "a few roundings of f32; around 100 the mean is rounded to 2^-18, and every element of a \
    row moves by up to that: 1e-11 of a variance of 1, and more in rows of three, some of which vary less \
    (a variance by E[x²] − E[x]² would make it 1e-6)";

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |dtype, n| case(dtype, [samples(n[0]), n[0], n[1]], |x| x, 0.0),
    operations: |case| 9 * case.longest(),
};

/// Two where that divides the rows.
pub(super) fn samples(rows: usize) -> usize {
    2 - rows % 2
}

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for (dims, mean) in SHAPES.into_iter().flat_map(|dims| MEANS.map(|mean| (dims, mean))) {
        all.push(case(dtype, dims, |x| x.around(mean), mean).named(format!("{}, mean {mean}", times(dims))));
    }
    all.push(case(dtype, [2, 14, 3], |x| x, 0.0).gated());
    let constant = |x: Operand| numbers("x", DType::F32, x.shape, move || vec![7.0; x.elements()]);
    // The ε under the root is what is left of a constant row.
    all.push(case(dtype, [1, 2, 17], constant, 0.0).named("constant rows"));
    // Its exact value and place matter where the variance is of its order.
    all.push(case(dtype, [1, 3, 16], |x| x.spread(1e-3), 0.0).named("rows that vary by about ε"));
    // diffusers' second norm of a block has another ε.
    for dims in [[1, 3, 16], [2, 4, 65]] {
        let few = with_epsilon(1e-5, dtype, dims, |x| x.spread(3e-3), 0.0);
        all.push(few.named(format!("{}, ε = 1e-5", times(dims))));
    }
    all.extend(BENCHES.map(|dims| case(dtype, dims, |x| x, 0.0).bench()));
    all
}

/// `change` makes the rows of others.
fn case(dtype: DType, dims: [usize; 3], change: impl Fn(Operand) -> Operand, mean: f32) -> Case {
    with_epsilon(EPSILON, dtype, dims, change, mean)
}

fn with_epsilon(
    epsilon: f32,
    dtype: DType,
    dims: [usize; 3],
    change: impl Fn(Operand) -> Operand,
    mean: f32,
) -> Case {
    let [samples, rows, d] = dims;
    let shape = [samples, rows / samples, d];
    let mods = normal("mods", DType::F32, [samples, 6 * d], 2).touching(samples * 2 * d);
    let x = change(normal("x", DType::F32, shape, 1));
    let operands = ([output("out", dtype, shape)], [x, mods]);
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        modulate(gate, &mut w[0], &r[0], &r[1], CHUNKS, epsilon)
    };
    Case::new(&MODULATE, dtype, format!("{rows}×{d}"), operands, call, move |v| {
        let want = naive(&v.read(0), &v.read(1), dims, epsilon);
        vec![Check::output("out", 0, want, Bound::Stored(dtype, two_passes(mean)), WHY)]
    })
}

/// `(x − mean) / √(variance + ε)·(1 + scale) + shift` per row of d; mods are [samples, 6·d].
pub(super) fn naive(x: &[f64], mods: &[f64], [samples, rows, dim]: [usize; 3], epsilon: f32) -> Vec<f64> {
    let mut out = vec![];
    for i in 0..rows {
        let row = &x[i * dim..(i + 1) * dim];
        let mean = row.iter().sum::<f64>() / dim as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / dim as f64;
        let mods = &mods[i / (rows / samples) * 6 * dim..];
        for j in 0..dim {
            let normal = (row[j] - mean) / (variance + f64::from(epsilon)).sqrt();
            out.push(normal * (1.0 + mods[CHUNKS.scale * dim + j]) + mods[CHUNKS.shift * dim + j]);
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F16, [2, 2, 4], |x| x, 0.0).with("x", F32, &[2, 4]).with("out", F16, &[2, 4]);
    let epsilon = |epsilon: f32| {
        base.calling(move |gate, w, r| modulate(gate, &mut w[0], &r[0], &r[1], CHUNKS, epsilon))
    };
    let mods = "mods: wanted f32 [2, c·4] with Chunks { shift: 4, scale: 1 }, got";
    vec![
        epsilon(0.0).refused("epsilon: wanted more than 0, got 0"),
        epsilon(f32::NAN).refused("epsilon: wanted more than 0, got NaN"),
        base.with("x", F16, &[2, 4]).refused("x: wanted f32 [2, 4], got f16 [2, 4]"),
        base.with("mods", F32, &[3, 24]).refused("x: wanted f32 [3, .., d], got f32 [2, 4]"),
        base.with("x", F32, &[2]).with("out", F32, &[2]).refused("x: wanted f32 [2, .., d], got f32 [2]"),
        base.with("x", F32, &[2, 0])
            .with("out", F32, &[2, 0])
            .refused("x: wanted f32 [2, .., d], got f32 [2, 0]"),
        base.with("out", F16, &[4, 2]).refused("out: wanted f16 [2, 4], got f16 [4, 2]"),
        base.with("out", U32, &[2, 4]).refused("out: wanted f32, f16 or bf16, got u32"),
        base.with("mods", F32, &[48]).refused("mods: wanted 2 dimensions, got f32 [48]"),
        base.with("mods", F32, &[2, 19]).refused(&format!("{mods} f32 [2, 19]")),
        base.with("mods", BF16, &[2, 24]).refused(&format!("{mods} bf16 [2, 24]")),
    ]
}
