//! Bytes: a signal in, what is left of it out; each element is read once for each place of the axis, from a cache.

use super::*;
use crate::ops::{SPECTRAL_FILTER, spectral_filter};

/// How many rows of neighbours, places of the axis, elements of a row.
type Dims = [usize; 3];

const SHAPES: [Dims; 9] = [
    [1, 1, 1],
    [2, 3, 5],
    [3, 4, 17],
    [3, 4, 24],
    [1, 16, 40],
    [1, 16, 1025],
    [2, 2, 1100],
    [5, 7, 33],
    [2, 30, 64],
];

pub(super) const SIZES: Sizes = Sizes {
    names: &["outer", "n", "stride"],
    case: |dtype, n| case(dtype, [n[0], n[1], n[2]], 0.0),
    operations: |case| 2 * case.longest() * case.reads[1].shape.dims()[1],
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all: Vec<_> = SHAPES.map(|dims| case(dtype, dims, 0.0)).into();
    all.push(case(dtype, [3, 4, 24], 10.0));
    // Several layers of blocks.
    all.push(case(dtype, [3, 2, 1030], 0.0).gated());
    // The shipped model's axis of frames, and its axis of columns.
    let benches = [[2, 16, 16 * 192], [128, 4, 192]];
    all.extend(benches.map(|dims| case(dtype, dims, 0.0).named(times(dims)).bench()));
    all
}

/// Of three rows of kernels, the last one counts.
fn case(dtype: DType, dims: Dims, mean: f32) -> Case {
    let [outer, n, stride] = dims;
    let elements = outer * n * stride;
    let operands = (
        [output("out", DType::F32, [elements])],
        [
            normal("x", dtype, [elements], 1).around(mean),
            normal("kernels", DType::F32, [3, n], 9).spread(0.5).touching(n),
        ],
    );
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        spectral_filter(gate, &mut w[0], &r[0], (&r[1], 2), stride)
    };
    let name = format!("{}, mean {mean}", times(dims));
    Case::new(&SPECTRAL_FILTER, dtype, name, operands, call, move |v| {
        let want = naive(&v.read(0), &v.read(1)[2 * n..], stride);
        vec![Check::output("out", 0, want, Bound::Stored(DType::F32, 1e-12), "a sum of n products in f32")]
    })
}

/// `out[o, i, c] = Σ_j kernel[(i − j) mod n]·x[o, j, c]`; `stride` is the number of c.
fn naive(x: &[f64], kernel: &[f64], stride: usize) -> Vec<f64> {
    let n = kernel.len();
    let at = |e: usize| {
        let (c, i, o) = (e % stride, e / stride % n, e / stride / n);
        (0..n).map(|j| kernel[(i + n - j) % n] * x[(o * n + j) * stride + c]).sum()
    };
    (0..x.len()).map(at).collect()
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let [base, halves] = [F32, F16].map(|dtype| case(dtype, [1, 3, 4], 0.0));
    let calling = |step, stride| {
        base.calling(move |gate, w, r| spectral_filter(gate, &mut w[0], &r[0], (&r[1], step), stride))
    };
    let stride = "stride: wanted 3 rows of it to divide 12 elements, got";
    vec![
        base.with("x", U32, &[12]).refused("x: wanted f32, f16 or bf16, got u32"),
        halves.with("out", F16, &[12]).refused("out: wanted f32 [12], got f16 [12]"),
        calling(3, 4).refused("step: wanted less than 3, got 3"),
        calling(0, 5).refused(&format!("{stride} 5")),
        calling(0, 0).refused(&format!("{stride} 0")),
        base.with("kernels", F16, &[3, 3]).refused("kernels: wanted f32 [3, 3], got f16 [3, 3]"),
    ]
}
