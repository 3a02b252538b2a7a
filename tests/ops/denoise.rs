use steep::device::Gate;
use steep::ops::{DENOISE, Update, denoise};
use steep::{DType::*, oracle};

use crate::*;

/// B, Z, F, C, H, W, p, P.
const SHAPES: [[usize; 8]; 8] = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [2, 1, 1, 1, 1, 1, 1, 1],
    [2, 2, 3, 3, 6, 4, 2, 3],
    [2, 1, 2, 3, 10, 6, 2, 6],
    [4, 2, 1, 4, 9, 15, 3, 8],
    [1, 1, 5, 1, 7, 13, 1, 2],
    [6, 3, 2, 2, 16, 8, 4, 5],
    [1, 1, 1, 3, 34, 66, 2, 3],
];

const EULER: Update = Update { keep: 1.0, add: -0.05, guidance: 4.0 };
const DDIM: Update = Update { keep: 1.037, add: -0.211, guidance: 7.5 };
/// The prediction itself: the clip is not read.
const PREDICTION: Update = Update { keep: 0.0, add: 1.0, guidance: 1.0 };

/// A few operations in f32; guidance makes what is lost in c − u up to 7.5 times as large.
const SUM: f64 = 1e-13;

#[test]
fn agrees_with_the_oracle() {
    for dims in SHAPES {
        let [b, s, f, c, h, w, p, predicted] = dims;
        let (tokens, token) = ((h / p) * (w / p), p * p * predicted);
        for offset in OFFSETS {
            let x = normal(1, F32, b * f * tokens * token, offset, 1.0);
            let z = normal(2, F32, s * f * c * h * w, offset, 1.0);
            for update in [EULER, DDIM, PREDICTION] {
                let want = oracle::denoise(&z.wide, &x.wide, dims, update);
                for on in sources(&DENOISE) {
                    let mut out = on.out(F32, [s, f, c, h, w]);
                    if update.keep != 0.0 {
                        out.write_f32(&z.x).unwrap();
                    }
                    let x = on.f32([b, f, tokens, token], &x.x);
                    denoise(Gate::Open, &mut out, &x, p, update).unwrap();
                    let case = format!("{}, {update:?}", on.case(F32, dims, offset));
                    close(&case, "z", &out, &want, SUM);
                }
            }
        }
    }
}

/// With g = 0 and g = 1 only one half matters, bit for bit.
#[test]
fn guidance_picks_halves() {
    let (c, u) = ([1.0, 2.0, 3.0, 4.0], [50.0, 60.0, 70.0, 80.0]);
    for on in sources(&DENOISE) {
        for (guidance, want) in [(0.0, u), (1.0, c)] {
            let (mut z, tokens) = (on.out(F32, [1, 1, 1, 2, 2]), on.f32([2, 1, 1, 4], &[c, u].concat()));
            denoise(Gate::Open, &mut z, &tokens, 2, Update { guidance, ..PREDICTION }).unwrap();
            assert_eq!(values("guidance", &z), want);
        }
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 64, 0.0, 1.0);
    let outputs = |on: &On| [on.inout(F32, [1, 2, 1, 4, 4], &x[..32])];
    gates(&DENOISE, outputs, |on, gate, [z]| denoise(gate, z, &on.f32([2, 2, 4, 4], &x), 2, DDIM));
}

#[test]
fn refused() {
    for on in sources(&DENOISE) {
        let check = |message: &str, z: Tensor, tokens: Tensor, p: usize| {
            refuses(&on, message, &mut [z], |[z]| denoise(Gate::Open, z, &tokens, p, EULER));
        };
        let z = || on.out(F32, [2, 3, 1, 4, 6]);
        let tokens = |dtype, shape: [usize; 4]| on.zeros(dtype, shape);
        let good = || tokens(F32, [4, 3, 6, 4]);
        let message = "denoise: z: wanted 5 dimensions, got f32 [3, 1, 4, 6]";
        check(message, on.out(F32, [3, 1, 4, 6]), good(), 2);
        let message = "denoise: z: wanted f32 [2, 3, 1, 4, 6], got f16 [2, 3, 1, 4, 6]";
        check(message, on.out(F16, [2, 3, 1, 4, 6]), good(), 2);
        check("denoise: patch: wanted a divisor of 4 and 6, got 0", z(), good(), 0);
        check("denoise: patch: wanted a divisor of 4 and 6, got 4", z(), good(), 4);
        let message = "denoise: tokens: wanted 4 dimensions, got f32 [18, 4]";
        check(message, z(), on.zeros(F32, [18, 4]), 2);
        let wanted = "denoise: tokens: wanted f32 [4, 3, 6, 4]";
        for shape in [[4, 2, 6, 4], [4, 3, 5, 4], [4, 3, 6, 5]] {
            check(&format!("{wanted}, got f32 {shape:?}"), z(), tokens(F32, shape), 2);
        }
        check(&format!("{wanted}, got bf16 [4, 3, 6, 4]"), z(), tokens(BF16, [4, 3, 6, 4]), 2);
        let wanted = "denoise: tokens: wanted 2 or 4 samples, 1 channels";
        check(&format!("{wanted}, got f32 [3, 3, 6, 4]"), z(), tokens(F32, [3, 3, 6, 4]), 2);
        check(&format!("{wanted}, got f32 [2, 3, 6, 0]"), z(), tokens(F32, [2, 3, 6, 0]), 2);
    }
}
