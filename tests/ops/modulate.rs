use steep::device::Gate;
use steep::ops::{Chunks, MODULATE, modulate};
use steep::{DType::*, oracle};

use crate::*;

/// Samples, rows of all samples, d.
pub const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [2, 2, 3],
    [1, 15, 16],
    [2, 32, 17],
    [3, 33, 48],
    [1, 65, 63],
    [1, 33, 64],
    [5, 65, 72],
    [2, 130, 96],
    [1, 70, 193],
];

/// At offset 0, a few roundings of f32. At offset 100 the mean is rounded to 2^-18, and every element of a row moves
/// by up to that: 1e-11 of a variance of 1, and more in rows of three, some of which vary less. A variance by
/// E[x²] − E[x]² would make it 1e-6.
pub const TWO_PASSES: [f64; 2] = [1e-13, 1e-8];

/// Neither in order nor next to each other, of six.
pub const CHUNKS: Chunks = Chunks { shift: 4, scale: 1 };

#[test]
fn agrees_with_the_oracle() {
    for dims in SHAPES {
        let [samples, rows, d] = dims;
        for (dtype, i) in FLOATS.into_iter().flat_map(|t| [(t, 0), (t, 1)]) {
            let x = normal(1, F32, rows * d, OFFSETS[i], 1.0);
            let mods = normal(2, F32, samples * 6 * d, 0.0, 1.0);
            let want = oracle::modulate(&x.wide, &mods.wide, dims, CHUNKS.shift, CHUNKS.scale);
            for on in sources(&MODULATE) {
                let shape = [samples, rows / samples, d];
                let mut out = on.out(dtype, shape);
                let (x, mods) = (on.f32(shape, &x.x), on.f32([samples, 6 * d], &mods.x));
                modulate(Gate::Open, &mut out, &x, &mods, CHUNKS).unwrap();
                close(&on.case(dtype, dims, OFFSETS[i]), "out", &out, &want, bound(dtype, TWO_PASSES[i]));
            }
        }
    }
}

/// The ε under the root is what is left of a constant row.
#[test]
fn constant_rows_become_the_shift() {
    for on in sources(&MODULATE) {
        let (mut out, x) = (on.out(F32, [1, 2, 17]), on.f32([1, 2, 17], &[7.0; 34]));
        let mods = oracle::data(1, 34, 0.0, 1.0);
        let chunks = Chunks { shift: 1, scale: 0 };
        modulate(Gate::Open, &mut out, &x, &on.f32([1, 34], &mods), chunks).unwrap();
        let case = on.case(F32, "constant", 7.0);
        assert_eq!(values(&case, &out), [&mods[17..], &mods[17..]].concat(), "{case}");
    }
}

/// Rows whose variance is of ε's order: its exact value and place matter.
#[test]
fn epsilon_is_under_the_root() {
    let (x, mods) = (normal(1, F32, 48, 0.0, 1e-3), [0.0; 32]);
    let want = oracle::modulate(&x.wide, &wide(&mods), [1, 3, 16], 0, 1);
    for on in sources(&MODULATE) {
        let mut out = on.out(F32, [1, 3, 16]);
        let chunks = Chunks { shift: 0, scale: 1 };
        modulate(Gate::Open, &mut out, &on.f32([1, 3, 16], &x.x), &on.f32([1, 32], &mods), chunks).unwrap();
        close(&on.case(F32, "small", 0.0), "out", &out, &want, TWO_PASSES[0]);
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 42, 0.0, 1.0);
    let outputs = |on: &On| [on.out(BF16, [2, 7, 3])];
    gates(&MODULATE, outputs, |on, gate, [out]| {
        let (x, mods) = (on.f32([2, 7, 3], &x), on.f32([2, 6], &x[..12]));
        modulate(gate, out, &x, &mods, Chunks { shift: 0, scale: 1 })
    });
}

#[test]
fn refused() {
    for on in sources(&MODULATE) {
        let check = |message: &str, out: Tensor, x: Tensor, mods: Tensor| {
            let chunks = Chunks { shift: 0, scale: 1 };
            refuses(&on, message, &mut [out], |[out]| modulate(Gate::Open, out, &x, &mods, chunks));
        };
        let z = |dtype, shape: [usize; 2]| on.zeros(dtype, shape);
        let (out, x, mods) = (|| on.out(F16, [2, 4]), || z(F32, [2, 4]), || z(F32, [2, 8]));
        check("modulate: x: wanted f32 [2, 4], got f16 [2, 4]", out(), z(F16, [2, 4]), mods());
        check("modulate: x: wanted f32 [3, .., d], got f32 [2, 4]", out(), x(), z(F32, [3, 8]));
        let message = "modulate: x: wanted f32 [2, .., d], got f32 [2]";
        check(message, on.out(F32, [2]), on.zeros(F32, [2]), mods());
        let message = "modulate: x: wanted f32 [2, .., d], got f32 [2, 0]";
        check(message, on.out(F32, [2, 0]), z(F32, [2, 0]), mods());
        check("modulate: out: wanted f16 [2, 4], got f16 [4, 2]", on.out(F16, [4, 2]), x(), mods());
        check("modulate: out: wanted f32, f16 or bf16, got u32", on.out(U32, [2, 4]), x(), mods());
        check("modulate: mods: wanted 2 dimensions, got f32 [16]", out(), x(), on.zeros(F32, [16]));
        let wanted = "modulate: mods: wanted f32 [2, c·4] with Chunks { shift: 0, scale: 1 }";
        check(&format!("{wanted}, got f32 [2, 7]"), out(), x(), z(F32, [2, 7]));
        check(&format!("{wanted}, got bf16 [2, 8]"), out(), x(), z(BF16, [2, 8]));
    }
}
