//! Ops that are matrix products at heart.

use steep::ops::Over;
use steep::oracle;

use crate::source::{Call, each};
use crate::*;

/// B, Z, F, C, H, W, p, d. A sum of C·p·p + 2 ≤ 34 terms in f32.
#[test]
fn patch_embed() {
    let shapes = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [2, 1, 2, 3, 6, 4, 2, 17],
        [1, 1, 3, 4, 8, 10, 2, 72],
        [4, 2, 1, 3, 9, 15, 3, 130],
        [1, 1, 1, 2, 5, 13, 1, 66],
    ];
    for dims in shapes {
        let [b, s, f, c, h, w, p, d] = dims;
        let tokens = (h / p) * (w / p);
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let z = normal(1, F32, s * f * c * h * w, offset, 1.0);
            let weights = normal(2, dtype, d * c * p * p, 0.0, 0.3);
            let (bias, pos) = (normal(3, F32, d, 0.0, 1.0), normal(4, F32, tokens * d, 0.0, 1.0));
            let want = oracle::patch_embed(&z.wide, &weights.wide, &bias.wide, &pos.wide, dims);
            let fields = [s, f, c, h, w, p, d, b * f * tokens].map(|x| x as u32);
            let call = Call {
                work: [1, b * f * tokens, d],
                writes: vec![unwritten(F32, b * f * tokens * d)],
                reads: [&z, &weights, &bias, &pos].map(Data::bytes).to_vec(),
                params: fields.iter().flat_map(|x| x.to_le_bytes()).collect(),
                ..Call::default()
            };
            each("patch_embed", (dtype, F32), &call, &[1, 2], |case, out| {
                close(&format!("{case}, offset {offset}"), F32, &out[0], &want, 1e-13);
            });
        }
    }
}

/// Rows, k, n.
const LINEAR: [[usize; 3]; 6] =
    [[1, 1, 1], [5, 17, 3], [3, 96, 97], [65, 24, 40], [16, 72, 193], [130, 8, 136]];

/// A sum of k ≤ 96 products in f32, then SiLU or GELU of it. At offset 100, y is about 100 and its products
/// are a hundred times as large; an output that is all far in SiLU's tail multiplies the relative error by y.
const SUM: [f64; 2] = [3e-13, 1e-11];

/// Bias, SiLU, GELU, gate-and-add in place and onto another tensor, as `Params.epilogue` numbers them.
fn linear(epilogue: u32) {
    for (dims, (dtype, i)) in
        LINEAR.into_iter().flat_map(|d| FLOATS.map(|t| [(d, (t, 0)), (d, (t, 1))]).concat())
    {
        let [rows, k, n] = dims;
        let offset = OFFSETS[i];
        let x = normal(1, dtype, rows * k, offset, 1.0);
        let w = normal(2, dtype, n * k, 0.0, (k as f32).sqrt().recip());
        let bias = normal(3, F32, n, 0.0, 1.0);
        let samples = (1..=4).rev().find(|b| rows % b == 0).unwrap();
        let mods = normal(4, F32, samples * 3 * n, 0.0, 1.0);
        let onto = normal(5, F32, rows * n, offset, 1.0);
        let gate = oracle::Epilogue::Residual { mods: &mods.wide, samples, chunk: 1, onto: &onto.wide };
        let (kind, gated) = match epilogue {
            0 => (oracle::Epilogue::Bias, false),
            1 => (oracle::Epilogue::Silu, false),
            2 => (oracle::Epilogue::Gelu, false),
            _ => (gate, true),
        };
        let want = oracle::linear(&x.wide, &w.wide, &bias.wide, dims, kind);
        for out_dtype in [dtype, F32] {
            // The residual stream is f32; and f32 once is enough.
            if (out_dtype != F32 && gated) || (dtype == F32 && out_dtype != dtype) {
                continue;
            }
            let unused = bias.bytes();
            let reads = [x.bytes(), w.bytes(), bias.bytes()];
            let last = match epilogue {
                3 => [mods.bytes(), unused],
                4 => [mods.bytes(), onto.bytes()],
                _ => [unused.clone(), unused],
            };
            let of_mods = if gated { [rows / samples, 3 * n, n] } else { [1, 0, 0] };
            let [per_sample, columns, at] = of_mods.map(|x| x as u32);
            let call = Call {
                work: [1, rows, n],
                multiple: if k % 8 == 0 { 8 } else { 1 },
                writes: vec![if epilogue == 3 { onto.bytes() } else { unwritten(out_dtype, rows * n) }],
                reads: reads.into_iter().chain(last).collect(),
                params: params![rows as u32, n as u32, k as u32, epilogue, per_sample, columns, at],
                ..Call::default()
            };
            each("linear", (dtype, out_dtype), &call, &[1, 2], |case, out| {
                let case = format!("{case}, k {k}, epilogue {epilogue}, offset {offset}");
                close(&case, out_dtype, &out[0], &want, bound(out_dtype, SUM[i]));
            });
        }
    }
}

#[test]
fn linear_bias() {
    linear(0);
}

#[test]
fn linear_silu() {
    linear(1);
}

#[test]
fn linear_gelu() {
    linear(2);
}

#[test]
fn linear_residual_in_place() {
    linear(3);
}

#[test]
fn linear_residual_onto_another() {
    linear(4);
}

/// B, F, N, heads, h, and over what. Heads of 8 channels and of 128, short and long sequences, whole tiles
/// and tails.
const ATTENTION: [([usize; 5], Over); 8] = [
    ([1, 1, 1, 1, 3], Over::Tokens),
    ([1, 3, 2, 2, 3], Over::Frames),
    ([1, 1, 16, 2, 8], Over::Tokens),
    ([1, 1, 130, 1, 8], Over::Tokens),
    ([1, 17, 2, 1, 72], Over::Frames),
    ([2, 1, 5, 2, 72], Over::Tokens),
    ([1, 1, 70, 1, 64], Over::Tokens),
    ([1, 35, 1, 1, 128], Over::Frames),
];

/// The exponential is good to two units in the last place; a score is to its rounding, which moves the
/// weights by as much: 1e-7 where scores are about 1. Keys with a mean of 100 add the same hundreds to all
/// scores of a query: that must cancel, but leaves an error of 1e-5.
const SOFTMAX: [f64; 2] = [3e-12, 1e-9];

/// Queries, keys and values of `[rows, dim]` next to each other; the scores are as large as `q_scale` makes
/// them.
fn attend(dims: [usize; 5], over: Over, dtype: DType, [q_scale, k_offset]: [f32; 2], f32: f64) {
    let [b, f, n, heads, h] = dims;
    let (rows, dim) = (b * f * n, heads * h);
    let q = normal(1, dtype, rows * dim, 0.0, q_scale);
    let (k, v) = (normal(2, dtype, rows * dim, k_offset, 1.0), normal(3, dtype, rows * dim, 0.0, 1.0));
    let row = |i: usize| [&q, &k, &v].map(|part| &part.x[i * dim..(i + 1) * dim]).concat();
    let packed = Data::new(dtype, &(0..rows).flat_map(row).collect::<Vec<_>>());
    let want = oracle::attention(&packed.wide, dims, over);
    let (sequences, length, fields) = match over {
        Over::Tokens => (b * f, n, [n, 1, 1, n, heads, h]),
        Over::Frames => (b * n, f, [f, n, n, f * n, heads, h]),
    };
    let call = Call {
        work: [sequences, heads, length],
        multiple: if h % 8 == 0 { 8 } else { 1 },
        writes: vec![unwritten(dtype, rows * dim)],
        reads: vec![packed.bytes()],
        params: fields.iter().flat_map(|x| (*x as u32).to_le_bytes()).collect(),
        head: h,
    };
    each("attention", (dtype, dtype), &call, &[1, 2], |case, out| {
        let case = format!("{case}, h {h}, scores about {q_scale}, keys about {k_offset}");
        close(&case, dtype, &out[0], &want, bound(dtype, f32));
    });
}

#[test]
fn attention() {
    for (dims, over) in ATTENTION {
        for (dtype, i) in FLOATS.into_iter().flat_map(|t| [(t, 0), (t, 1)]) {
            attend(dims, over, dtype, [1.0, OFFSETS[i]], SOFTMAX[i]);
        }
    }
}

/// Without the maximum taken off, e^score is infinite.
#[test]
fn attention_to_large_scores() {
    for dtype in FLOATS {
        attend([1, 1, 40, 2, 64], Over::Tokens, dtype, [30.0, 0.0], 1e-11);
    }
}
