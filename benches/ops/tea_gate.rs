//! Bytes: the partial sums in; a launch and no more. Verified in full: the flag, the state, the whole trace.

use steep::cache::TeaCache;
use steep::device::Gate;
use steep::ops::{PARTIALS, TRACE_COLUMNS, TeaStep, tea_gate};
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, normal, tolerance};

const STEPS: usize = 3;
/// Neither the first step nor the last, which are forced.
const STEP: usize = 1;

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    let rule = TeaCache::new(1e6, [0.1, 0.2, 0.3, 0.4, 0.5], STEPS);
    let run_rule = rule.on_device();
    let partials = oracle::data(4, PARTIALS * 2, 4.0, 1.0);
    Ok(vec![Case {
        op: "tea_gate",
        shape: format!("{PARTIALS}×2"),
        dtype: DType::F32,
        bytes: PARTIALS * 2 * 4,
        flops: 0,
        writes: vec![
            Tensor::from_u32(device, [1], &[1])?,
            normal(device, DType::F32, [2], 2)?,
            normal(device, DType::F32, [STEPS, TRACE_COLUMNS], 3)?,
        ],
        reads: vec![Tensor::from_f32(device, DType::F32, [PARTIALS, 2], &partials)?],
        run: Box::new(move |w, r| {
            let [flag, state, trace] = w else { unreachable!() };
            tea_gate(
                Gate::Open,
                flag,
                state,
                trace,
                &r[0],
                TeaStep { rule: &run_rule, index: STEP, forced: false },
            )
        }),
        spares: vec![],
        expect: Box::new(move |t| {
            let mut rule = rule.clone();
            oracle::tea_gate(&mut rule, 0, &t.reads[0]);
            let step = oracle::tea_gate(&mut rule, STEP, &t.reads[0]);
            // The oracle's sum is of this generation; the kernel's goes on from what the state held.
            let sum = step.accumulated + t.before[1][0];
            let computes = f64::from(u8::from(sum >= rule.threshold));
            let mut trace = t.before[2].clone();
            let row =
                [step.distance, step.rescaled, Some(sum), Some(computes)].map(|x| x.unwrap_or(f64::NAN));
            trace[STEP * TRACE_COLUMNS..(STEP + 1) * TRACE_COLUMNS].copy_from_slice(&row);
            let state = vec![if computes == 1.0 { 0.0 } else { sum }, 1.0];
            let [flag_now, state_now, trace_now] = [0, 1, 2].map(|i| t.after[i].clone());
            vec![(flag_now, vec![computes]), (state_now, state), (trace_now, trace)]
        }),
        tolerance: tolerance(DType::F32),
    }])
}
