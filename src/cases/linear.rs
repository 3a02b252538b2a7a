//! FLOPs: 2·rows·n·k. Very large products are verified for sixteen rows from the first to the last.

use super::label_embed::silu;
use super::*;
use crate::ops::{Epilogue, LINEAR, linear};

/// Rows, k, n.
type Dims = [usize; 3];

const SHAPES: [Dims; 24] = [
    [1, 1, 1],
    [1, 256, 193],
    [2, 17, 3],
    [5, 17, 3],
    [3, 96, 97],
    [4, 33, 16],
    [15, 48, 193],
    [16, 16, 16],
    // More tiles of k than there are places for them in shared memory.
    [17, 264, 40],
    [16, 72, 193],
    [33, 72, 96],
    [65, 193, 48],
    [65, 24, 40],
    [130, 3, 17],
    [130, 8, 136],
    [513, 17, 97],
    [520, 65, 1],
    [1030, 16, 7],
    // Rows of whole vectors, and ends of tiles.
    [2, 192, 132],
    [8, 36, 68],
    [9, 4, 4],
    [70, 256, 64],
    [161, 20, 196],
    // Sums that wait for a second part of the depth.
    [13, 1301, 35],
];

/// Weights as a model has them: few rows, one panel and several, an odd number of them, several parts of the depth.
const ARRANGED: [Dims; 6] =
    [[1, 40, 16], [3, 34, 48], [5, 17, 32], [13, 2602, 48], [61, 194, 80], [600, 66, 608]];

/// Whole tiles and tails of each CUDA source, and one in which a place in shared memory is used again.
const EMULATED: [Dims; 7] =
    [[1, 1, 1], [5, 17, 3], [3, 96, 97], [65, 24, 40], [16, 72, 193], [130, 8, 136], [17, 264, 40]];

/// What is done with y = x·wᵀ + bias.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Bias,
    Silu,
    Gelu,
    /// Onto the output itself.
    Residual,
    /// Onto another tensor.
    ResidualOnto,
}
use Then::*;

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "n", "k"],
    case: |dtype, n| pass(case([dtype; 2], [n[0], n[2], n[1]], Bias, (1, 1), 0.0), n[0]),
    operations: |case| case.flops.max(2 * case.longest()),
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let f32 = DType::F32;
    let mut all = vec![];
    for (dims, mean) in SHAPES.into_iter().flat_map(|dims| MEANS.map(|mean| (dims, mean))) {
        let samples = (1..=4).rev().find(|b| dims[0] % b == 0).expect("1 divides all");
        for then in [Bias, Silu, Gelu, Residual, ResidualOnto] {
            let residual = matches!(then, Residual | ResidualOnto);
            // The residual stream is f32.
            let outs = [dtype, f32].into_iter().skip(usize::from(residual || dtype == f32));
            for out in outs {
                let name = format!("{}, {then:?} to {out}, mean {mean}", times(dims));
                let case = case([dtype, out], dims, then, (samples, 1), mean).named(name);
                // What is done with a sum does not depend on how it was rounded.
                let emulated = EMULATED.contains(&dims) && (mean == 0.0 || then == Bias);
                all.push(Case { emulated, ..case });
            }
        }
    }
    for dims in ARRANGED {
        for out in [dtype, f32] {
            let case = case([dtype, out], dims, Bias, (1, 1), 0.0);
            all.push(Case {
                emulated: false,
                ..case.named(format!("{} arranged to {out}", times(dims))).arranged()
            });
        }
    }
    // Many tiles.
    all.push(Case { emulated: false, ..case([dtype, f32], [1100, 65, 300], Gelu, (4, 1), 0.0) });
    // Several layers of blocks.
    for then in [Silu, Residual] {
        let out = if then == Silu { dtype } else { f32 };
        all.push(case([dtype, out], [135, 16, 136], then, (5, 1), 0.0).gated());
    }
    all.push(case([dtype, dtype], [128, 64, 128], Bias, (1, 1), 0.0).named("128×128×64").count());
    for (name, dims, then) in [
        // The shipped model.
        ("mods ", [2, 192, 1152], Bias),
        ("qkv ", [512, 192, 576], Bias),
        ("proj ", [512, 192, 192], Residual),
        ("fc1 ", [512, 192, 768], Gelu),
        ("fc2 ", [512, 768, 192], Residual),
        ("", [1024, 1024, 1024], Bias),
    ] {
        // What goes back into the residual stream is f32, and so is modulation.
        let out = if then == Residual || name == "mods " { f32 } else { dtype };
        let [rows, k, n] = dims;
        let case = case([dtype, out], dims, then, (2, 2), 0.0).named(format!("{name}{rows}×{n}×{k}")).bench();
        let case = if name.is_empty() { case } else { case.arranged() };
        all.push(pass(case, rows));
    }
    all
}

/// A row per clip: the product is a pass over the weights.
fn pass(case: Case, rows: usize) -> Case {
    if rows > 2 { case } else { case.flops(0) }
}

/// α is chunk `at` of 3·at of a sample's modulation.
fn case([dtype, out]: [DType; 2], dims: Dims, then: Then, (samples, at): (usize, usize), mean: f32) -> Case {
    let [rows, k, n] = dims;
    let onto = normal("out", DType::F32, [1, rows, n], 5).around(mean);
    let written = if then == Residual { onto.clone() } else { output("out", out, [1, rows, n]) };
    let mut reads = vec![
        normal("x", dtype, [1, rows, k], 1).around(mean),
        // A seed with which not all outputs are so far in the tail of SiLU that they are 0, as a kernel of zeros has it.
        normal("w", dtype, [n, k], 10).spread((k as f32).sqrt().recip()),
        normal("bias", DType::F32, [n], 3),
    ];
    if matches!(then, Residual | ResidualOnto) {
        reads.push(normal("mods", DType::F32, [samples, 3 * at * n], 4).touching(samples * n));
    }
    if then == ResidualOnto {
        reads.push(Operand { name: "onto", ..onto });
    }
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let epilogue = match then {
            Bias => Epilogue::Bias,
            Silu => Epilogue::Silu,
            Gelu => Epilogue::Gelu,
            Residual | ResidualOnto => Epilogue::Residual { mods: &r[3], chunk: at, onto: r.get(4) },
        };
        linear(gate, &mut w[0], &r[0], &r[1], &r[2], epilogue)
    };
    Case::new(&LINEAR, dtype, times([rows, n, k]), ([written], reads), call, move |v| {
        let some = if rows * k * n > 1 << 27 { 16 } else { rows };
        let some: Vec<usize> = (0..some).map(|i| i * (rows - 1) / (some - 1).max(1)).collect();
        let want = naive(v, dims, &some, then, (samples, at));
        let elements = some.iter().flat_map(|i| i * n..(i + 1) * n).collect();
        let sum = if mean == 0.0 { 3e-13 } else { 1e-11 } * (k as f64 / 256.0).max(1.0);
        let why = "a sum of k products in f32, then SiLU or GELU of it; around 100, y is about 100 and its products are \
            a hundred times as large, and an output far in SiLU's tail multiplies the relative error by y";
        let of = if some.len() < rows { Of::Elements(0, elements) } else { Of::Output(0) };
        vec![Check { what: "out", of, want, bound: Bound::Stored(out, sum), why }]
    })
    .flops(2 * rows * n * k)
}

/// ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
fn gelu(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + u.tanh())
}

/// Some rows of `epilogue(x·wᵀ + bias)`, n wide; row i is of sample i / (rows / samples).
fn naive(
    v: &Values,
    [rows, k, n]: Dims,
    some: &[usize],
    then: Then,
    (samples, at): (usize, usize),
) -> Vec<f64> {
    let (x, w, bias) = (v.read(0), v.read(1), v.read(2));
    let onto = match then {
        Residual => v.before(0),
        ResidualOnto => v.read(4),
        _ => vec![],
    };
    let mods = if onto.is_empty() { vec![] } else { v.read(3) };
    let mut out = vec![];
    for &i in some {
        for j in 0..n {
            let mut y = bias[j];
            for c in 0..k {
                y += x[i * k + c] * w[j * k + c];
            }
            out.push(match then {
                Bias => y,
                Silu => silu(y),
                Gelu => gelu(y),
                Residual | ResidualOnto => {
                    let sample = i / (rows / samples);
                    onto[i * n + j] + mods[(sample * 3 * at + at) * n + j] * y
                }
            });
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = |then, out| {
        let case = case([F16, out], [4, 5, 3], then, (2, 1), 0.0);
        case.with("out", out, &[4, 3]).with("x", F16, &[4, 5])
    };
    let (plain, onto) = (base(Bias, F16), base(ResidualOnto, F32).with("onto", F32, &[4, 3]));
    let residual = base(Residual, F32).with("mods", F32, &[2, 6]);
    let out = "out: wanted f16 or f32, 4 rows of 3, got";
    let mods = "mods: wanted f32 [B, c·3], B dividing 4, c >";
    let past = residual.calling(|gate, w, r| {
        let epilogue = Epilogue::Residual { mods: &r[3], chunk: 2, onto: None };
        linear(gate, &mut w[0], &r[0], &r[1], &r[2], epilogue)
    });
    vec![
        plain.with("w", F16, &[3]).refused("w: wanted 2 dimensions, got f16 [3]"),
        plain.with("w", BF16, &[3, 5]).refused("w: wanted f16 [3, 5], got bf16 [3, 5]"),
        plain.with("x", U32, &[4, 5]).refused("x: wanted f32, f16 or bf16, got u32"),
        plain.with("x", F16, &[4, 6]).refused("x: wanted [.., 5], got f16 [4, 6]"),
        plain.with("x", F16, &[4, 0]).with("w", F16, &[3, 0]).refused("x: wanted [.., 0], got f16 [4, 0]"),
        plain.with("bias", F16, &[3]).refused("bias: wanted f32 [3], got f16 [3]"),
        plain.with("bias", F32, &[4]).refused("bias: wanted f32 [3], got f32 [4]"),
        plain.with("out", F16, &[4, 4]).refused(&format!("{out} f16 [4, 4]")),
        plain.with("out", F16, &[5, 3]).refused(&format!("{out} f16 [5, 3]")),
        plain.with("out", BF16, &[4, 3]).refused(&format!("{out} bf16 [4, 3]")),
        residual.with("out", F16, &[4, 3]).refused("out: wanted f32 (residual stream), got f16"),
        past.refused(&format!("{mods} 2, got f32 [2, 6]")),
        residual.with("mods", F32, &[3, 6]).refused(&format!("{mods} 1, got f32 [3, 6]")),
        residual.with("mods", F32, &[0, 6]).refused(&format!("{mods} 1, got f32 [0, 6]")),
        residual.with("mods", F16, &[2, 6]).refused(&format!("{mods} 1, got f16 [2, 6]")),
        onto.with("onto", F32, &[3, 4]).refused("onto: wanted f32 [4, 3], got f32 [3, 4]"),
        onto.with("onto", BF16, &[4, 3]).refused("onto: wanted f32 [4, 3], got bf16 [4, 3]"),
    ]
}
