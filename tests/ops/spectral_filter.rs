use steep::device::Gate;
use steep::ops::{SPECTRAL_FILTER, spectral_filter};
use steep::{DType::*, oracle};

use crate::*;

/// Rows of kernels; the one that counts is the second.
fn kernels(n: usize) -> Data {
    normal(9, F32, 3 * n, 0.0, 0.5)
}

#[test]
fn agrees_with_the_oracle() {
    for [outer, n, stride] in [[1, 1, 1], [2, 3, 5], [3, 4, 17], [1, 16, 1025], [5, 7, 33], [2, 30, 64]] {
        let elements = outer * n * stride;
        let k = kernels(n);
        for dtype in FLOATS {
            let x = normal(1, dtype, elements, 0.0, 1.0);
            let want = oracle::spectral_filter(&x.wide, &k.wide[n..2 * n], stride);
            for on in sources(&SPECTRAL_FILTER) {
                let mut out = on.out(F32, [elements]);
                let x = on.tensor(dtype, [elements], &x.x);
                spectral_filter(Gate::Open, &mut out, &x, (&on.f32([3, n], &k.x), 1), stride).unwrap();
                close(&on.case(dtype, [outer, n, stride], 0.0), "out", &out, &want, 1e-12);
            }
        }
    }
}

/// Against the definition of a filter: the discrete Fourier transform along the axis, each frequency times its gain,
/// and back; in complex numbers written out, on a grid of three axes, which the op takes one by one.
#[test]
fn filters_frequencies() {
    let (dims, d) = ([3, 4, 5], 2);
    let n: usize = dims.iter().product();
    let x = normal(1, F32, n * d, 0.0, 1.0);
    let gain = |axis: usize, k: usize| 1.0 / (1.0 + (axis + 1) as f64 * k.min(dims[axis] - k) as f64);
    let mut want = x.wide.clone();
    for axis in 0..3 {
        let stride = dims[axis + 1..].iter().product::<usize>() * d;
        let before = want.clone();
        for (e, want) in want.iter_mut().enumerate() {
            let length = dims[axis];
            let (i, first) = (e / stride % length, e - e / stride % length * stride);
            let turn = |k: usize, i: usize| std::f64::consts::TAU * (k * i) as f64 / length as f64;
            let back = |k: usize| {
                let at = |j: usize| before[first + j * stride];
                let re: f64 = (0..length).map(|j| at(j) * turn(k, j).cos()).sum();
                let im: f64 = (0..length).map(|j| -at(j) * turn(k, j).sin()).sum();
                gain(axis, k) * (re * turn(k, i).cos() - im * turn(k, i).sin()) / length as f64
            };
            *want = (0..length).map(back).sum();
        }
    }
    for on in sources(&SPECTRAL_FILTER) {
        let mut x = on.f32([n * d], &x.x);
        for axis in 0..3 {
            let (length, stride) = (dims[axis], dims[axis + 1..].iter().product::<usize>() * d);
            let wave = |k: usize, i: usize| (std::f64::consts::TAU * (k * i) as f64 / length as f64).cos();
            let at = |i: usize| (0..length).map(|k| gain(axis, k) * wave(k, i)).sum::<f64>() / length as f64;
            let kernel: Vec<f32> = (0..length).map(|i| at(i) as f32).collect();
            let mut out = on.out(F32, [n * d]);
            spectral_filter(Gate::Open, &mut out, &x, (&on.f32([1, length], &kernel), 0), stride).unwrap();
            x = out;
        }
        close(&on.case(F32, dims, 0.0), "grid", &x, &want, 1e-12);
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 24, 0.0, 1.0);
    gates(
        &SPECTRAL_FILTER,
        |on| [on.out(F32, [24])],
        |on, gate, [out]| {
            spectral_filter(gate, out, &on.f32([24], &x), (&on.f32([1, 3], &[1.0, 0.5, 0.25]), 0), 4)
        },
    );
}

#[test]
fn refused() {
    for on in sources(&SPECTRAL_FILTER) {
        let check = |message: &str, out: Tensor, x: Tensor, kernels: Tensor, step, stride| {
            refuses(&on, message, &mut [out], |[out]| {
                spectral_filter(Gate::Open, out, &x, (&kernels, step), stride)
            });
        };
        let (t, k) = (|dtype| on.zeros(dtype, [12]), || on.zeros(F32, [2, 3]));
        let name = "spectral_filter";
        check(&format!("{name}: x: wanted f32, f16 or bf16, got u32"), t(F32), t(U32), k(), 0, 4);
        check(&format!("{name}: out: wanted f32 [12], got f16 [12]"), t(F16), t(F16), k(), 0, 4);
        check(&format!("{name}: step: wanted less than 2, got 2"), t(F32), t(F32), k(), 2, 4);
        let wanted = "3 rows of it to divide 12 elements";
        check(&format!("{name}: stride: wanted {wanted}, got 5"), t(F32), t(F32), k(), 0, 5);
        check(&format!("{name}: stride: wanted {wanted}, got 0"), t(F32), t(F32), k(), 0, 0);
        let halves = on.zeros(F16, [2, 3]);
        check(&format!("{name}: kernels: wanted f32 [2, 3], got f16 [2, 3]"), t(F32), t(F32), halves, 0, 4);
    }
}
