//! `out = softmax(q · kᵀ / √h) · v` per head, over the tokens of a frame or over the frames of a place.
//!
//! The CPU kernel is FlashAttention (arXiv 2205.14135) turned on its side. A vector's lanes are sixteen *queries*:
//!
//! ```text
//! for each tile of keys:
//!     s[key][query] = Σ_c k[key][c] · q[c][query]          k is a scalar that all lanes share
//!     m' = max(m, max over keys of s)                      one maximum per lane: nothing crosses lanes
//!     p = exp(s − m');  r = exp(m − m')
//!     l = l·r + Σ over keys of p;  o[c] = o[c]·r + Σ over keys of v[key][c] · p[key]
//! out = o / l
//! ```
//!
//! So keys and values are read where they lie, only the queries are transposed, and the S×S matrix never exists.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Block, Launch};
use crate::device::matmul::widen;
use crate::device::simd::{Element, Isa, LANES, Scratch, V, by_dtype};
use crate::device::{Call, Gate, Kernel, cpu_sources};
use crate::{Error, Result, Tensor};

/// See [`attention`].
pub static ATTENTION: Kernel = Kernel { name: "attention", sources: cpu_sources!(cpu, tile: [1, 2, 64]) };

/// What a token attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The tokens of its frame (spatial attention).
    Tokens,
    /// The same place in every frame (temporal attention).
    Frames,
}

/// Rows of `qkv` are tokens; sequence s starts at row `s / inner · outer + s % inner`, its next token is `stride` rows
/// on. With that, spatial and temporal attention read the same buffer and no transpose is needed.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    length: u32,
    stride: u32,
    inner: u32,
    outer: u32,
    heads: u32,
    head: u32,
}

/// `out = softmax(q · kᵀ / √h) · v`, non-causal, online softmax in f32.
///
/// - `out`: T [B, F, N, d]
/// - `qkv`: T [B, F, N, 3·d], all queries, then keys, then values; each is `heads` runs of h = d / heads
pub fn attention(gate: Gate<'_>, out: &mut Tensor, qkv: &Tensor, heads: usize, over: Over) -> Result<()> {
    const OP: &str = "attention";
    let dtype = out.float(OP, "out")?;
    let [batch, frames, tokens, dim] = out.dims(OP, "out")?;
    qkv.expect(OP, "qkv", dtype, [batch, frames, tokens, 3 * dim])?;
    if heads == 0 || dim == 0 || dim % heads != 0 {
        return Err(Error::argument(OP, "heads", format!("a divisor of {dim}"), heads));
    }
    let (sequences, length, stride, inner, outer) = match over {
        Over::Tokens => (batch * frames, tokens, 1, 1, tokens),
        Over::Frames => (batch * tokens, frames, tokens, tokens, frames * tokens),
    };
    let params = Params {
        length: length as u32,
        stride: stride as u32,
        inner: inner as u32,
        outer: outer as u32,
        heads: heads as u32,
        head: (dim / heads) as u32,
    };
    Call {
        kernel: &ATTENTION,
        writes: &mut [out],
        reads: &[qkv],
        params: bytemuck::bytes_of(&params),
        work: [sequences, heads, length],
        gate,
    }
    .run()
}

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, block: &Block) {
    by_dtype!(l.write_dtype(0), heads::<I>(l, block))
}

#[inline(always)]
fn heads<I: Isa, T: Element>(l: &Launch<'_>, Block([sequences, heads, queries]): &Block) {
    for sequence in sequences.clone() {
        for head in heads.clone() {
            let mut at = queries.start;
            while at < queries.end {
                // Two vectors of queries share each key that is read; the rest makes do with one.
                if queries.end - at > LANES {
                    lanes::<I, T, 2>(l, sequence, head, at..queries.end.min(at + 2 * LANES));
                    at += 2 * LANES;
                } else {
                    lanes::<I, T, 1>(l, sequence, head, at..queries.end);
                    at += LANES;
                }
            }
        }
    }
}

/// Keys of a tile: with its values and its scores it stays in the first-level cache.
const KEYS: usize = 32;

/// `Q`·16 queries of one head of one sequence.
#[inline(always)]
fn lanes<I: Isa, T: Element, const Q: usize>(
    l: &Launch<'_>,
    sequence: usize,
    head: usize,
    queries: std::ops::Range<usize>,
) {
    let p: Params = l.params();
    let (length, h) = (p.length as usize, p.head as usize);
    let dim = p.heads as usize * h;
    let (inner, outer) = (p.inner as usize, p.outer as usize);
    let start = sequence / inner * outer + sequence % inner;
    let row = |token: usize| start + token * p.stride as usize;
    let qkv = l.read::<T>(0);
    let part = |token: usize, which: usize| {
        let at = row(token) * 3 * dim + which * dim + head * h;
        &qkv[at..at + h]
    };

    let width = Q * LANES;
    let mut scratch = Scratch::take(2 * h * width + KEYS * width + 2 * KEYS * h);
    let (q, rest) = scratch.floats().split_at_mut(h * width);
    let (o, rest) = rest.split_at_mut(h * width);
    let (s, rest) = rest.split_at_mut(KEYS * width);
    let (k, rest) = rest.split_at_mut(KEYS * h);
    let v = &mut rest[..KEYS * h];

    let scale = 1.0 / (h as f32).sqrt();
    for lane in 0..width {
        // Lanes past the last query repeat it, and are not stored.
        let token = (queries.start + lane).min(queries.end - 1);
        for (c, x) in part(token, 0).iter().enumerate() {
            q[c * width + lane] = x.to_f32() * scale;
        }
    }
    o.fill(0.0);
    let mut max = [V::splat(-3.4e38); Q];
    let mut sum = [V::ZERO; Q];

    for first in (0..length).step_by(KEYS) {
        let keys = KEYS.min(length - first);
        for j in 0..keys {
            widen(part(first + j, 1), &mut k[j * h..(j + 1) * h]);
            widen(part(first + j, 2), &mut v[j * h..(j + 1) * h]);
        }
        // Every element of s is a dot product over channels, every element of o one over keys.
        products::<I, Q>(&mut s[..keys * width], None, q, Scalars { at: k, step: 1, next: h }, h);
        let mut rescale = [V::ZERO; Q];
        for i in 0..Q {
            let mut top = max[i];
            for s in s[..keys * width].chunks_exact(width) {
                top = V::load(&s[i * LANES..]).max(top);
            }
            rescale[i] = (max[i] - top).exp::<I>();
            max[i] = top;
            let mut total = sum[i] * rescale[i];
            for s in s[..keys * width].chunks_exact_mut(width) {
                let p = (V::load(&s[i * LANES..]) - top).exp::<I>();
                p.store(&mut s[i * LANES..]);
                total = total + p;
            }
            sum[i] = total;
        }
        let values = Scalars { at: v, step: h, next: 1 };
        products::<I, Q>(o, Some(rescale), &s[..keys * width], values, keys);
    }

    for i in 0..Q {
        let inverse = sum[i].map(|x| 1.0 / x);
        for o in o.chunks_exact_mut(width) {
            (V::load(&o[i * LANES..]) * inverse).store(&mut o[i * LANES..]);
        }
    }
    for (lane, token) in queries.enumerate() {
        let at = row(token) * dim + head * h;
        // SAFETY: a token's output in one head belongs to one block.
        let out = unsafe { l.write::<T>(0, at..at + h) };
        for (x, o) in out.iter_mut().zip(o.chunks_exact(width)) {
            *x = T::from_f32(o[lane]);
        }
    }
}

/// Scalar operands: output i takes `at[i·next + j·step]` in term j.
#[derive(Clone, Copy)]
struct Scalars<'a> {
    at: &'a [f32],
    step: usize,
    next: usize,
}

/// out[i] = (rescale · out[i] or 0) + Σ_j x[i, j] · y[j] for every row i of `out`, where rows of `out` and `y` are
/// `Q` vectors and x is scalar; `terms` is the number of j.
#[inline(always)]
fn products<I: Isa, const Q: usize>(
    out: &mut [f32],
    rescale: Option<[V; Q]>,
    y: &[f32],
    x: Scalars<'_>,
    terms: usize,
) {
    let rows = out.len() / (Q * LANES);
    let mut i = 0;
    // As many rows at once as the registers hold.
    if I::ACCUMULATORS / Q >= 16 {
        i = rows_at_once::<I, Q, 16>(out, rescale, y, x, terms, i);
    }
    if I::ACCUMULATORS / Q >= 8 {
        i = rows_at_once::<I, Q, 8>(out, rescale, y, x, terms, i);
    }
    if I::ACCUMULATORS / Q >= 4 {
        i = rows_at_once::<I, Q, 4>(out, rescale, y, x, terms, i);
    }
    i = rows_at_once::<I, Q, 2>(out, rescale, y, x, terms, i);
    i = rows_at_once::<I, Q, 1>(out, rescale, y, x, terms, i);
    debug_assert_eq!(i, rows);
}

/// [`products`] for rows `i..`, `R` at a time while that many are left; returns the next row.
#[inline(always)]
// Indices, so that the accumulators are seen to be registers.
#[allow(clippy::needless_range_loop)]
fn rows_at_once<I: Isa, const Q: usize, const R: usize>(
    out: &mut [f32],
    rescale: Option<[V; Q]>,
    y: &[f32],
    x: Scalars<'_>,
    terms: usize,
    mut i: usize,
) -> usize {
    let width = Q * LANES;
    let rows = out.len() / width;
    while i + R <= rows {
        let tile = &mut out[i * width..(i + R) * width];
        let mut acc = [[V::ZERO; Q]; R];
        if let Some(rescale) = rescale {
            for r in 0..R {
                for n in 0..Q {
                    acc[r][n] = V::load(&tile[r * width + n * LANES..]) * rescale[n];
                }
            }
        }
        let base = &x.at[i * x.next..];
        // The last scalar that is touched: checked once, so that the loop need not.
        assert!((R - 1) * x.next + (terms - 1) * x.step < base.len());
        for (j, y) in y.chunks_exact(width).take(terms).enumerate() {
            for r in 0..R {
                // SAFETY: r < R and j < terms, see the assertion.
                let x = V::splat(unsafe { *base.get_unchecked(r * x.next + j * x.step) });
                for n in 0..Q {
                    acc[r][n] = x.mul_add::<I>(V::load(&y[n * LANES..]), acc[r][n]);
                }
            }
        }
        for r in 0..R {
            for n in 0..Q {
                acc[r][n].store(&mut tile[r * width + n * LANES..]);
            }
        }
        i += R;
    }
    i
}
