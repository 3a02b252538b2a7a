//! Σ|cur − prev| and Σ|prev| in one pass, with `prev := cur` in the same pass.

use super::modulate_rel_l1::share;
use crate::device::cpu::{Block, Launch};
use crate::device::simd::{Element, Isa, LANES, V, by_dtype};
use crate::device::{Call, Gate, Kernel, cpu_sources};
use crate::{DType, Error, Result, Tensor};

/// See [`rel_l1`].
pub static REL_L1: Kernel = Kernel { name: "rel_l1", sources: cpu_sources!(cpu, tile: [1, 1, 4]) };

/// How many partial sums a distance is made of, wherever it is computed: enough to fill a large GPU twice, few enough
/// for one block to add up. Fixed, so that a distance does not depend on the machine.
pub const PARTIALS: usize = 256;

/// `partials[p] = (Σ|cur − prev|, Σ|prev|)` over the p-th share of the elements, then `prev = cur`.
///
/// TeaCache's distance is Σ|cur − prev| / Σ|prev| over the whole tensor (arXiv 2411.19108, equation 4); the division
/// is [`tea_gate`](super::tea_gate())'s. Sums are deterministic: shares, and the order within one, are fixed.
///
/// - `prev`: T, in: the previous value, out: `cur`
/// - `partials`: f32 [P, 2]
/// - `cur`: T, the shape of `prev`
pub fn rel_l1(gate: Gate<'_>, prev: &mut Tensor, partials: &mut Tensor, cur: &Tensor) -> Result<()> {
    const OP: &str = "rel_l1";
    let dtype = cur.float(OP, "cur")?;
    prev.expect(OP, "prev", dtype, *cur.shape())?;
    let runs = check_partials(OP, partials)?;
    Call {
        kernel: &REL_L1,
        writes: &mut [prev, partials],
        reads: &[cur],
        params: &[],
        work: [1, 1, runs],
        gate,
    }
    .run()
}

/// `partials` is f32 [P, 2]; returns P.
pub(super) fn check_partials(op: &'static str, partials: &Tensor) -> Result<usize> {
    let [runs, _] = partials.dims(op, "partials")?;
    if runs == 0 {
        return Err(Error::argument(op, "partials", "f32 [P, 2], P > 0", format!("{partials:?}")));
    }
    partials.expect(op, "partials", DType::F32, [runs, 2])?;
    Ok(runs)
}

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, block: &Block) {
    by_dtype!(l.write_dtype(0), runs::<I>(l, block))
}

#[inline(always)]
fn runs<I: Isa, T: Element>(l: &Launch<'_>, Block([_, _, runs]): &Block) {
    let all = l.read::<T>(0);
    // Shares are whole vectors, and the last one takes what is left over.
    let vectors = all.len().div_ceil(LANES);
    for run in runs.clone() {
        let share = share(vectors, l.work()[2], run);
        let span = share.start * LANES..(share.end * LANES).min(all.len());
        let cur = &all[span.clone()];
        // SAFETY: shares are disjoint, and a share belongs to one block.
        let prev = unsafe { l.write::<T>(0, span) };
        let mut sums = Sums::new();
        // Often enough settled that no f32 sum grows past what its next addend can reach.
        for (cur, prev) in cur.chunks(SETTLE * LANES).zip(prev.chunks_mut(SETTLE * LANES)) {
            let whole = cur.len() / LANES * LANES;
            for j in (0..whole).step_by(LANES) {
                let (c, p) = (T::load(&cur[j..]), T::load(&prev[j..]));
                prev[j..j + LANES].copy_from_slice(&cur[j..j + LANES]);
                sums.add(c, p);
            }
            let (cur, prev) = (&cur[whole..], &mut prev[whole..]);
            sums.add(T::load_tail(cur, 0.0), T::load_tail(prev, 0.0));
            prev.copy_from_slice(cur);
            sums.settle();
        }
        // SAFETY: a run's pair belongs to one block.
        unsafe { l.write::<f32>(1, run * 2..run * 2 + 2) }.copy_from_slice(&sums.totals());
    }
}

/// Vectors between two calls of [`Sums::settle`].
const SETTLE: usize = 16;

/// The two sums: f32 lanes for a stretch, f64 across stretches.
pub(super) struct Sums {
    change: V,
    size: V,
    totals: [f64; 2],
}

impl Sums {
    #[inline(always)]
    pub fn new() -> Sums {
        Sums { change: V::ZERO, size: V::ZERO, totals: [0.0; 2] }
    }

    #[inline(always)]
    pub fn add(&mut self, cur: V, prev: V) {
        self.change = self.change + (cur - prev).abs();
        self.size = self.size + prev.abs();
    }

    #[inline(always)]
    pub fn settle(&mut self) {
        self.totals[0] += f64::from(self.change.sum());
        self.totals[1] += f64::from(self.size.sum());
        (self.change, self.size) = (V::ZERO, V::ZERO);
    }

    #[inline(always)]
    pub fn totals(&self) -> [f32; 2] {
        self.totals.map(|t| t as f32)
    }
}
