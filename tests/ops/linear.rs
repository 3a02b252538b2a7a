use steep::device::Gate;
use steep::ops::{Epilogue, LINEAR, linear};
use steep::{DType::*, oracle};

use crate::*;

/// Rows, k, n.
const SHAPES: [[usize; 3]; 18] = [
    [1, 1, 1],
    [1, 256, 193],
    [2, 17, 3],
    [3, 96, 97],
    [4, 33, 16],
    [15, 48, 193],
    [16, 16, 16],
    [33, 72, 96],
    [65, 193, 48],
    [130, 3, 17],
    [513, 17, 97],
    [520, 65, 1],
    [1030, 16, 7],
    // Rows of whole vectors, and ends of tiles.
    [2, 192, 132],
    [8, 36, 68],
    [9, 4, 4],
    [70, 256, 64],
    [161, 20, 196],
];

/// A sum of k ≤ 256 products in f32, then SiLU or GELU of it. At offset 100, y is about 100 and its products are a
/// hundred times as large; an output that is all far in SiLU's tail multiplies the relative error by y.
const SUM: [f64; 2] = [3e-13, 1e-11];

/// An epilogue by name, on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bias,
    Silu,
    Gelu,
    Residual,
    ResidualOnto,
}

fn check(dims: [usize; 3], kind: Kind, dtype: DType, offset: f32) {
    let [rows, k, n] = dims;
    let x = normal(1, dtype, rows * k, offset, 1.0);
    let w = normal(2, dtype, n * k, 0.0, (k as f32).sqrt().recip());
    let bias = normal(3, F32, n, 0.0, 1.0);
    let samples = (1..=4).rev().find(|b| rows % b == 0).unwrap();
    let mods = normal(4, F32, samples * 3 * n, 0.0, 1.0);
    let onto = normal(5, F32, rows * n, offset, 1.0);
    let epilogue = match kind {
        Kind::Bias => oracle::Epilogue::Bias,
        Kind::Silu => oracle::Epilogue::Silu,
        Kind::Gelu => oracle::Epilogue::Gelu,
        Kind::Residual | Kind::ResidualOnto => {
            oracle::Epilogue::Residual { mods: &mods.wide, samples, chunk: 1, onto: &onto.wide }
        }
    };
    let want = oracle::linear(&x.wide, &w.wide, &bias.wide, dims, epilogue);
    let adds = matches!(kind, Kind::Residual | Kind::ResidualOnto);
    for on in sources(&LINEAR) {
        let (x, w) = (on.tensor(dtype, [1, rows, k], &x.x), on.tensor(dtype, [n, k], &w.x));
        let (bias, mods) = (on.f32([n], &bias.x), on.f32([samples, 3 * n], &mods.x));
        let onto_tensor = on.f32([1, rows, n], &onto.x);
        for out_dtype in [dtype, F32] {
            if out_dtype != F32 && adds {
                continue;
            }
            let mut out = on.out(out_dtype, [1, rows, n]);
            let epilogue = match kind {
                Kind::Bias => Epilogue::Bias,
                Kind::Silu => Epilogue::Silu,
                Kind::Gelu => Epilogue::Gelu,
                Kind::Residual => {
                    out.write_f32(&onto.x).unwrap();
                    Epilogue::Residual { mods: &mods, chunk: 1, onto: None }
                }
                Kind::ResidualOnto => Epilogue::Residual { mods: &mods, chunk: 1, onto: Some(&onto_tensor) },
            };
            linear(Gate::Open, &mut out, &x, &w, &bias, epilogue).unwrap();
            let case = format!("{}, {kind:?} to {out_dtype}", on.case(dtype, dims, offset));
            close(&case, "out", &out, &want, bound(out_dtype, SUM[usize::from(offset > 0.0)]));
        }
    }
}

fn check_all(kind: Kind) {
    for dims in SHAPES {
        for dtype in FLOATS {
            for offset in OFFSETS {
                check(dims, kind, dtype, offset);
            }
        }
    }
}

#[test]
fn bias_agrees_with_the_oracle() {
    check_all(Kind::Bias);
}

#[test]
fn silu_agrees_with_the_oracle() {
    check_all(Kind::Silu);
}

#[test]
fn gelu_agrees_with_the_oracle() {
    check_all(Kind::Gelu);
}

#[test]
fn residual_in_place_agrees_with_the_oracle() {
    check_all(Kind::Residual);
}

#[test]
fn residual_onto_another_agrees_with_the_oracle() {
    check_all(Kind::ResidualOnto);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (x, w) = (oracle::data(1, 1100 * 65, 0.0, 1.0), oracle::data(2, 300 * 65, 0.0, 1.0));
    threads(&LINEAR, |on| {
        let mut out = on.zeros(F32, [1100, 300]);
        let (x, w) = (on.tensor(BF16, [1100, 65], &x), on.tensor(BF16, [300, 65], &w));
        linear(Gate::Open, &mut out, &x, &w, &on.zeros(F32, [300]), Epilogue::Gelu).unwrap();
        bits(&out)
    });
}

#[test]
fn gated() {
    let x = oracle::data(1, 35, 1.0, 1.0);
    let operands =
        |on: &On| (on.tensor(F16, [5, 7], &x), on.tensor(F16, [3, 7], &x[..21]), on.f32([3], &x[..3]));
    let outputs = |on: &On| [on.out(F16, [5, 3])];
    gates(&LINEAR, outputs, |on, gate, [out]| {
        let (x, w, bias) = operands(on);
        linear(gate, out, &x, &w, &bias, Epilogue::Silu)
    });
    let outputs = |on: &On| [on.inout(F32, [5, 3], &x[..15])];
    gates(&LINEAR, outputs, |on, gate, [out]| {
        let ((a, w, bias), mods) = (operands(on), on.f32([1, 3], &x[..3]));
        linear(gate, out, &a, &w, &bias, Epilogue::Residual { mods: &mods, chunk: 0, onto: None })
    });
}

#[test]
fn refused() {
    for on in sources(&LINEAR) {
        let z = |dtype, shape: [usize; 2]| on.zeros(dtype, shape);
        let check = |message: &str, out: Tensor, x: Tensor, w: Tensor, bias: Tensor| {
            refuses(&on, message, &mut [out], |[out]| linear(Gate::Open, out, &x, &w, &bias, Epilogue::Bias));
        };
        let (out, x, w) = (|| on.out(F16, [4, 3]), || z(F16, [4, 5]), || z(F16, [3, 5]));
        let bias = || on.zeros(F32, [3]);
        check("linear: w: wanted 2 dimensions, got f16 [3]", out(), x(), on.zeros(F16, [3]), bias());
        check("linear: w: wanted f16 [3, 5], got bf16 [3, 5]", out(), x(), z(BF16, [3, 5]), bias());
        check("linear: x: wanted f32, f16 or bf16, got u32", out(), z(U32, [4, 5]), w(), bias());
        check("linear: x: wanted [.., 5], got f16 [4, 6]", out(), z(F16, [4, 6]), w(), bias());
        check("linear: x: wanted [.., 0], got f16 [4, 0]", out(), z(F16, [4, 0]), z(F16, [3, 0]), bias());
        check("linear: bias: wanted f32 [3], got f16 [3]", out(), x(), w(), on.zeros(F16, [3]));
        check("linear: bias: wanted f32 [3], got f32 [4]", out(), x(), w(), on.zeros(F32, [4]));
        for (dtype, shape) in [(F16, [4, 4]), (F16, [5, 3]), (BF16, [4, 3])] {
            let message = format!("linear: out: wanted f16 or f32, 4 rows of 3, got {dtype} {shape:?}");
            check(&message, on.out(dtype, shape), x(), w(), bias());
        }

        let residual = |message: &str, out: Tensor, mods: Tensor, chunk: usize, onto: Option<Tensor>| {
            let (x, w, bias) = (z(F16, [4, 5]), z(F16, [3, 5]), bias());
            refuses(&on, message, &mut [out], |[out]| {
                let epilogue = Epilogue::Residual { mods: &mods, chunk, onto: onto.as_ref() };
                linear(Gate::Open, out, &x, &w, &bias, epilogue)
            });
        };
        let (out, mods) = (|| on.out(F32, [4, 3]), || z(F32, [2, 6]));
        let message = "linear: out: wanted f32 (residual stream), got f16";
        residual(message, on.out(F16, [4, 3]), mods(), 0, None);
        let wanted = "linear: mods: wanted f32 [B, c·3], B dividing 4, c >";
        residual(&format!("{wanted} 2, got f32 [2, 6]"), out(), mods(), 2, None);
        residual(&format!("{wanted} 0, got f32 [3, 6]"), out(), z(F32, [3, 6]), 0, None);
        residual(&format!("{wanted} 0, got f32 [0, 6]"), out(), z(F32, [0, 6]), 0, None);
        residual(&format!("{wanted} 1, got f16 [2, 6]"), out(), z(F16, [2, 6]), 1, None);
        let message = "linear: onto: wanted f32 [4, 3], got f32 [3, 4]";
        residual(message, out(), mods(), 1, Some(z(F32, [3, 4])));
        let message = "linear: onto: wanted f32 [4, 3], got bf16 [4, 3]";
        residual(message, out(), mods(), 1, Some(z(BF16, [4, 3])));
    }
}
