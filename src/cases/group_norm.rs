//! Bytes: the image in and out, weight and bias once. Of large images every thousandth element is verified.

use super::label_embed::silu;
use super::*;
use crate::ops::{GROUP_NORM, group_norm};

/// Images, H, W, groups, channels of a group.
type Dims = [usize; 5];

const EPSILON: f64 = 1e-6;

const SHAPES: [Dims; 9] = [
    [1, 1, 1, 1, 4],
    [2, 1, 3, 1, 8],
    [1, 3, 5, 3, 4],
    [2, 7, 9, 5, 12],
    [1, 16, 16, 32, 4],
    [3, 2, 2, 7, 20],
    [1, 13, 17, 6, 16],
    // More than one stretch of pixels, and more elements than threads.
    [1, 33, 35, 2, 4],
    [2, 20, 20, 9, 8],
];

pub(super) const SIZES: Sizes = Sizes {
    names: &["images", "height", "width", "groups", "channels of a group"],
    case: |dtype, n| case(dtype, [n[0], n[1], n[2], n[3], 4 * n[4].div_ceil(4)], true, 0.0),
    // Mean, deviation and square, normalised, scaled and moved; SiLU.
    operations: |case| 11 * case.longest(),
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for (i, dims) in SHAPES.into_iter().enumerate() {
        for (j, mean) in MEANS.into_iter().enumerate() {
            let case = case(dtype, dims, (i + j) % 2 == 0, mean);
            all.push(Case { emulated: i % 2 == j, ..case });
        }
    }
    all.push(case(dtype, [2, 3, 4, 5, 8], true, 0.0).gated());
    // A decoder's middle, and its last blocks at 256×256 pixels.
    for dims in [[1, 32, 32, 32, 16], [1, 256, 256, 32, 4]] {
        let [images, height, width, groups, size] = dims;
        let name = format!("{images}×{height}×{width} {groups}×{size}, SiLU");
        all.push(case(dtype, dims, true, 0.0).named(name).bench());
    }
    all
}

fn case(dtype: DType, dims: Dims, with_silu: bool, mean: f32) -> Case {
    let [images, height, width, groups, size] = dims;
    let channels = groups * size;
    let shape = [images, height, width, channels];
    let operands = (
        [output("out", dtype, shape)],
        [
            normal("x", dtype, shape, 1).around(mean),
            normal("weight", DType::F32, [channels], 2).around(1.0),
            normal("bias", DType::F32, [channels], 3),
        ],
    );
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        group_norm(gate, &mut w[0], &r[0], (&r[1], &r[2]), groups, EPSILON as f32, with_silu)
    };
    let then = if with_silu { ", SiLU" } else { "" };
    let name = format!("{images}×{height}×{width} {groups}×{size}{then}, mean {mean}");
    Case::new(&GROUP_NORM, dtype, name, operands, call, move |v| {
        let all = naive(v, dims, with_silu);
        let step = if all.len() > 1 << 20 { 1000 } else { 1 };
        let at: Vec<usize> = (0..all.len()).step_by(step).collect();
        let want = at.iter().map(|&at| all[at]).collect();
        // An f32 near 100 is 4e-6 off, and so is what is left of it.
        let sum = if mean == 0.0 { 3e-13 } else { 3e-10 };
        let why = "means of f32 numbers; around 100, they and the mean are rounded to 4·10⁻⁶ before they are subtracted";
        vec![Check { what: "out", of: Of::Elements(0, at), want, bound: Bound::Stored(dtype, sum), why }]
    })
}

fn naive(v: &Values, [images, height, width, groups, size]: Dims, with_silu: bool) -> Vec<f64> {
    let (x, weight, bias) = (v.read(0), v.read(1), v.read(2));
    let (pixels, channels) = (height * width, groups * size);
    let mut out = vec![0.0; x.len()];
    for image in 0..images {
        for group in 0..groups {
            let elements = || {
                (0..pixels).flat_map(move |pixel| {
                    (0..size).map(move |i| (image * pixels + pixel) * channels + group * size + i)
                })
            };
            let n = (pixels * size) as f64;
            let mean = elements().map(|at| x[at]).sum::<f64>() / n;
            let variance = elements().map(|at| (x[at] - mean).powi(2)).sum::<f64>() / n;
            for at in elements() {
                let channel = at % channels;
                let y = (x[at] - mean) / (variance + EPSILON).sqrt() * weight[channel] + bias[channel];
                out[at] = if with_silu { silu(y) } else { y };
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F16, [2, 3, 4, 2, 4], true, 0.0);
    let groups = |n: usize| {
        base.calling(move |gate, w, r| group_norm(gate, &mut w[0], &r[0], (&r[1], &r[2]), n, 1e-6, false))
            .refused(&format!("groups: wanted groups of a multiple of 4 of 8 channels, got {n}"))
    };
    vec![
        groups(0),
        groups(3),
        groups(4),
        base.with("x", U32, &[2, 3, 4, 8]).refused("x: wanted f32, f16 or bf16, got u32"),
        base.with("x", F16, &[2, 12, 8]).refused("x: wanted 4 dimensions, got f16 [2, 12, 8]"),
        base.with("out", F32, &[2, 3, 4, 8]).refused("out: wanted f16 [2, 3, 4, 8], got f32 [2, 3, 4, 8]"),
        base.with("weight", F16, &[8]).refused("weight: wanted f32 [8], got f16 [8]"),
        base.with("bias", F32, &[4]).refused("bias: wanted f32 [8], got f32 [4]"),
    ]
}
