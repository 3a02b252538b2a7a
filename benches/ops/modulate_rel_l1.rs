//! Bytes: x in, signal in and out, shift and scale of each sample in. Verified in full, the partial sums by their total.

use steep::device::Gate;
use steep::ops::{Chunks, PARTIALS, modulate_rel_l1};
use steep::{DType, Device, Result, oracle};

use super::rel_l1::totals;
use super::{Case, normal, tolerance};

const SAMPLES: usize = 2;

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    [(512, 192), (4096, 1152)].map(|(rows, d)| case(device, dtype, rows, d)).into_iter().collect()
}

fn case(device: &Device, dtype: DType, rows: usize, d: usize) -> Result<Case> {
    let shape = [SAMPLES, rows / SAMPLES, d];
    Ok(Case {
        op: "modulate_rel_l1",
        shape: format!("{rows}×{d}"),
        dtype,
        bytes: rows * d * (4 + 2 * dtype.size()) + SAMPLES * 2 * d * 4 + PARTIALS * 2 * 4,
        flops: 0,
        writes: vec![normal(device, dtype, shape, 1)?, normal(device, DType::F32, [PARTIALS, 2], 2)?],
        reads: vec![normal(device, DType::F32, shape, 3)?, normal(device, DType::F32, [SAMPLES, 6 * d], 4)?],
        run: Box::new(|w, r| {
            let [signal, partials] = w else { unreachable!() };
            modulate_rel_l1(Gate::Open, signal, partials, &r[0], &r[1], Chunks { shift: 0, scale: 1 })
        }),
        spares: vec![],
        expect: Box::new(move |t| {
            let dims = [SAMPLES, rows, d];
            let (signal, sums) = oracle::modulate_rel_l1(&t.before[0], &t.reads[0], &t.reads[1], dims, 0, 1);
            vec![(t.after[0].clone(), signal), (totals(&t.after[1]), sums.to_vec())]
        }),
        tolerance: tolerance(dtype),
    })
}
