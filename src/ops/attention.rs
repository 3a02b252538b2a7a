//! `out = softmax(q · kᵀ / √h) · v` per head, over the tokens of a frame or over the frames of a place.
//!
//! The CPU kernel is FlashAttention (arXiv 2205.14135) with a vector's lanes along whatever needs no crossing:
//!
//! ```text
//! for each tile of keys:
//!     s[key][query] = Σ_c k[key][c] · q[c][query]                lanes are queries, k is a scalar
//!     m' = max(m, max over keys of s)                            one maximum per lane
//!     p = exp(s − m');  r = exp(m − m');  l = l·r + Σ over keys of p
//!     o[query][c] = o[query][c]·r[query] + Σ over keys of p[key][query] · v[key][c]       lanes are channels
//! out = o / l
//! ```
//!
//! Both products are one routine, a scalar times a vector into a block of registers. Only the queries are transposed,
//! once; the S×S matrix never exists.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, LANES, Scratch, V, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Error, Result, Tensor};

/// See [`attention`].
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    cpu: cpu_sources!(cpu, tile: [1, 2, 64]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/attention"), [1, 1, 32])
            .needs(Need::CpuAdapter)
            .with(&[("TILE", 32)])
            .multiple(4)
            .at_most("HEAD", 160),
        Source::wgsl("tile", wgsl!("attention"), [1, 1, 64]).multiple(4),
        Source::wgsl("online", wgsl!("ladder/attention_online"), [1, 1, 64]).multiple(4),
        Source::wgsl("naive", wgsl!("ladder/attention_naive"), [1, 1, 64]),
    ],
    cuda: &[
        Source::cuda("mma", cu!("attention"), 128, [1, 1, 128])
            .needs(Need::Sm80)
            .halves()
            .multiple(8)
            .folded()
            .taking(&["HEAD"])
            // Rows of a head, in sixteens, and eight more.
            .shared("2 * (128 + 4 * (HEAD > 128 ? 32 : HEAD > 80 ? 48 : 64)) * ((HEAD + 15) / 16 * 16 + 8)")
            .suited_to(|[_, _, length]| length > 32),
        Source::cuda("mma_short", cu!("attention"), 32, [1, 1, 16])
            .needs(Need::Sm80)
            .halves()
            .multiple(8)
            .folded()
            .taking(&["HEAD"])
            .with(&[("WARPS", 1), ("ROW_TILES", 1), ("KEYS", 16)])
            .shared("2 * (16 + 4 * 16) * ((HEAD + 15) / 16 * 16 + 8)"),
        Source::cuda("tile", cu!("ladder/attention_tile"), 256, [1, 1, 64])
            .folded()
            .taking(&["HEAD"])
            .shared("4 * ((64 + 32) * ((HEAD + 3) / 4 * 4 + 4) + 64 * (32 + 4))"),
        Source::cuda("online", cu!("ladder/attention_online"), 128, [1, 1, 4]).folded().taking(&["HEAD"]),
        Source::cuda("naive", cu!("ladder/attention_naive"), 32, [1, 1, 1]).taking(&["HEAD"]),
    ],
};

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
    // Sources that can make do with fewer invocations when there are few queries, do so for 16 (a workgroup more
    Call::new(&ATTENTION, gate, &mut [out], &[qkv])
        .params(&params)
        .work([sequences, heads, length])
        .row_lengths(&[dim / heads])
        .constants(&[("HEAD", params.head), ("QUERIES", if length <= 16 { 16 } else { 64 })])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(0), heads::<I>(args, part))
}

#[inline(always)]
fn heads<I: Isa, T: Element>(args: &Arguments<'_>, Tile([sequences, heads, queries]): &Tile) {
    for sequence in sequences.clone() {
        for head in heads.clone() {
            let mut at = queries.start;
            while at < queries.end {
                // Two vectors of queries share each key that is read; the rest makes do with one.
                if queries.end - at > LANES {
                    lanes::<I, T, 2>(args, sequence, head, at..queries.end.min(at + 2 * LANES));
                    at += 2 * LANES;
                } else {
                    lanes::<I, T, 1>(args, sequence, head, at..queries.end);
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
    args: &Arguments<'_>,
    sequence: usize,
    head: usize,
    queries: std::ops::Range<usize>,
) {
    let p: Params = args.params();
    let (length, h) = (p.length as usize, p.head as usize);
    let dim = p.heads as usize * h;
    let (inner, outer) = (p.inner as usize, p.outer as usize);
    let start = sequence / inner * outer + sequence % inner;
    let row = |token: usize| start + token * p.stride as usize;
    let qkv = args.read::<T>(0);
    let part = |token: usize, which: usize| {
        let at = row(token) * 3 * dim + which * dim + head * h;
        &qkv[at..at + h]
    };

    let width = Q * LANES;
    // Channels in whole vectors.
    let hv = h.next_multiple_of(LANES);
    let mut scratch = Scratch::take(hv * width + width * hv + KEYS * width + 2 * KEYS * hv + 2 * width);
    let (q, rest) = scratch.floats().split_at_mut(hv * width);
    let (o, rest) = rest.split_at_mut(width * hv);
    let (s, rest) = rest.split_at_mut(KEYS * width);
    let (k, rest) = rest.split_at_mut(KEYS * hv);
    let (v, rest) = rest.split_at_mut(KEYS * hv);
    let (rescale, inverse) = rest[..2 * width].split_at_mut(width);

    let scale = V::splat(1.0 / (h as f32).sqrt());
    for c in (0..h).step_by(LANES) {
        for first in (0..width).step_by(LANES) {
            // Lanes past the last query repeat it, and are not stored.
            let token = |lane: usize| (queries.start + first + lane).min(queries.end - 1);
            let mut rows = [V::ZERO; LANES];
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = vector(part(token(lane), 0), c);
            }
            for (i, column) in I::transpose(rows).into_iter().enumerate() {
                (column * scale).store(&mut q[(c + i) * width + first..]);
            }
        }
    }
    o.fill(0.0);
    let mut max = [V::splat(-3.4e38); Q];
    let mut sum = [V::ZERO; Q];

    for first in (0..length).step_by(KEYS) {
        let keys = KEYS.min(length - first);
        for j in 0..keys {
            for c in (0..h).step_by(LANES) {
                vector(part(first + j, 1), c).store(&mut k[j * hv + c..]);
                vector(part(first + j, 2), c).store(&mut v[j * hv + c..]);
            }
        }
        let s = &mut s[..keys * width];
        let by_key = Scalars { of: k, next: hv, step: 1 };
        products::<I, Q>(s, width, None, by_key, &q[..h * width]);
        for i in 0..Q {
            let lanes = i * LANES;
            let mut top = max[i];
            for s in s.chunks_exact(width) {
                top = V::load(&s[lanes..]).max(top);
            }
            let r = (max[i] - top).exp::<I>();
            r.store(&mut rescale[lanes..]);
            max[i] = top;
            let mut total = sum[i] * r;
            for s in s.chunks_exact_mut(width) {
                let p = (V::load(&s[lanes..]) - top).exp::<I>();
                p.store(&mut s[lanes..]);
                total = total + p;
            }
            sum[i] = total;
        }
        let by_query = Scalars { of: s, next: 1, step: width };
        // Four vectors of channels at a time, then what is left over.
        let mut c = 0;
        while c + 4 * LANES <= hv {
            products::<I, 4>(&mut o[c..], hv, Some(rescale), by_query, &v[c..keys * hv]);
            c += 4 * LANES;
        }
        while c < hv {
            products::<I, 1>(&mut o[c..], hv, Some(rescale), by_query, &v[c..keys * hv]);
            c += LANES;
        }
    }

    for (i, sum) in sum.into_iter().enumerate() {
        sum.map(|x| 1.0 / x).store(&mut inverse[i * LANES..]);
    }
    for (lane, token) in queries.enumerate() {
        let at = row(token) * dim + head * h;
        // SAFETY: a token's output in one head belongs to one block.
        let out = unsafe { args.write::<T>(0, at..at + h) };
        let (o, inverse) = (&o[lane * hv..][..hv], V::splat(inverse[lane]));
        for (out, o) in out.chunks_mut(LANES).zip(o.chunks_exact(LANES)) {
            let o = V::load(o) * inverse;
            match out.len() {
                LANES => T::store(o, out),
                _ => T::store_tail(o, out),
            }
        }
    }
}

/// Elements `at..at + 16` of a row; zeros past its end.
#[inline(always)]
fn vector<T: Element>(row: &[T], at: usize) -> V {
    match row.len() - at {
        left if left < LANES => T::load_tail(&row[at..], 0.0),
        _ => T::load(&row[at..]),
    }
}

/// The scalar operand of [`products`]: that of output row i in term j is `of[i·next + j·step]`.
#[derive(Clone, Copy)]
struct Scalars<'a> {
    of: &'a [f32],
    next: usize,
    step: usize,
}

/// `out[i] = out[i]·rescale[i] + Σ_j x[i, j]·y[j]` for `Q` vectors at the start of every row i of `out` and j of `y`,
/// where both have rows of `stride`. Without `rescale` the old `out` counts as 0.
#[inline(always)]
fn products<I: Isa, const Q: usize>(
    out: &mut [f32],
    stride: usize,
    rescale: Option<&[f32]>,
    x: Scalars<'_>,
    y: &[f32],
) {
    let mut i = 0;
    // As many rows at once as the registers hold.
    if I::ACCUMULATORS >= 16 * Q {
        i = rows_at_once::<I, Q, 16>(out, stride, rescale, x, y, i);
    }
    if I::ACCUMULATORS >= 8 * Q {
        i = rows_at_once::<I, Q, 8>(out, stride, rescale, x, y, i);
    }
    if I::ACCUMULATORS >= 4 * Q {
        i = rows_at_once::<I, Q, 4>(out, stride, rescale, x, y, i);
    }
    if I::ACCUMULATORS >= 2 * Q {
        i = rows_at_once::<I, Q, 2>(out, stride, rescale, x, y, i);
    }
    rows_at_once::<I, Q, 1>(out, stride, rescale, x, y, i);
}

/// [`products`] for rows `i..`, `R` at a time while that many are left; returns the next row.
#[inline(always)]
fn rows_at_once<I: Isa, const Q: usize, const R: usize>(
    out: &mut [f32],
    stride: usize,
    rescale: Option<&[f32]>,
    x: Scalars<'_>,
    y: &[f32],
    mut i: usize,
) -> usize {
    let rows = out.len().div_ceil(stride);
    let terms = y.len().div_ceil(stride);
    while i + R <= rows {
        let tile = &mut out[i * stride..];
        let mut acc = [[V::ZERO; Q]; R];
        if let Some(rescale) = rescale {
            for (r, acc) in acc.iter_mut().enumerate() {
                let rescale = V::splat(rescale[i + r]);
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(&tile[r * stride + n * LANES..]).mul_add::<I>(rescale, V::ZERO);
                }
            }
        }
        let x_tile = &x.of[i * x.next..];
        // The last scalar that is touched: checked once, so that the loop need not.
        assert!((R - 1) * x.next + (terms - 1) * x.step < x_tile.len());
        for (j, y) in y.chunks(stride).enumerate() {
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: r < R and j < terms, see the assertion.
                let x = V::splat(unsafe { *x_tile.get_unchecked(r * x.next + j * x.step) });
                for (n, acc) in acc.iter_mut().enumerate() {
                    *acc = x.mul_add::<I>(V::load(&y[n * LANES..]), *acc);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (n, acc) in acc.iter().enumerate() {
                acc.store(&mut tile[r * stride + n * LANES..]);
            }
        }
        i += R;
    }
    i
}
