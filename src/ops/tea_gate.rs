//! TeaCache's decision, on the device: partial sums to a distance, rescaled, accumulated, compared.
//!
//! The specification is the rule of [`cache`](crate::cache), in f64 on the host; this is the same rule where the data
//! is, so that nobody has to wait. What was measured is not known here: partial sums are numbers.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`tea_gate`].
pub static TEA_GATE: Kernel = Kernel {
    name: "tea_gate",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1]),
    wgsl: &[Source::wgsl("naive", wgsl!("tea_gate"), [1, 1, 1])],
    cuda: &[Source::cuda("block", cu!("tea_gate"), 1024, [1, 1, 1])],
};

/// Columns of a row of the trace: distance (NaN at step 0), rescaled distance f(d) (NaN on forced steps), accumulated value
/// as compared with the threshold, decision (0 skipped, 1 computed, 2 forced).
pub const TRACE_COLUMNS: usize = 4;
/// The column of the decision.
pub const DECISION: usize = 3;

/// What to do where the polynomial is negative.
///
/// Published polynomials go below zero outside the range they were fitted on (Wan 2.1 14B: everywhere
/// below d = 0.13), and a sum that falls keeps a cache skipping long after it should have computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Negative {
    /// Add it as it is, as the official code does.
    Raw = 0,
    /// Take it as 0.
    #[default]
    Clamp = 1,
    /// Take |f(d)|, as ComfyUI-TeaCache does for FLUX.
    Abs = 2,
}

impl Negative {
    /// Every mode.
    pub const ALL: [Negative; 3] = [Negative::Raw, Negative::Clamp, Negative::Abs];

    /// The mode as a cache setting spells it.
    pub fn name(self) -> &'static str {
        match self {
            Negative::Raw => "raw",
            Negative::Clamp => "clamp",
            Negative::Abs => "abs",
        }
    }

    /// What is added to the sum for a finite f(d).
    pub fn apply(self, rescaled: f64) -> f64 {
        match self {
            Negative::Raw => rescaled,
            Negative::Clamp => rescaled.max(0.0),
            Negative::Abs => rescaled.abs(),
        }
    }
}

/// The rule that [`tea_gate`] applies: when the sum of rescaled distances is small enough to skip a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// δ: a step is skipped while the sum stays below it. At 0 nothing is skipped.
    pub threshold: f64,
    /// The polynomial f that rescales distances, highest power first: `f(d) = c4·d⁴ + c3·d³ + c2·d² + c1·d + c0`.
    pub coefficients: [f64; 5],
    /// What is added to the sum where f(d) is negative.
    pub negative: Negative,
    /// Distances that f was fitted for: a shorter one counts as the first, a longer one computes. Infinite where there
    /// is no limit.
    pub limits: [f64; 2],
    /// Whether distances add up from one skipped step to the next. Otherwise each step is decided by its own.
    pub accumulates: bool,
    /// How many steps in a row may be skipped.
    pub max_skips: usize,
}

/// The step that is decided.
#[derive(Debug, Clone, Copy)]
pub struct TeaStep<'a> {
    /// How it is decided.
    pub rule: &'a Threshold,
    /// Its index. At 0 there is nothing to compare with: `partials` are not read, the step computes, and with that the
    /// state begins anew.
    pub index: usize,
    /// Whether it computes whatever was measured.
    pub forced: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    step: u32,
    partials: u32,
    forced: u32,
    negative: u32,
    threshold: f32,
    c4: f32,
    c3: f32,
    c2: f32,
    c1: f32,
    c0: f32,
    accumulates: u32,
    max_skips: u32,
    lowest: f32,
    highest: f32,
}

/// Decides one step in f32:
///
/// ```text
/// d = Σ partials[.., 0] / Σ partials[.., 1];   acc = acc + f(d)      f: the rule's polynomial, Horner
/// skip if not forced, a step was computed before, d and f(d) are finite, threshold > 0, acc < threshold,
///         and fewer than max_skips steps were skipped since (as the trace says)
/// acc = 0 unless skipped and the rule accumulates
/// ```
///
/// where the rule has a range, f(max(d, lowest)), and no skip if d > highest.
///
/// - `flag`: `u32 [1]`, 1 = compute
/// - `state`: `f32 [2]`, (acc, whether a step was computed), from step to step
/// - `trace`: f32 [T, 4], row `step.index` is written; see [`TRACE_COLUMNS`]
/// - `partials`: f32 [P, 2], P from 1 to 65535
pub fn tea_gate(
    gate: Gate<'_>,
    flag: &mut Tensor,
    state: &mut Tensor,
    trace: &mut Tensor,
    partials: &Tensor,
    step: TeaStep<'_>,
) -> Result<()> {
    const OP: &str = "tea_gate";
    flag.expect(OP, "flag", DType::U32, [1])?;
    state.expect(OP, "state", DType::F32, [2])?;
    let [steps, _] = trace.dims(OP, "trace")?;
    trace.expect(OP, "trace", DType::F32, [steps, TRACE_COLUMNS])?;
    let runs = super::shared::check_partials(OP, partials, 2)?;
    if step.index >= steps {
        return Err(Error::argument(OP, "step", format!("less than {steps}"), step.index));
    }
    // Shaders know no infinity; a distance that is infinite computes in any case.
    let limits = step.rule.limits.map(|d| (d as f32).clamp(f32::MIN, f32::MAX));
    let [c4, c3, c2, c1, c0] = step.rule.coefficients.map(|c| c as f32);
    let params = Params {
        step: step.index as u32,
        partials: runs as u32,
        forced: u32::from(step.forced),
        negative: step.rule.negative as u32,
        threshold: step.rule.threshold as f32,
        c4,
        c3,
        c2,
        c1,
        c0,
        accumulates: u32::from(step.rule.accumulates),
        max_skips: u32::try_from(step.rule.max_skips).unwrap_or(u32::MAX),
        lowest: limits[0],
        highest: limits[1],
    };
    Call::new(&TEA_GATE, gate, &mut [flag, state, trace], &[partials]).params(&params).work([1, 1, 1]).run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, _: &Tile) {
    let p: Params = args.params();
    let row = p.step as usize * TRACE_COLUMNS;
    // SAFETY: there is one block.
    let (flag, state, trace) = unsafe {
        (args.write::<u32>(0, 0..1), args.write::<f32>(1, 0..2), args.write::<f32>(2, 0..row + TRACE_COLUMNS))
    };
    let (past, trace) = trace.split_at_mut(row);
    let skips = past.rchunks_exact(TRACE_COLUMNS).take_while(|row| row[DECISION] == 0.0);
    let full = skips.take(p.max_skips as usize).count() >= p.max_skips as usize;
    let (accumulated, computed_before) = (state[0], state[1] != 0.0);
    let d = if p.step == 0 { f32::NAN } else { distance(args.read::<f32>(0)) };
    let counted = if d < p.lowest { p.lowest } else { d };
    let mut f = p.c4;
    for c in [p.c3, p.c2, p.c1, p.c0] {
        f = mul_add::<I>(f, counted, c);
    }
    let forced = p.forced != 0;
    let measured = !forced && d <= p.highest && f.is_finite();
    let counted = if p.negative == Negative::Clamp as u32 && f < 0.0 {
        0.0
    } else if p.negative == Negative::Abs as u32 {
        f.abs()
    } else {
        f
    };
    let sum = accumulated + counted;
    let skip = measured && computed_before && !full && p.threshold > 0.0 && sum < p.threshold;
    trace[0] = d;
    trace[1] = if measured { f } else { f32::NAN };
    trace[2] = if measured && sum.is_finite() { sum } else { 0.0 };
    trace[DECISION] = if forced { 2.0 } else { f32::from(u8::from(!skip)) };
    flag[0] = u32::from(!skip);
    state[0] = if skip && p.accumulates != 0 { sum } else { 0.0 };
    state[1] = 1.0;
}

/// Σ of changes over Σ of sizes, each added up as a tree: pairs halve the list until one is left.
#[inline(always)]
fn distance(partials: &[f32]) -> f32 {
    const MOST: usize = 1024;
    let mut sums = [[0.0f32; 2]; MOST];
    for (i, pair) in partials.chunks_exact(2).enumerate() {
        sums[i % MOST][0] += pair[0];
        sums[i % MOST][1] += pair[1];
    }
    let mut width = MOST;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i][0] += sums[i + width][0];
            sums[i][1] += sums[i + width][1];
        }
    }
    sums[0][0] / sums[0][1]
}
