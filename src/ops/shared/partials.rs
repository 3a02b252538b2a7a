//! Partial sums: how the ops that measure a distance divide their tensors, and what they add up.

use std::ops::Range;

use crate::device::simd::{Element, Isa, LANES, V};
use crate::{DType, Error, Result, Tensor};

/// How many partial sums a distance is made of, wherever it is computed: enough to fill a large GPU twice, few enough
/// for one block to add up. Fixed, so that a distance does not depend on the machine.
pub const PARTIALS: usize = 256;

/// As many as there can be: the square of it is a number of 32 bits, in which GPUs divide.
const MOST_PARTIALS: usize = 65535;

/// `partials` is f32 [P, `columns`]; returns P.
pub fn check_partials(op: &'static str, partials: &Tensor, columns: usize) -> Result<usize> {
    let [runs, _] = partials.dims(op, "partials")?;
    if runs == 0 || runs > MOST_PARTIALS {
        let wanted = format!("f32 [P, {columns}], 0 < P ≤ {MOST_PARTIALS}");
        return Err(Error::argument(op, "partials", wanted, format!("{partials:?}")));
    }
    partials.expect(op, "partials", DType::F32, [runs, columns])?;
    Ok(runs)
}

/// The `i`-th of `parts` nearly equal runs of `n`.
#[inline(always)]
pub fn share(n: usize, parts: usize, i: usize) -> Range<usize> {
    n * i / parts..n * (i + 1) / parts
}

/// Elements that are added at a time, in accumulators of their own.
const WIDTH: usize = 4 * LANES;
/// Few enough additions in a row that equal addends, which all round the same way, do no harm.
const STRETCH: usize = 16 * WIDTH;

/// Σ|change| and Σ|size|: f32 for a stretch, f64 across stretches.
#[derive(Default)]
pub struct Sums([f64; 2]);

/// The sums of a stretch.
struct Stretch {
    change: [V; 4],
    size: [V; 4],
}

impl Stretch {
    const NONE: Stretch = Stretch { change: [V::ZERO; 4], size: [V::ZERO; 4] };

    #[inline(always)]
    fn add<I: Isa>(&mut self, i: usize, change: V, size: V) {
        let one = V::splat(1.0);
        self.change[i] = change.abs().mul_add::<I>(one, self.change[i]);
        self.size[i] = size.abs().mul_add::<I>(one, self.size[i]);
    }

    #[inline(always)]
    fn totals(self) -> [f32; 2] {
        [self.change, self.size].map(|v| ((v[0] + v[1]) + (v[2] + v[3])).sum())
    }
}

impl Sums {
    /// Adds |cur − prev| and |prev|, and moves `prev` on to `cur`.
    #[inline(always)]
    pub fn step<I: Isa, T: Element>(&mut self, cur: &[T], prev: &mut [T]) {
        let minus_one = V::splat(-1.0);
        for (cur, prev) in cur.chunks(STRETCH).zip(prev.chunks_mut(STRETCH)) {
            let mut sums = Stretch::NONE;
            let (cur, cur_rest) = cur.as_chunks::<WIDTH>();
            let (prev, prev_rest) = prev.as_chunks_mut::<WIDTH>();
            for (cur, prev) in cur.iter().zip(prev) {
                for i in 0..4 {
                    let (c, p) = (T::load(&cur[i * LANES..]), T::load(&prev[i * LANES..]));
                    sums.add::<I>(i, p.mul_add::<I>(minus_one, c), p);
                }
                *prev = *cur;
            }
            let [mut change, mut size] = sums.totals();
            for (cur, prev) in cur_rest.iter().zip(prev_rest) {
                change += (cur.to_f32() - prev.to_f32()).abs();
                size += prev.to_f32().abs();
                *prev = *cur;
            }
            self.stretch(change, size);
        }
    }

    /// Adds |(out − input) − kept| and |kept|.
    #[inline(always)]
    pub fn residual<I: Isa>(&mut self, [out, input, kept]: [&[f32]; 3]) {
        for ((out, input), kept) in out.chunks(STRETCH).zip(input.chunks(STRETCH)).zip(kept.chunks(STRETCH)) {
            let mut sums = Stretch::NONE;
            let (out, out_rest) = out.as_chunks::<WIDTH>();
            let (input, input_rest) = input.as_chunks::<WIDTH>();
            let (kept, kept_rest) = kept.as_chunks::<WIDTH>();
            for ((out, input), kept) in out.iter().zip(input).zip(kept) {
                for i in 0..4 {
                    let [o, x, k] = [out, input, kept].map(|x| V::load(&x[i * LANES..]));
                    sums.add::<I>(i, (o - x) - k, k);
                }
            }
            let [mut change, mut size] = sums.totals();
            for ((out, input), kept) in out_rest.iter().zip(input_rest).zip(kept_rest) {
                change += ((out - input) - kept).abs();
                size += kept.abs();
            }
            self.stretch(change, size);
        }
    }

    #[inline(always)]
    fn stretch(&mut self, change: f32, size: f32) {
        self.0[0] += f64::from(change);
        self.0[1] += f64::from(size);
    }

    #[inline(always)]
    pub fn totals(&self) -> [f32; 2] {
        self.0.map(|t| t as f32)
    }
}
