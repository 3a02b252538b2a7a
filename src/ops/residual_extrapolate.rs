//! `out = in + R + (R − R')·s/(s' − s)`: a skipped step's stand-in for what it skips, which carries on the residual's
//! change.

use bytemuck::{Pod, Zeroable};

use super::shared::TILE;
use super::{DECISION, TRACE_COLUMNS};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`residual_extrapolate`].
pub static RESIDUAL_EXTRAPOLATE: Kernel = Kernel {
    name: "residual_extrapolate",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[Source::wgsl("naive", wgsl!("residual_extrapolate"), [1, 1, TILE]).with(&[("TILE", TILE as u32)])],
    cuda: &[Source::cuda("vec4", cu!("residual_extrapolate"), 256, [1, 1, 1024])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    step: u32,
}

/// `out = in + (residual + ahead·(residual − before))`, where `ahead = (step − last)/(last − earlier)` and `last` and
/// `earlier` are the last two steps before `step` that computed; 0 where there are not two.
///
/// `residual` is of `last` and `before` of `earlier`: TaylorSeer's first order (arXiv 2503.06923, equation 6). Which
/// steps computed is read from the trace, so the host need not know.
///
/// - `out`, `input`, `residual`, `before`: f32, of one shape
/// - `trace`: f32 [T, 4] as [`tea_gate`](super::tea_gate()) writes it; of its rows before `step` the decisions count
pub fn residual_extrapolate(
    gate: Gate<'_>,
    out: &mut Tensor,
    input: &Tensor,
    residual: &Tensor,
    before: &Tensor,
    (trace, step): (&Tensor, usize),
) -> Result<()> {
    const OP: &str = "residual_extrapolate";
    let shape = *out.shape();
    out.expect(OP, "out", DType::F32, shape)?;
    input.expect(OP, "input", DType::F32, shape)?;
    residual.expect(OP, "residual", DType::F32, shape)?;
    before.expect(OP, "before", DType::F32, shape)?;
    let [steps, _] = trace.dims(OP, "trace")?;
    trace.expect(OP, "trace", DType::F32, [steps, TRACE_COLUMNS])?;
    if step >= steps {
        return Err(Error::argument(OP, "step", format!("less than {steps}"), step));
    }
    let elements = out.elements();
    let params = Params { elements: elements as u32, step: step as u32 };
    Call::new(&RESIDUAL_EXTRAPOLATE, gate, &mut [out], &[input, residual, before, trace])
        .params(&params)
        .work([1, 1, elements])
        .row_lengths(&[elements])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
    let p: Params = args.params();
    let ahead = ahead(&args.read::<f32>(3)[..p.step as usize * TRACE_COLUMNS]);
    let [input, residual, before] = [0, 1, 2].map(|i| &args.read::<f32>(i)[span.clone()]);
    // SAFETY: blocks are disjoint ranges of the output.
    let out = unsafe { args.write::<f32>(0, span.clone()) };
    let (fours, rest) = out.as_chunks_mut::<4>();
    let [(x, x_rest), (r, r_rest), (b, b_rest)] = [input, residual, before].map(|x| x.as_chunks::<4>());
    for (((out, x), r), b) in fours.iter_mut().zip(x).zip(r).zip(b) {
        let change = std::array::from_fn(|i| r[i] - b[i]);
        let sum = I::mul_add_four([ahead; 4], change, *r);
        *out = std::array::from_fn(|i| x[i] + sum[i]);
    }
    for (((out, x), r), b) in rest.iter_mut().zip(x_rest).zip(r_rest).zip(b_rest) {
        *out = x + mul_add::<I>(ahead, r - b, *r);
    }
}

/// (steps since the last computed one) / (steps between that and the one before).
fn ahead(past: &[f32]) -> f32 {
    let rows = past.rchunks_exact(TRACE_COLUMNS).zip(1..);
    let mut computed = rows.filter(|(row, _)| row[DECISION] != 0.0).map(|(_, ago)| ago);
    match (computed.next(), computed.next()) {
        (Some(last), Some(earlier)) => last as f32 / (earlier - last) as f32,
        _ => 0.0,
    }
}
