//! Bytes: tokens of both halves in, the clip in and out.

use super::*;
use crate::ops::{DENOISE, Update, denoise};

/// B, Z, F, C, H, W, p, P.
type Dims = [usize; 8];

const SHAPES: [Dims; 10] = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [2, 1, 1, 1, 1, 1, 1, 1],
    [2, 2, 3, 3, 6, 4, 2, 3],
    [2, 1, 2, 3, 10, 6, 2, 6],
    [4, 2, 1, 4, 9, 15, 3, 8],
    [1, 1, 5, 1, 7, 13, 1, 2],
    [6, 3, 2, 2, 16, 8, 4, 5],
    [1, 1, 1, 3, 6, 66, 2, 3],
    [2, 1, 1, 4, 4, 64, 2, 8],
    [1, 1, 1, 3, 34, 66, 2, 3],
];

const EULER: Update = Update { keep: 1.0, add: -0.05, guidance: 4.0, channels: usize::MAX };
const DDIM: Update = Update { keep: 1.037, add: -0.211, guidance: 7.5, channels: usize::MAX };
/// As facebook/DiT guides: of four channels three.
const DDIM_3: Update = Update { channels: 3, ..DDIM };
/// The clip is not read. Not the prediction itself, which may be a copy of the tokens.
const FRESH: Update = Update { keep: 0.0, add: -1.0, guidance: 1.0, channels: usize::MAX };

pub(super) const SIZES: Sizes = Sizes {
    names: &["clips", "frames", "channels", "height", "width"],
    case: |_, n| {
        // A patch that divides height and width; guidance has two halves.
        let p = if n[3] % 2 + n[4] % 2 == 0 { 2 } else { 1 };
        random([2 * n[0], n[0], n[1], n[2], n[3], n[4], p, n[2]], EULER, 0.0)
    },
    operations: |case| 6 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    for (dims, mean) in SHAPES.into_iter().flat_map(|dims| MEANS.map(|mean| (dims, mean))) {
        all.extend([EULER, DDIM, DDIM_3, FRESH].map(|update| random(dims, update, mean)));
    }
    all.push(random([2, 1, 2, 1, 4, 4, 2, 1], DDIM, 0.0).gated());
    // With g = 0 and g = 1 only one half matters, bit for bit.
    for guidance in [0.0, 1.0] {
        let tokens = given("tokens", [2, 1, 1, 4], [1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 80.0]);
        let update = Update { guidance, ..FRESH };
        all.push(
            case([2, 1, 1, 1, 2, 2, 2, 1], update, tokens, 0.0, Bound::Exact)
                .named(format!("g = {guidance}")),
        );
    }
    // The shipped model, and sixteen frames of 64×64 latents.
    for dims in [[2, 1, 16, 1, 32, 32, 8, 1], [2, 1, 16, 4, 64, 64, 2, 4]] {
        let [_, s, f, c, h, w, _, _] = dims;
        all.push(random(dims, EULER, 0.0).named(times([s, f, c, h, w])).bench());
    }
    all
}

fn random(dims: Dims, update: Update, mean: f32) -> Case {
    let [b, _, f, _, h, w, p, predicted] = dims;
    let tokens = normal("tokens", DType::F32, [b, f, h / p * (w / p), p * p * predicted], 1).around(mean);
    case(dims, update, tokens, mean, Bound::Stored(DType::F32, 1e-13))
}

fn case(dims: Dims, update: Update, tokens: Operand, mean: f32, bound: Bound) -> Case {
    let [_, s, f, c, h, w, p, _] = dims;
    let clip = normal("z", DType::F32, [s, f, c, h, w], 2).around(mean);
    let z = if update.keep == 0.0 { output("z", DType::F32, clip.shape) } else { clip };
    let call =
        move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| denoise(gate, &mut w[0], &r[0], p, update);
    let name = format!("{}, {update:?}, mean {mean}", times(dims));
    Case::new(&DENOISE, DType::F32, name, ([z], [tokens]), call, move |v| {
        let want = naive(&v.before(0), &v.read(0), dims, update);
        let why = "a few operations in f32; guidance makes what is lost in c − u up to 7.5 times as large";
        vec![Check::output("z", 0, want, bound.clone(), why)]
    })
}

/// `keep·z + add·v`, v = c or u + g·(c − u) where tokens are [c; u] → [Z, F, C, H, W]; tokens are [B, F, N, p·p·P].
fn naive(
    z: &[f64],
    tokens: &[f64],
    [batch, samples, frames, channels, height, width, p, predicted]: Dims,
    update: Update,
) -> Vec<f64> {
    let (down, across) = (height / p, width / p);
    let (keep, add) = (f64::from(update.keep), f64::from(update.add));
    let mut out = vec![];
    for s in 0..samples {
        for f in 0..frames {
            for c in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let at = |b: usize| {
                            let token = (b * frames + f) * down * across + y / p * across + x / p;
                            tokens[((token * p + y % p) * p + x % p) * predicted + c]
                        };
                        let mut v = at(s);
                        if batch > samples && c < update.channels {
                            let u = at(samples + s);
                            v = u + f64::from(update.guidance) * (v - u);
                        }
                        // At 0 the clip is not read: it may be NaN.
                        let kept = if keep == 0.0 { 0.0 } else { keep * z[out.len()] };
                        out.push(kept + add * v);
                    }
                }
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = random([4, 2, 3, 1, 4, 6, 2, 1], EULER, 0.0);
    let patch = |p| base.calling(move |gate, w, r| denoise(gate, &mut w[0], &r[0], p, EULER));
    let tokens = |dtype: DType, shape: [usize; 4], wanted: &str| {
        base.with("tokens", dtype, &shape).refused(&format!("tokens: wanted {wanted}, got {dtype} {shape:?}"))
    };
    vec![
        base.with("z", F32, &[3, 1, 4, 6]).refused("z: wanted 5 dimensions, got f32 [3, 1, 4, 6]"),
        base.with("z", F16, &[2, 3, 1, 4, 6])
            .refused("z: wanted f32 [2, 3, 1, 4, 6], got f16 [2, 3, 1, 4, 6]"),
        patch(0).refused("patch: wanted a divisor of 4 and 6, got 0"),
        patch(4).refused("patch: wanted a divisor of 4 and 6, got 4"),
        base.with("tokens", F32, &[18, 4]).refused("tokens: wanted 4 dimensions, got f32 [18, 4]"),
        tokens(F32, [4, 2, 6, 4], "f32 [4, 3, 6, 4]"),
        tokens(F32, [4, 3, 5, 4], "f32 [4, 3, 6, 4]"),
        tokens(F32, [4, 3, 6, 5], "f32 [4, 3, 6, 4]"),
        tokens(BF16, [4, 3, 6, 4], "f32 [4, 3, 6, 4]"),
        tokens(F32, [3, 3, 6, 4], "2 or 4 samples, 1 channels"),
        tokens(F32, [2, 3, 6, 0], "2 or 4 samples, 1 channels"),
    ]
}
