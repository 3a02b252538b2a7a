//! The matrix product of CPU kernels, `x · wᵀ`, with what comes before and after it.
//!
//! ```text
//! for each part of the columns whose weights stay in the second-level cache:
//!     pack its weights: panels of as many columns as the innermost loop takes, all of a term beside one another
//!     for each few rows:
//!         for each part of the depth that stays in the first-level cache:
//!             load the rows of x;  for each panel: sums += x · w
//!         store the rows: bias, activation, residual, while they are in that cache
//! ```
//!
//! Every element is the sum of its terms in their order, whatever tile it is in. Weights are packed in each call: with 512
//! rows to a tile that is 16 to 32 multiplications for each element that is moved.

use std::ops::Range;

use super::sums::{Begin, Scalars, To, Vectors, sums};
use crate::device::simd::{Element, Isa, LANES, Scratch, V};

/// What stands before and after a product.
pub trait Ends {
    /// Writes elements `depth` of a row of x.
    fn load<I: Isa>(&self, row: usize, depth: Range<usize>, to: &mut [f32]);

    /// Takes `columns` of a row of the product.
    fn store<I: Isa>(&self, row: usize, columns: Range<usize>, y: &[f32]);
}

/// A part of the depth: with it, a dozen rows of x take 13 KB.
const DEPTH: usize = 256;
/// From one row of x to the next: not a power of two, or all rows would fall into the same places of the cache.
const NEXT: usize = DEPTH + LANES;
/// Weights that are packed at a time, at most: three quarters of a MiB.
const PACKED: usize = 192 << 10;

/// `rows` × `columns` of `x · wᵀ`, w [n, k].
///
/// With `PAIRS`, numbers of x and w are two of bf16 each, so that `k` is half the depth.
#[inline(always)]
pub fn matmul<I: Isa, T: Element, const PAIRS: bool>(
    ends: &impl Ends,
    (w, k): (&[T], usize),
    rows: Range<usize>,
    columns: Range<usize>,
) {
    // Known when it is compiled: two of the three are left out.
    match I::BLOCK {
        (12, 2) => parts::<I, T, 2, 12, 4, PAIRS>(ends, (w, k), rows, columns),
        (6, 1) => parts::<I, T, 1, 6, 2, PAIRS>(ends, (w, k), rows, columns),
        _ => parts::<I, T, 1, 2, 1, PAIRS>(ends, (w, k), rows, columns),
    }
}

#[inline(always)]
fn parts<I: Isa, T: Element, const Q: usize, const R: usize, const REST: usize, const PAIRS: bool>(
    ends: &impl Ends,
    (w, k): (&[T], usize),
    rows: Range<usize>,
    columns: Range<usize>,
) {
    let width = Q * LANES;
    let fitting = (PACKED / k / width * width).clamp(width, columns.len().next_multiple_of(width));
    let mut scratch = Scratch::take(fitting * k + R * NEXT + R * fitting);
    let (packed, rest) = scratch.floats().split_at_mut(fitting * k);
    let (x, y) = rest.split_at_mut(R * NEXT);
    for first in columns.clone().step_by(fitting) {
        let columns = first..columns.end.min(first + fitting);
        pack::<I, T, Q>((w, k), columns.clone(), packed);
        let part = Part { ends, packed: &*packed, k, columns };
        for row in rows.clone().step_by(R) {
            part.few_rows::<I, Q, R, REST, PAIRS>(row..rows.end.min(row + R), x, y);
        }
    }
}

/// Panels of `Q` vectors of columns, each [k, Q·16]; columns past the last are 0.
#[inline(always)]
fn pack<I: Isa, T: Element, const Q: usize>((w, k): (&[T], usize), columns: Range<usize>, to: &mut [f32]) {
    let width = Q * LANES;
    for (panel, first) in columns.clone().step_by(width).enumerate() {
        let to = &mut to[panel * width * k..][..width * k];
        for (at, lanes) in
            (0..k).step_by(LANES).flat_map(|at| (0..width).step_by(LANES).map(move |lanes| (at, lanes)))
        {
            let mut block = [V::ZERO; LANES];
            for (i, v) in block.iter_mut().enumerate() {
                let column = first + lanes + i;
                if column < columns.end {
                    *v = vector(&w[column * k..][..k], at);
                }
            }
            let block = I::transpose(block);
            for (i, v) in block.iter().enumerate().take(k - at) {
                v.store(&mut to[(at + i) * width + lanes..]);
            }
        }
    }
}

/// Columns whose weights are packed.
struct Part<'a, E> {
    ends: &'a E,
    packed: &'a [f32],
    k: usize,
    columns: Range<usize>,
}

impl<E: Ends> Part<'_, E> {
    /// The product for `R` rows, or for fewer, `REST` at a time, which divides `R`.
    #[inline(always)]
    fn few_rows<I: Isa, const Q: usize, const R: usize, const REST: usize, const PAIRS: bool>(
        &self,
        rows: Range<usize>,
        x: &mut [f32],
        y: &mut [f32],
    ) {
        let (k, width) = (self.k, Q * LANES);
        let stride = self.columns.len().next_multiple_of(width);
        for at in (0..k).step_by(DEPTH) {
            let depth = at..k.min(at + DEPTH);
            for (row, x) in rows.clone().zip(x.chunks_exact_mut(NEXT)) {
                self.ends.load::<I>(row, depth.clone(), &mut x[..depth.len()]);
            }
            let begin = if at == 0 { Begin::Nothing } else { Begin::Output };
            let scalars = Scalars { of: x, next: NEXT, step: 1 };
            for first in (0..stride).step_by(width) {
                let of = &self.packed[first * k + at * width..];
                let mut to = To { of: &mut y[first..], stride };
                let vectors = Vectors { of, next: width, terms: depth.len() };
                if rows.len() == R {
                    sums::<I, Q, R, PAIRS>(&mut to, begin, scalars, vectors, 0);
                } else {
                    for i in (0..rows.len()).step_by(REST) {
                        sums::<I, Q, REST, PAIRS>(&mut to, begin, scalars, vectors, i);
                    }
                }
            }
        }
        for (row, y) in rows.zip(y.chunks_exact(stride)) {
            self.ends.store::<I>(row, self.columns.clone(), &y[..self.columns.len()]);
        }
    }
}

/// Tiles of a product for so much work on so many threads: large ones, for which little is packed and loaded; smaller ones
/// where threads would be left without.
pub fn tiles([_, rows, columns]: [usize; 3], threads: usize) -> [usize; 3] {
    // The largest first.
    const SIZES: [[usize; 2]; 7] =
        [[512, 192], [512, 96], [256, 96], [256, 64], [128, 64], [128, 32], [64, 32]];
    let enough = if threads == 1 { 1 } else { 2 * threads };
    let fills = |[r, c]: &[usize; 2]| rows.div_ceil(*r) * columns.div_ceil(*c) >= enough;
    let [r, c] = SIZES.into_iter().find(fills).unwrap_or(SIZES[SIZES.len() - 1]);
    [1, r, c]
}

/// x·y over elements of any stored type.
#[inline(always)]
pub fn dot<I: Isa, T: Element>(x: &[T], y: &[T]) -> f32 {
    let (mut even, mut odd) = (V::ZERO, V::ZERO);
    let (xs, ys) = (x.chunks_exact(2 * LANES), y.chunks_exact(2 * LANES));
    let (x_tail, y_tail) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        even = T::load(x).mul_add::<I>(T::load(y), even);
        odd = T::load(&x[LANES..]).mul_add::<I>(T::load(&y[LANES..]), odd);
    }
    for (x, y) in x_tail.chunks(LANES).zip(y_tail.chunks(LANES)) {
        even = T::load_tail(x, 0.0).mul_add::<I>(T::load_tail(y, 0.0), even);
    }
    (even + odd).sum()
}

/// Widens `src` into `dst`, which is as long.
#[inline(always)]
pub fn widen<T: Element>(src: &[T], dst: &mut [f32]) {
    let (s, d) = (src.chunks_exact(LANES), dst.chunks_exact_mut(LANES));
    let tail = s.remainder();
    let done = src.len() - tail.len();
    for (s, d) in s.zip(d) {
        T::load(s).store(d);
    }
    for (d, s) in dst[done..].iter_mut().zip(tail) {
        *d = s.to_f32();
    }
}

/// Elements `at..at + 16` of a row; zeros past its end.
#[inline(always)]
pub fn vector<T: Element>(row: &[T], at: usize) -> V {
    match row.len() - at {
        left if left < LANES => T::load_tail(&row[at..], 0.0),
        _ => T::load(&row[at..]),
    }
}

#[cfg(test)]
mod tests {
    use super::tiles;

    /// The shipped model's products, on one thread and on sixteen.
    #[test]
    fn tiles_leave_no_thread_without() {
        for columns in [576, 192, 768] {
            let count = |threads| {
                let [_, r, c] = tiles([1, 512, columns], threads);
                512usize.div_ceil(r) * columns.div_ceil(c)
            };
            assert_eq!(count(1), columns.div_ceil(192));
            assert!(count(2) >= 4 && count(16) >= 32, "{columns}: {} and {}", count(2), count(16));
        }
        // Where there is little to do, it is divided as far as it pays.
        assert_eq!(tiles([1, 7, 33], 16), [1, 64, 32]);
    }
}
