//! Bytes: the half of the tokens that counts in, noise in, the clip in and out.

use super::*;
use crate::ops::{RENOISE, renoise};

/// B, Z, F, C, H, W, p.
type Dims = [usize; 7];

const SHAPES: [Dims; 7] = [
    [1, 1, 1, 1, 1, 1, 1],
    [2, 1, 1, 1, 1, 1, 1],
    [2, 2, 3, 3, 6, 4, 2],
    [2, 1, 2, 3, 10, 6, 2],
    [4, 2, 1, 4, 9, 15, 3],
    [1, 1, 5, 1, 7, 13, 1],
    [1, 1, 1, 3, 34, 66, 2],
];
/// Logarithms of variances, as early, late and very last steps have them.
const RANGES: [[f32; 2]; 3] = [[-9.2, -3.9], [-4.0, -3.95], [-28.0, -9.2]];

pub(super) const SIZES: Sizes = Sizes {
    names: &["clips", "frames", "channels", "height", "width"],
    case: |_, n| {
        // A patch that divides height and width; guidance has two halves.
        let p = if n[3] % 2 + n[4] % 2 == 0 { 2 } else { 1 };
        case([2 * n[0], n[0], n[1], n[2], n[3], n[4], p], RANGES[0])
    },
    operations: |case| 8 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    for dims in SHAPES {
        all.extend(RANGES.map(|range| case(dims, range)));
    }
    all.push(case([2, 1, 2, 1, 4, 4, 2], RANGES[0]).gated());
    // A picture and sixteen frames of latents, guided.
    for dims in [[2, 1, 1, 4, 32, 32, 2], [2, 1, 16, 4, 64, 64, 2]] {
        let [_, s, f, c, h, w, _] = dims;
        all.push(case(dims, RANGES[0]).named(times([s, f, c, h, w])).bench());
    }
    all
}

fn case(dims: Dims, range: [f32; 2]) -> Case {
    let [b, s, f, c, h, w, p] = dims;
    let clip = [s, f, c, h, w];
    let tokens = normal("tokens", DType::F32, [b, f, h / p * (w / p), p * p * 2 * c], 1).spread(0.5);
    let touched = s * f * h * w * c;
    let operands = (
        [normal("z", DType::F32, clip, 2)],
        [tokens.touching(touched), normal("noise", DType::F32, clip, 3)],
    );
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        renoise(gate, &mut w[0], &r[0], &r[1], p, range)
    };
    let name = format!("{}, {range:?}", times(dims));
    Case::new(&RENOISE, DType::F32, name, operands, call, move |v| {
        let want = naive(&v.before(0), &v.read(0), &v.read(1), dims, range);
        let why = "a few operations in f32: the deviation is off by a few 2^-24 of its exponent, 20 at most, and is a part of the clip";
        vec![Check::output("z", 0, want, Bound::Stored(DType::F32, 1e-12), why)]
    })
}

/// `z + exp((f·high + (1 − f)·low)/2)·noise`, f = (v + 1)/2 → [Z, F, C, H, W]; tokens are [B, F, N, p·p·2·C], v their last C.
fn naive(z: &[f64], tokens: &[f64], noise: &[f64], dims: Dims, range: [f32; 2]) -> Vec<f64> {
    let [_, samples, frames, channels, height, width, p] = dims;
    let (down, across) = (height / p, width / p);
    let [low, high] = range.map(f64::from);
    let mut out = vec![];
    for image in 0..samples * frames {
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let token = image * down * across + y / p * across + x / p;
                    let pixel = (token * p + y % p) * p + x % p;
                    let f = (tokens[pixel * 2 * channels + channels + c] + 1.0) / 2.0;
                    let deviation = ((f * high + (1.0 - f) * low) / 2.0).exp();
                    out.push(z[out.len()] + deviation * noise[out.len()]);
                }
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case([4, 2, 3, 1, 4, 6, 2], RANGES[0]);
    let patch = |p| base.calling(move |gate, w, r| renoise(gate, &mut w[0], &r[0], &r[1], p, RANGES[0]));
    vec![
        base.with("z", F32, &[3, 1, 4, 6]).refused("z: wanted 5 dimensions, got f32 [3, 1, 4, 6]"),
        base.with("noise", F32, &[2, 3, 1, 4, 5])
            .refused("noise: wanted f32 [2, 3, 1, 4, 6], got f32 [2, 3, 1, 4, 5]"),
        patch(0).refused("patch: wanted a divisor of 4 and 6, got 0"),
        patch(4).refused("patch: wanted a divisor of 4 and 6, got 4"),
        base.with("tokens", F32, &[18, 8]).refused("tokens: wanted 4 dimensions, got f32 [18, 8]"),
        base.with("tokens", F32, &[4, 3, 6, 4])
            .refused("tokens: wanted f32 [4, 3, 6, 8], got f32 [4, 3, 6, 4]"),
        base.with("tokens", F32, &[3, 3, 6, 8])
            .refused("tokens: wanted f32 [2, 3, 6, 8], got f32 [3, 3, 6, 8]"),
        base.with("tokens", BF16, &[4, 3, 6, 8])
            .refused("tokens: wanted f32 [4, 3, 6, 8], got bf16 [4, 3, 6, 8]"),
    ]
}
