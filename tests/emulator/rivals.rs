//! Ops that only some cache policies need.

use steep::oracle;

use crate::source::{Call, each};
use crate::*;

const SIZES: [usize; 6] = [1, 7, 8, 40, 2049, 4101];

/// Each f32 operation rounds once: a few 2^-24 of the largest term, squared.
const FEW_ROUNDINGS: f64 = 1e-13;

#[test]
fn residual_extrapolate() {
    // Which of the steps before computed: none, one, two in a row, and with skips between.
    let pasts: [&[bool]; 5] =
        [&[], &[true], &[true, true], &[true, false, true, false, false], &[true, false, true, true, false]];
    for (n, past) in SIZES.into_iter().zip(pasts.into_iter().cycle()) {
        let all = [1, 2, 3].map(|seed| normal(seed, F32, n, 10.0, 1.0));
        let [input, residual, before] = &all;
        let steps = past.len();
        // Decisions stand in the last column; this step's row is not written yet.
        let row = |computed: bool| [f32::NAN, f32::NAN, 0.0, f32::from(u8::from(computed))];
        let trace: Vec<f32> = past.iter().map(|&c| row(c)).chain([row(true)]).flatten().collect();
        let trace = Data::new(F32, &trace);
        let call = Call {
            work: [1, 1, n],
            writes: vec![unwritten(F32, n)],
            reads: vec![input.bytes(), residual.bytes(), before.bytes(), trace.bytes()],
            params: params![n as u32, steps as u32],
            ..Call::default()
        };
        let want = oracle::residual_extrapolate(&input.wide, &residual.wide, &before.wide, past);
        each("residual_extrapolate", (F32, F32), &call, &[1, 2], |case, out| {
            close(&format!("{case}, {past:?}"), F32, &out[0], &want, FEW_ROUNDINGS);
        });
    }
}

#[test]
fn residual_distance() {
    for (n, runs) in SIZES.into_iter().zip([1, 3, 4, 7, 2, 5]) {
        let [out, input, kept] = [1, 2, 3].map(|seed| normal(seed, F32, n, 100.0, 1.0));
        let want = oracle::residual_distance(&out.wide, &input.wide, &kept.wide);
        let call = Call {
            work: [1, 1, runs],
            writes: vec![unwritten(F32, 2 * runs)],
            reads: [&out, &input, &kept].map(Data::bytes).to_vec(),
            params: params![n as u32, runs as u32],
            ..Call::default()
        };
        each("residual_distance", (F32, F32), &call, &[1, 2], |case, out| {
            let sums = totals(&out[0]);
            relative(&format!("{case}, {n} change"), sums[0], want[0], 1e-6);
            relative(&format!("{case}, {n} size"), sums[1], want[1], 1e-6);
        });
    }
}

#[test]
fn easy_distance() {
    for pairs in [1, 7, 255, 256, 600] {
        let sums = [1, 2, 3, 4].map(|seed| normal(seed, F32, 2 * pairs, 4.0, 1.0));
        let [moved, inputs, outputs, sizes] = sums.each_ref().map(|x| &x.wide[..]);
        let want = oracle::easy_distance(moved, inputs, outputs, sizes);
        let call = Call {
            work: [1, 1, 1],
            writes: vec![unwritten(F32, 2)],
            reads: sums.each_ref().map(Data::bytes).to_vec(),
            params: params![pairs as u32],
            ..Call::default()
        };
        each("easy_distance", (F32, F32), &call, &[1, 2], |case, out| {
            let pair = wide(&from_bytes(F32, &out[0]));
            relative(&format!("{case}, {pairs} change"), pair[0], want[0], 1e-6);
            relative(&format!("{case}, {pairs} size"), pair[1], want[1], 1e-6);
        });
    }
}

#[test]
fn norm_ratio() {
    for (rows, dim, runs) in [(1usize, 1, 1), (5, 3, 2), (16, 72, 3), (9, 264, 4), (3, 1100, 7)] {
        let (cur, prev) = (normal(1, F32, rows * dim, 1.0, 1.0), normal(2, F32, rows * dim, 1.0, 2.0));
        let want = oracle::norm_ratio(&cur.wide, &prev.wide, dim);
        let call = Call {
            work: [1, 1, runs],
            writes: vec![unwritten(F32, runs)],
            reads: vec![cur.bytes(), prev.bytes()],
            params: params![rows as u32, dim as u32, runs as u32],
            ..Call::default()
        };
        each("norm_ratio", (F32, F32), &call, &[1, 2], |case, out| {
            let sum: f64 = wide(&from_bytes(F32, &out[0])).iter().sum();
            relative(&format!("{case}, {rows} rows of {dim}"), sum, want, 1e-6);
        });
    }
}

/// A sum of `places` products in f32.
#[test]
fn spectral_filter() {
    for (outer, places, stride) in [(1usize, 1, 1), (2, 3, 5), (3, 4, 24), (1, 16, 40), (2, 2, 1100)] {
        for dtype in FLOATS {
            let n = outer * places * stride;
            let (x, kernels) = (normal(1, dtype, n, 10.0, 1.0), normal(2, F32, 3 * places, 0.1, 1.0));
            let step = 2;
            let want = oracle::spectral_filter(&x.wide, &kernels.wide[step * places..], stride);
            let call = Call {
                work: [outer, places, stride],
                writes: vec![unwritten(F32, n)],
                reads: vec![x.bytes(), kernels.bytes()],
                params: params![outer as u32, places as u32, stride as u32, step as u32],
                ..Call::default()
            };
            each("spectral_filter", (dtype, F32), &call, &[1, 2], |case, out| {
                close(case, F32, &out[0], &want, 1e-12);
            });
        }
    }
}
