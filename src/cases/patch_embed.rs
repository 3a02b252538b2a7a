//! FLOPs: 2 per pixel of a patch and channel of its token, once for both halves of a guided batch.

use super::*;
use crate::ops::{PATCH_EMBED, patch_embed};

/// B, Z, F, C, H, W, p, d.
type Dims = [usize; 8];

const SHAPES: [Dims; 12] = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [2, 1, 2, 3, 6, 4, 2, 17],
    [1, 1, 3, 4, 16, 20, 2, 72],
    [1, 1, 3, 4, 8, 10, 2, 72],
    [4, 2, 1, 3, 9, 15, 3, 193],
    [4, 2, 1, 3, 9, 15, 3, 130],
    [2, 2, 2, 1, 7, 13, 1, 48],
    [3, 1, 1, 2, 12, 8, 4, 16],
    [1, 1, 1, 2, 5, 13, 1, 1100],
    [1, 1, 1, 2, 5, 13, 1, 66],
    // Rows of whole vectors, and ends of tiles.
    [4, 2, 3, 1, 6, 20, 2, 196],
    [1, 1, 1, 4, 9, 15, 3, 68],
];
/// The shipped model, and eight frames of DiT-XL/2's latents.
const BENCHES: [Dims; 2] = [[2, 1, 16, 1, 32, 32, 8, 192], [2, 1, 8, 4, 32, 32, 2, 1152]];

pub(super) const SIZES: Sizes = Sizes {
    names: &["clips", "frames", "channels", "height", "width", "patch", "d"],
    case: |dtype, n| {
        let up = |n: usize, p: usize| n.div_ceil(p) * p;
        case(dtype, [n[0], n[0], n[1], n[2], up(n[3], n[5]), up(n[4], n[5]), n[5], n[6]], 0.0)
    },
    operations: |case| case.flops,
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let tests = SHAPES.into_iter().flat_map(|dims| MEANS.map(|mean| case(dtype, dims, mean)));
    let gated = case(dtype, [2, 1, 2, 1, 4, 4, 2, 67], 0.0).gated();
    // With rows and columns that are no multiple of a tile's, and a depth of odd numbers.
    let arranged = [[2, 1, 2, 3, 9, 15, 3, 80], [4, 2, 3, 1, 6, 20, 2, 208]].map(|dims| {
        let case = case(dtype, dims, MEANS[1]).arranged();
        Case { emulated: false, ..case.named(format!("{} arranged", times(dims))) }
    });
    let benches = BENCHES.map(|dims| case(dtype, dims, 0.0).bench().arranged());
    let name = |case: Case, [b, _, f, c, h, w, p, d]: Dims| {
        case.named(format!("{}×{d}×{}", b * f * (h / p) * (w / p), c * p * p))
    };
    tests
        .chain(arranged)
        .chain([gated])
        .chain(benches.into_iter().zip(BENCHES).map(|(case, dims)| name(case, dims)))
        .collect()
}

fn case(dtype: DType, dims: Dims, mean: f32) -> Case {
    let [b, s, f, c, h, w, p, d] = dims;
    let (tokens, k) = (h / p * (w / p), c * p * p);
    let operands = (
        [output("x", DType::F32, [b, f, tokens, d])],
        [
            normal("z", DType::F32, [s, f, c, h, w], 1).around(mean),
            normal("w", dtype, [d, c, p, p], 2).spread(0.3),
            normal("bias", DType::F32, [d], 3),
            normal("pos", DType::F32, [tokens, d], 4),
        ],
    );
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        patch_embed(gate, &mut w[0], &r[0], &r[1], &r[2], &r[3])
    };
    Case::new(&PATCH_EMBED, dtype, format!("{}, mean {mean}", times(dims)), operands, call, move |v| {
        let want = naive(&v.read(0), &v.read(1), &v.read(2), &v.read(3), dims);
        // The result is f32 whatever the weights are.
        let bound = Bound::Stored(DType::F32, 1e-13 * (k as f64 / 32.0).max(1.0));
        vec![Check::output("x", 0, want, bound, "a sum of C·p·p + 2 terms in f32")]
    })
    .flops(2 * s * f * tokens * d * k)
}

/// `x[b, f, n, j] = Σ w[j, c, y, x]·z[b mod Z, f, c, ..] + bias[j] + pos[n, j]` → [B, F, N, d].
fn naive(
    z: &[f64],
    w: &[f64],
    bias: &[f64],
    pos: &[f64],
    [batch, samples, frames, channels, height, width, p, dim]: Dims,
) -> Vec<f64> {
    let (down, across) = (height / p, width / p);
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..down * across {
                let (top, left) = (n / across * p, n % across * p);
                for j in 0..dim {
                    let mut sum = 0.0;
                    for c in 0..channels {
                        for y in 0..p {
                            for x in 0..p {
                                let image = (b % samples * frames + f) * channels + c;
                                let pixel = z[(image * height + top + y) * width + left + x];
                                sum += w[((j * channels + c) * p + y) * p + x] * pixel;
                            }
                        }
                    }
                    out.push(sum + bias[j] + pos[n * dim + j]);
                }
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(BF16, [2, 1, 2, 3, 4, 6, 2, 5], 0.0);
    let square = "w: wanted [d, 3, p, p] with p dividing 4 and 6, got bf16";
    let shapes = [[5, 4, 2, 2], [5, 3, 2, 1], [5, 3, 4, 4], [5, 3, 0, 0]];
    let mut all: Vec<_> =
        shapes.iter().map(|w| base.with("w", BF16, w).refused(&format!("{square} {w:?}"))).collect();
    all.extend([
        base.with("z", F32, &[2, 3, 4, 6]).refused("z: wanted 5 dimensions, got f32 [2, 3, 4, 6]"),
        base.with("z", F16, &[1, 2, 3, 4, 6])
            .refused("z: wanted f32 [1, 2, 3, 4, 6], got f16 [1, 2, 3, 4, 6]"),
        base.with("w", U32, &[5, 3, 2, 2]).refused("w: wanted f32, f16 or bf16, got u32"),
        base.with("x", F32, &[2, 2, 6, 4]).refused("x: wanted f32 [2, 2, 6, 5], got f32 [2, 2, 6, 4]"),
        base.with("x", BF16, &[2, 2, 6, 5]).refused("x: wanted f32 [2, 2, 6, 5], got bf16 [2, 2, 6, 5]"),
        base.with("z", F32, &[2, 2, 3, 4, 6])
            .with("x", F32, &[3, 2, 6, 5])
            .refused("x: wanted a multiple of 2 samples, got 3"),
        base.with("bias", F32, &[6]).refused("bias: wanted f32 [5], got f32 [6]"),
        base.with("pos", F32, &[5, 6]).refused("pos: wanted f32 [6, 5], got f32 [5, 6]"),
    ]);
    all
}
