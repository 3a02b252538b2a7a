use steep::device::Gate;
use steep::ops::{PATCH_EMBED, patch_embed};
use steep::{DType::*, oracle};

use crate::*;

/// B, Z, F, C, H, W, p, d.
const SHAPES: [[usize; 8]; 9] = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [2, 1, 2, 3, 6, 4, 2, 17],
    [1, 1, 3, 4, 16, 20, 2, 72],
    [4, 2, 1, 3, 9, 15, 3, 193],
    [2, 2, 2, 1, 7, 13, 1, 48],
    [3, 1, 1, 2, 12, 8, 4, 16],
    [1, 1, 1, 2, 5, 13, 1, 1100],
    // Rows of whole vectors, and ends of tiles.
    [4, 2, 3, 1, 6, 20, 2, 196],
    [1, 1, 1, 4, 9, 15, 3, 68],
];

/// A sum of C·p·p + 2 ≤ 34 terms in f32.
const SUM: f64 = 1e-13;

#[test]
fn agrees_with_the_oracle() {
    for dims in SHAPES {
        let [b, s, f, c, h, w, p, d] = dims;
        let tokens = (h / p) * (w / p);
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let z = normal(1, F32, s * f * c * h * w, offset, 1.0);
            let weights = normal(2, dtype, d * c * p * p, 0.0, 0.3);
            let (bias, pos) = (normal(3, F32, d, 0.0, 1.0), normal(4, F32, tokens * d, 0.0, 1.0));
            let want = oracle::patch_embed(&z.wide, &weights.wide, &bias.wide, &pos.wide, dims);
            for on in sources(&PATCH_EMBED) {
                let mut x = on.out(F32, [b, f, tokens, d]);
                let z = on.f32([s, f, c, h, w], &z.x);
                let weights = on.tensor(dtype, [d, c, p, p], &weights.x);
                let (bias, pos) = (on.f32([d], &bias.x), on.f32([tokens, d], &pos.x));
                patch_embed(Gate::Open, &mut x, &z, &weights, &bias, &pos).unwrap();
                // The result is f32 whatever the weights are.
                close(&on.case(dtype, dims, offset), "x", &x, &want, SUM);
            }
        }
    }
}

#[test]
fn gated() {
    let z = oracle::data(1, 32, 0.0, 1.0);
    let outputs = |on: &On| [on.out(F32, [2, 2, 4, 3])];
    gates(&PATCH_EMBED, outputs, |on, gate, [x]| {
        let (clip, w) = (on.f32([1, 2, 1, 4, 4], &z), on.f32([3, 1, 2, 2], &z[..12]));
        patch_embed(gate, x, &clip, &w, &on.f32([3], &z[..3]), &on.f32([4, 3], &z[..12]))
    });
}

#[test]
fn refused() {
    for on in sources(&PATCH_EMBED) {
        struct Arguments {
            x: Tensor,
            z: Tensor,
            w: Tensor,
            bias: Tensor,
            pos: Tensor,
        }
        let good = || Arguments {
            x: on.out(F32, [2, 2, 6, 5]),
            z: on.zeros(F32, [1, 2, 3, 4, 6]),
            w: on.zeros(BF16, [5, 3, 2, 2]),
            bias: on.zeros(F32, [5]),
            pos: on.zeros(F32, [6, 5]),
        };
        let check = |message: &str, change: &dyn Fn(&mut Arguments)| {
            let mut a = good();
            change(&mut a);
            refuses(&on, message, &mut [a.x], |[x]| patch_embed(Gate::Open, x, &a.z, &a.w, &a.bias, &a.pos));
        };
        let message = "patch_embed: z: wanted 5 dimensions, got f32 [2, 3, 4, 6]";
        check(message, &|a| a.z = on.zeros(F32, [2, 3, 4, 6]));
        let message = "patch_embed: z: wanted f32 [1, 2, 3, 4, 6], got f16 [1, 2, 3, 4, 6]";
        check(message, &|a| a.z = on.zeros(F16, [1, 2, 3, 4, 6]));
        let square = "patch_embed: w: wanted [d, 3, p, p] with p dividing 4 and 6";
        for w in [[5, 4, 2, 2], [5, 3, 2, 1], [5, 3, 4, 4], [5, 3, 0, 0]] {
            check(&format!("{square}, got bf16 {w:?}"), &|a| a.w = on.zeros(BF16, w));
        }
        let message = "patch_embed: w: wanted f32, f16 or bf16, got u32";
        check(message, &|a| a.w = on.zeros(U32, [5, 3, 2, 2]));
        let message = "patch_embed: x: wanted f32 [2, 2, 6, 5], got f32 [2, 2, 6, 4]";
        check(message, &|a| a.x = on.out(F32, [2, 2, 6, 4]));
        let message = "patch_embed: x: wanted f32 [2, 2, 6, 5], got bf16 [2, 2, 6, 5]";
        check(message, &|a| a.x = on.out(BF16, [2, 2, 6, 5]));
        let message = "patch_embed: x: wanted a multiple of 2 samples, got 3";
        check(message, &|a| {
            a.z = on.zeros(F32, [2, 2, 3, 4, 6]);
            a.x = on.out(F32, [3, 2, 6, 5]);
        });
        let message = "patch_embed: bias: wanted f32 [5], got f32 [6]";
        check(message, &|a| a.bias = on.zeros(F32, [6]));
        let message = "patch_embed: pos: wanted f32 [6, 5], got f32 [5, 6]";
        check(message, &|a| a.pos = on.zeros(F32, [5, 6]));
    }
}
