//! FLOPs: 2·rows·n·k. Verified for sixteen rows from the first to the last, all columns.

use steep::device::Gate;
use steep::ops::{Epilogue, linear};
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, Pair, Values, normal, tolerance};

const SAMPLES: usize = 2;
/// Of the six chunks of a block's modulation, the gate of its attention.
const GATE: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Bias,
    Gelu,
    /// Onto the output itself.
    Residual,
}

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    [
        // The shipped model.
        ("mods", [2, 192, 1152], Then::Bias),
        ("qkv", [512, 192, 576], Then::Bias),
        ("proj", [512, 192, 192], Then::Residual),
        ("fc1", [512, 192, 768], Then::Gelu),
        ("fc2", [512, 768, 192], Then::Residual),
        ("", [1024, 1024, 1024], Then::Bias),
    ]
    .map(|(name, dims, then)| case(device, dtype, name, dims, then))
    .into_iter()
    .collect()
}

/// Dimensions are [rows, k, n].
fn case(device: &Device, dtype: DType, name: &str, dims: [usize; 3], then: Then) -> Result<Case> {
    let [rows, k, n] = dims;
    let weights = oracle::data(2, n * k, 0.0, 1.0 / (k as f32).sqrt());
    // What goes back into the residual stream is f32, and so is modulation.
    let stored = if then == Then::Residual || name == "mods" { DType::F32 } else { dtype };
    let passes = if then == Then::Residual { 2 } else { 1 };
    Ok(Case {
        op: "linear",
        shape: format!("{name} {rows}×{n}×{k}").trim_start().into(),
        dtype,
        bytes: (rows + n) * k * dtype.size() + passes * rows * n * stored.size() + n * 4,
        // A row per clip: the product is a pass over the weights.
        flops: if rows > SAMPLES { 2 * rows * n * k } else { 0 },
        writes: vec![normal(device, stored, [rows, n], 1)?],
        reads: vec![
            normal(device, dtype, [rows, k], 3)?,
            Tensor::from_f32(device, dtype, [n, k], &weights)?,
            normal(device, DType::F32, [n], 4)?,
            normal(device, DType::F32, [SAMPLES, 6 * n], 5)?,
        ],
        run: Box::new(move |w, r| {
            let epilogue = match then {
                Then::Bias => Epilogue::Bias,
                Then::Gelu => Epilogue::Gelu,
                Then::Residual => Epilogue::Residual { mods: &r[3], chunk: GATE, onto: None },
            };
            linear(Gate::Open, &mut w[0], &r[0], &r[1], &r[2], epilogue)
        }),
        spares: vec![],
        expect: Box::new(move |t| vec![some_rows(t, dims, then)]),
        tolerance: tolerance(dtype),
    })
}

/// The first row, the last, and some in between; as many of each sample.
fn some_rows(t: &Values, [rows, k, n]: [usize; 3], then: Then) -> Pair {
    let some = rows.min(16);
    let at = |i: usize| i * (rows - 1) / (some - 1);
    let pick = |all: &[f64], width: usize| -> Vec<f64> {
        (0..some).flat_map(|i| &all[at(i) * width..(at(i) + 1) * width]).copied().collect()
    };
    let onto = pick(&t.before[0], n);
    let epilogue = match then {
        Then::Bias => oracle::Epilogue::Bias,
        Then::Gelu => oracle::Epilogue::Gelu,
        Then::Residual => {
            oracle::Epilogue::Residual { mods: &t.reads[3], samples: SAMPLES, chunk: GATE, onto: &onto }
        }
    };
    let theirs = oracle::linear(&pick(&t.reads[0], k), &t.reads[1], &t.reads[2], [some, k, n], epilogue);
    let ours = (0..some).flat_map(|i| &t.after[0][at(i) * n..(at(i) + 1) * n]).copied().collect();
    (ours, theirs)
}
