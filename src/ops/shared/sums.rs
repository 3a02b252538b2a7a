//! The innermost loop of every product on the CPU: scalars times vectors, into as many sums as registers hold.

use crate::device::simd::{Isa, LANES, V, prefetch_line};

/// The scalar operand of [`sums`]: that of output row i in term j is `of[i·next + j·step]`.
#[derive(Clone, Copy)]
pub struct Scalars<'a> {
    pub of: &'a [f32],
    pub next: usize,
    pub step: usize,
}

/// The other operand: rows that begin `next` after one another, one for each term; from one vector of a row to the one beside
/// it are `beside`.
#[derive(Clone, Copy)]
pub struct Vectors<'a> {
    pub of: &'a [f32],
    pub next: usize,
    pub beside: usize,
    pub terms: usize,
}

/// What a sum begins with.
#[derive(Clone, Copy)]
pub enum Begin<'a> {
    /// With 0.
    Nothing,
    /// With what stands in the output.
    Output,
    /// With that, times a factor for each row.
    Scaled(&'a [f32]),
}

/// Where sums are stored: rows that begin `stride` after one another.
pub struct To<'a> {
    pub of: &'a mut [f32],
    pub stride: usize,
}

/// `to[i] = begin[i] + Σ_j x[i, j]·y[j]` for rows `i..i + R` and `Q` vectors of each. With `PAIRS`, numbers are pairs of bf16.
/// Vectors are asked for `AHEAD` terms before they are needed, if that is not 0: it pays where they come from the second-level cache.
#[inline(always)]
pub fn sums<I: Isa, const Q: usize, const R: usize, const PAIRS: bool, const AHEAD: usize>(
    to: &mut To<'_>,
    begin: Begin<'_>,
    x: Scalars<'_>,
    y: Vectors<'_>,
    i: usize,
) {
    let stride = to.stride;
    let to = &mut to.of[i * stride..];
    let Vectors { of: y, next, beside, terms } = y;
    let x_rows = &x.of[i * x.next..];
    // The last that are touched: checked once, so that the loops need not. Their checks would be half of the instructions.
    assert!((R - 1) * stride + Q * LANES <= to.len());
    assert!((R - 1) * x.next + (terms - 1) * x.step < x_rows.len());
    assert!((terms - 1) * next + (Q - 1) * beside + LANES <= y.len());
    // Within those ends nothing overflows, and tests need not look.
    let from = |i: usize, step: usize, n: usize| i.wrapping_mul(step).wrapping_add(n * LANES);
    let at = |r: usize, n: usize| from(r, stride, n)..from(r, stride, n + 1);
    let mut acc = [[V::ZERO; Q]; R];
    if !matches!(begin, Begin::Nothing) {
        for (r, acc) in acc.iter_mut().enumerate() {
            for (n, acc) in acc.iter_mut().enumerate() {
                // SAFETY: r < R and n < Q, see the assertions.
                let old = V::load(unsafe { to.get_unchecked(at(r, n)) });
                *acc = match begin {
                    Begin::Scaled(by) => old.mul_add::<I>(V::splat(by[i + r]), V::ZERO),
                    _ => old,
                };
            }
        }
    }
    for j in 0..terms {
        let vector = |n: usize| {
            let at = j.wrapping_mul(next).wrapping_add(n.wrapping_mul(beside));
            at..at.wrapping_add(LANES)
        };
        for n in 0..if AHEAD > 0 { Q } else { 0 } {
            prefetch_line(y, vector(n).start.wrapping_add(AHEAD * LANES));
        }
        // SAFETY: as above, and j < terms.
        let y: [V; Q] = std::array::from_fn(|n| V::load(unsafe { y.get_unchecked(vector(n)) }));
        for (r, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            let x = V::splat(unsafe {
                *x_rows.get_unchecked(from(r, x.next, 0).wrapping_add(from(j, x.step, 0)))
            });
            for (y, acc) in y.iter().zip(acc) {
                *acc = if PAIRS { I::add_pairs(x, *y, *acc) } else { x.mul_add::<I>(*y, *acc) };
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        for (n, acc) in acc.iter().enumerate() {
            // SAFETY: as above.
            acc.store(unsafe { to.get_unchecked_mut(at(r, n)) });
        }
    }
}
