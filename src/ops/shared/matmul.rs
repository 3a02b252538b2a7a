//! The matrix product of CPU kernels, `x · wᵀ`, with what comes before and after it.
//!
//! ```text
//! for each part of the columns whose weights stay in the second-level cache:
//!     for each part of the depth, if it is great:
//!         pack the weights, unless they stand so: panels of 16 columns, all of a term beside one another
//!         for each few rows:
//!             for each part of the depth that stays in the first-level cache:
//!                 load the rows of x;  for each panel: sums += x · w
//!             store the rows: bias, activation, residual, while they are in that cache
//! ```
//!
//! Every element is the sum of its terms in their order, whatever tile it is in. Weights that were not
//! [arranged](crate::Tensor::for_products) are packed in each call: with 512 rows to a tile that is 16 to 32 multiplications
//! for each element that is moved.

use std::ops::Range;

use super::sums::{Begin, Scalars, To, Vectors, sums};
use crate::device::Layout;
use crate::device::cpu::Matrix;
use crate::device::simd::{Element, Isa, LANES, Scratch, V};

/// What stands before and after a product.
pub trait Ends {
    /// All rows of x, one behind the other, where they stand so in f32: then they are not loaded.
    fn rows(&self) -> Option<&[f32]> {
        None
    }

    /// Writes elements `depth` of a row of x.
    fn load<I: Isa>(&self, row: usize, depth: Range<usize>, to: &mut [f32]);

    /// Takes `columns` of a row of the product.
    fn store<I: Isa>(&self, row: usize, columns: Range<usize>, y: &[f32]);
}

/// A part of the depth: with it, nine rows of x take 14 KB.
const DEPTH: usize = 384;
/// From one row of x to the next: not a power of two, or all rows would fall into the same places of the cache.
const NEXT: usize = DEPTH + LANES;
/// Numbers in a page of memory.
const PAGE: usize = 1024;
/// The terms by which weights are asked for before they are needed: they come from the second-level cache.
const AHEAD: usize = 16;
/// The depth of packed weights, at most.
const DEEP: usize = 1280;
/// Weights that are packed at a time, at most: three quarters of a MiB.
const PACKED: usize = 192 << 10;

/// `rows` × `columns` of `x · wᵀ`, w [n, k]; where w stands in panels, `columns` begin with one.
///
/// With `PAIRS`, numbers of x and w are two of bf16 each, so that `k` is half the depth.
#[inline(always)]
pub fn matmul<I: Isa, T: Element, const PAIRS: bool>(
    ends: &impl Ends,
    w: Matrix<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
) {
    // Known when it is compiled: two of the three are left out.
    match I::BLOCK {
        (9, 3) => parts::<I, T, 3, 9, 6, 3, PAIRS>(ends, w, rows, columns),
        (6, 1) => parts::<I, T, 1, 6, 4, 2, PAIRS>(ends, w, rows, columns),
        _ => parts::<I, T, 1, 2, 1, 1, PAIRS>(ends, w, rows, columns),
    }
}

/// With `Q` vectors of columns beside one another, and rows taken `R` at a time; the last ones `FEW` or `LAST` at a time, so
/// that as good as none are multiplied in vain.
#[inline(always)]
fn parts<
    I: Isa,
    T: Element,
    const Q: usize,
    const R: usize,
    const FEW: usize,
    const LAST: usize,
    const PAIRS: bool,
>(
    ends: &impl Ends,
    w: Matrix<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
) {
    let (k, width) = (w.k, Q * LANES);
    let as_it_is = w.layout != Layout::Rows && size_of::<T>() == 4;
    let ready = if as_it_is { bytemuck::try_cast_slice(w.of).ok() } else { None };
    // As deep as lets many columns fit, for which a row of x is loaded once.
    let deep = k.div_ceil(k.div_ceil(DEEP)).next_multiple_of(LANES);
    let all = columns.len().next_multiple_of(LANES);
    let fitting = (PACKED / deep / width * width).clamp(width.min(all), all);
    let packing = if ready.is_some() { 0 } else { fitting * deep };
    // Sums of one part of the depth wait for the next one.
    let waiting = if deep < k { rows.len().next_multiple_of(R) } else { R };
    let mut scratch = Scratch::take(packing + R * NEXT + waiting * fitting);
    let (packed, rest) = scratch.floats().split_at_mut(packing);
    let (x, y) = rest.split_at_mut(R * NEXT);
    for first in columns.clone().step_by(fitting) {
        let columns = first..columns.end.min(first + fitting);
        for at in (0..k).step_by(deep) {
            let depth = at..k.min(at + deep);
            let panels = match ready {
                Some(of) => Panels { of: &of[first * k..columns.end.next_multiple_of(LANES) * k], k, at },
                None => {
                    pack::<I, T>(w, columns.clone(), depth.clone(), packed);
                    Panels { of: packed, k: depth.len(), at: 0 }
                }
            };
            let part = Part { ends, panels, depth, k, columns: columns.clone() };
            let mut row = rows.start;
            while row < rows.end {
                let y = if deep < k { &mut y[(row - rows.start) * fitting..] } else { &mut *y };
                let left = rows.end - row;
                let few = |n: usize| row..rows.end.min(row + n);
                row = if left > FEW && !(R < left && left <= 2 * FEW) {
                    part.few_rows::<I, Q, R, PAIRS>(few(R), x, y)
                } else if left > LAST {
                    part.few_rows::<I, Q, FEW, PAIRS>(few(FEW), x, y)
                } else {
                    part.few_rows::<I, Q, LAST, PAIRS>(few(LAST), x, y)
                };
            }
        }
    }
}

/// Panels of a vector of columns, each [depth, 16]; columns past the last are 0.
#[inline(always)]
fn pack<I: Isa, T: Element>(
    Matrix { of: w, k, layout }: Matrix<'_, T>,
    columns: Range<usize>,
    depth: Range<usize>,
    to: &mut [f32],
) {
    let deep = depth.len();
    let end = columns.start + columns.len().next_multiple_of(LANES);
    for (first, to) in (columns.start..end).step_by(LANES).zip(to.chunks_exact_mut(LANES * deep)) {
        if layout != Layout::Rows {
            match w.get(first * k..(first + LANES) * k) {
                None => to.fill(0.0),
                Some(panel) => {
                    let panel = &panel[depth.start * LANES..depth.end * LANES];
                    if layout == Layout::Panels { widen(panel, to) } else { part(panel, to) }
                }
            }
            continue;
        }
        for at in (0..deep).step_by(LANES) {
            let mut block = [V::ZERO; LANES];
            for (i, v) in block.iter_mut().enumerate() {
                let column = first + i;
                if column < columns.end {
                    *v = vector(&w[column * k..][depth.clone()], at);
                }
            }
            let block = I::transpose(block);
            for (v, to) in block.iter().zip(to[at * LANES..].chunks_exact_mut(LANES)) {
                v.store(to);
            }
        }
    }
}

/// Widens panels of pairs of bf16: each 16 pairs become 16 columns of their first halves, and 16 of their second ones.
#[inline(always)]
fn part<T: Element>(pairs: &[T], to: &mut [f32]) {
    let pairs: &[u32] = bytemuck::cast_slice(pairs);
    for (pairs, to) in pairs.chunks_exact(LANES).zip(to.chunks_exact_mut(2 * LANES)) {
        let (first, second) = to.split_at_mut(LANES);
        for ((pair, a), b) in pairs.iter().zip(first).zip(second) {
            (*a, *b) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
        }
    }
}

/// Weights as the innermost loop takes them: panels [k, 16], of which terms from the `at`-th on are meant.
#[derive(Clone, Copy)]
struct Panels<'a> {
    of: &'a [f32],
    k: usize,
    at: usize,
}

/// Columns whose weights are packed, for a part of the depth.
struct Part<'a, E> {
    ends: &'a E,
    panels: Panels<'a>,
    depth: Range<usize>,
    k: usize,
    columns: Range<usize>,
}

impl<E: Ends> Part<'_, E> {
    /// The product for `R` rows; for fewer, what stands behind them is multiplied, too, and nobody reads it. Returns the next
    /// row.
    #[inline(always)]
    fn few_rows<I: Isa, const Q: usize, const R: usize, const PAIRS: bool>(
        &self,
        rows: Range<usize>,
        x: &mut [f32],
        y: &mut [f32],
    ) -> usize {
        let Panels { of, k: deep, at: begin } = self.panels;
        let stride = self.columns.len().next_multiple_of(LANES);
        // Rows a whole number of pages apart would fall into the same places of the cache.
        let in_place = self.ends.rows().filter(|_| !self.k.is_multiple_of(PAGE));
        for at in self.depth.clone().step_by(DEPTH) {
            let depth = at..self.depth.end.min(at + DEPTH);
            let scalars = match in_place.and_then(|x| x.get(rows.start * self.k..(rows.start + R) * self.k)) {
                Some(of) => Scalars { of: &of[at..], next: self.k, step: 1 },
                None => {
                    for (row, x) in rows.clone().zip(x.chunks_exact_mut(NEXT)) {
                        self.ends.load::<I>(row, depth.clone(), &mut x[..depth.len()]);
                    }
                    Scalars { of: x, next: NEXT, step: 1 }
                }
            };
            let first_term = begin + at - self.depth.start;
            let begin = if at == 0 { Begin::Nothing } else { Begin::Output };
            let vectors = |first: usize| Vectors {
                of: &of[first * deep + first_term * LANES..],
                next: LANES,
                beside: LANES * deep,
                terms: depth.len(),
            };
            // `Q` panels at a time, then what is left over.
            let mut first = 0;
            while first + Q * LANES <= stride {
                sums::<I, Q, R, PAIRS, AHEAD>(
                    &mut To { of: &mut y[first..], stride },
                    begin,
                    scalars,
                    vectors(first),
                    0,
                );
                first += Q * LANES;
            }
            while first < stride {
                sums::<I, 1, R, PAIRS, AHEAD>(
                    &mut To { of: &mut y[first..], stride },
                    begin,
                    scalars,
                    vectors(first),
                    0,
                );
                first += LANES;
            }
        }
        if self.depth.end == self.k {
            for (row, y) in rows.clone().zip(y.chunks_exact(stride)) {
                self.ends.store::<I>(row, self.columns.clone(), &y[..self.columns.len()]);
            }
        }
        rows.end
    }
}

/// Tiles of a product for so much work on so many threads: large ones, for which little is packed and loaded; smaller ones
/// where threads would be left without.
pub fn tiles([_, rows, columns]: [usize; 3], threads: usize, arranged: bool) -> [usize; 3] {
    // The largest first.
    const SIZES: [[usize; 2]; 6] = [[512, 192], [512, 96], [256, 96], [256, 48], [128, 48], [64, 48]];
    if arranged {
        const MOST: usize = 512;
        // Threads are not equally fast, as when one shares its core with somebody else: the fast ones take what is left.
        let enough = if threads == 1 { 1 } else { 8 * threads };
        let across = |r: usize| columns.div_ceil(enough.div_ceil(rows.div_ceil(r))).next_multiple_of(48);
        // Weights may come from far: many rows share them, as long as there are columns for all threads. Else all columns
        // share a row, while there are rows for all threads.
        let r = match across(MOST) {
            c if c >= 96 => MOST,
            _ => (rows / enough / 9 * 9).clamp(27, MOST),
        };
        return [1, r, across(r)];
    }
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
                let [_, r, c] = tiles([1, 512, columns], threads, false);
                512usize.div_ceil(r) * columns.div_ceil(c)
            };
            assert_eq!(count(1), columns.div_ceil(192));
            assert!(count(2) >= 4 && count(16) >= 32, "{columns}: {} and {}", count(2), count(16));
        }
        // Where there is little to do, it is divided as far as it pays.
        assert_eq!(tiles([1, 7, 33], 16, false), [1, 64, 48]);
        // Nothing to pack.
        assert_eq!(tiles([1, 512, 576], 2, true), [1, 27, 576]);
        assert_eq!(tiles([1, 512, 4608], 2, true), [1, 512, 288]);
        assert_eq!(tiles([1, 2, 1152], 2, true), [1, 512, 96]);
        let [_, r, c] = tiles([1, 512, 192], 16, true);
        assert!(512usize.div_ceil(r) * 192usize.div_ceil(c) >= 32);
    }
}
