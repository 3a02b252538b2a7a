//! `out = softmax(q · kᵀ / √h) · v` per head, over the tokens of a frame or over the frames of a place.
//!
//! The CPU kernel is FlashAttention (arXiv 2205.14135) with a vector's lanes along whatever needs no crossing:
//!
//! ```text
//! for each tile of keys:
//!     s[key][query] = Σ_c k[key][c] · q[c][query]                lanes are queries, k is a scalar
//!     m' = max(m, max over keys of s)                            one maximum per lane
//!     p = exp2(s − m');  r = exp2(m − m');  l = l·r + Σ over keys of p        s has the factor log2(e)/√h of q
//!     o[query][c] = o[query][c]·r[query] + Σ over keys of p[key][query] · v[key][c]       lanes are channels
//! out = o / l
//! ```
//!
//! Both products are one routine, a scalar times a vector into a block of registers. Only the queries are transposed,
//! once; the S×S matrix never exists.

use bytemuck::{Pod, Zeroable};

use super::shared::{Begin, Scalars, To, Vectors, sums, vector};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, LANES, Scratch, V, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Error, Result, Tensor};

/// See [`attention`].
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    cpu: cpu_sources!(cpu, tile: [1, 1, 64], tiles: tiles),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/attention"), [1, 1, 32])
            .needs(Need::CpuAdapter)
            .with(&[("TILE", 32)])
            .multiple(4)
            .at_most("HEAD", 160)
            // Loops of up to 32 turns are unrolled. Four blocks of queries go over all keys.
            .turning(|[keys, head]| 4 * keys.div_ceil(8) * (1 + 2 * long(head.div_ceil(4)))),
        Source::wgsl("tile", wgsl!("attention"), [1, 1, 64]).multiple(4).turning(tile_turns),
        // After `tile` until a GPU says otherwise.
        Source::wgsl("subgroup", wgsl!("subgroup/attention"), [1, 1, 64])
            .needs(Need::FixedSubgroups)
            .multiple(4)
            .turning(tile_turns),
        Source::wgsl("online", wgsl!("ladder/attention_online"), [1, 1, 64])
            .multiple(4)
            .turning(|[keys, head]| keys * (1 + 2 * long(head.div_ceil(4)))),
        // Two heads where one ends in the middle of a word.
        Source::wgsl("naive", wgsl!("ladder/attention_naive"), [1, 1, 64])
            .turning(|[keys, head]| (1 + head % 2) * keys * (2 + 3 * head.div_ceil(4))),
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

/// Tiles for so much work on so many threads. Each copies all keys and values of its heads, so that many queries share them
/// while there are tiles for all threads; short sequences share a tile with those of other heads.
fn tiles([sequences, heads, length]: [usize; 3], threads: usize, _: bool) -> [usize; 3] {
    let enough = if threads == 1 { 1 } else { 8 * threads };
    let fills = |queries: &usize| sequences * heads * length.div_ceil(*queries) >= enough;
    let queries = [256, 128].into_iter().find(fills).unwrap_or(64);
    let short = if length <= 64 { (sequences * heads / enough).clamp(1, heads) } else { 1 };
    [1, short, queries]
}

/// Turns of a loop, none if the driver unrolls it.
fn long(turns: usize) -> usize {
    if turns > 32 { turns } else { 0 }
}

/// Turns of the loops of `common/attention.wgsl`, at most: slices of keys are loaded and multiplied, then values, two at a
/// time or as many as fit where the slice was.
fn tile_turns([keys, head]: [usize; 2]) -> usize {
    let c = head.div_ceil(4);
    let values = (32 * 9 / c).clamp(1, 32);
    let (slices, parts) = (c.div_ceil(9), 32usize.div_ceil(values));
    let part = 1 + (values * c).div_ceil(128) + values * (1 + long(c / 8));
    keys.div_ceil(32) * (1 + slices * (1 + 5 + 3 + 9) + parts * part)
}

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
        .loops([length, dim / heads])
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
            block::<I, T>(args, sequence, head, queries.clone());
        }
    }
}

/// Keys of a tile: with their values and a group's scores they stay in the first-level cache.
const KEYS: usize = 32;
/// log2 e: scores are in base 2, where an exponential costs less.
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Queries of one head of one sequence. They go through the keys in groups, each with its part of the scratch; a tile of keys
/// is copied out of its rows once for all groups, which read it many times.
#[inline(always)]
fn block<I: Isa, T: Element>(
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

    // Two vectors of queries share each key that is read, where there are registers for that; a rest makes do with one.
    let widest = if I::ACROSS > 1 { 2 * LANES } else { LANES };
    // Channels in whole vectors.
    let hv = h.next_multiple_of(LANES);
    let all = queries.len().next_multiple_of(LANES);
    let mut scratch = Scratch::take(2 * hv * all + 3 * all + (2 * hv + widest) * KEYS);
    let (q, rest) = scratch.floats().split_at_mut(hv * all);
    let (o, rest) = rest.split_at_mut(hv * all);
    let (max, rest) = rest.split_at_mut(all);
    let (sum, rest) = rest.split_at_mut(all);
    let (rescale, rest) = rest.split_at_mut(all);
    let (k, rest) = rest.split_at_mut(KEYS * hv);
    let (v, rest) = rest.split_at_mut(KEYS * hv);
    let s = &mut rest[..KEYS * widest];
    let width_at = |at: usize| if all - at >= widest { widest } else { LANES };

    let scale = V::splat(LOG2_E / (h as f32).sqrt());
    let mut at = 0;
    while at < all {
        let width = width_at(at);
        let q = &mut q[hv * at..hv * (at + width)];
        for (c, first) in (0..h).step_by(LANES).flat_map(|c| (0..width).step_by(LANES).map(move |f| (c, f))) {
            // Lanes past the last query repeat it, and are not stored.
            let token = |lane: usize| (queries.start + at + first + lane).min(queries.end - 1);
            let mut rows = [V::ZERO; LANES];
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = vector(part(token(lane), 0), c);
            }
            for (i, column) in I::transpose(rows).into_iter().enumerate() {
                (column * scale).store(&mut q[(c + i) * width + first..]);
            }
        }
        at += width;
    }
    max.fill(-3.4e38);
    sum.fill(0.0);

    // Keys that fit one tile are read where they are. More of them are copied, as their rows may be pages apart; and so are
    // those of which more are read at a time than their places in the first-level cache hold, as of a clip's frames with
    // AVX-512.
    let apart = spreads(p.stride as usize * 3 * dim * size_of::<T>(), length.min(I::ACCUMULATORS));
    let in_place = size_of::<T>() == size_of::<f32>() && h == hv && length <= KEYS && apart;
    for first in (0..length).step_by(KEYS) {
        let keys = KEYS.min(length - first);
        let tile = match in_place {
            true => {
                let (all, at) = (bytemuck::cast_slice::<T, f32>(qkv), row(first) * 3 * dim + head * h);
                Keys { k: &all[at + dim..], v: &all[at + 2 * dim..], keys, next: p.stride as usize * 3 * dim }
            }
            false => {
                for j in 0..keys {
                    for c in (0..h).step_by(LANES) {
                        vector(part(first + j, 1), c).store(&mut k[j * hv + c..]);
                        vector(part(first + j, 2), c).store(&mut v[j * hv + c..]);
                    }
                }
                Keys { k: &*k, v: &*v, keys, next: hv }
            }
        };
        let mut at = 0;
        while at < all {
            let width = width_at(at);
            let group = Group {
                q: &q[hv * at..][..h * width],
                o: &mut o[hv * at..][..hv * width],
                s: &mut s[..keys * width],
                max: &mut max[at..at + width],
                sum: &mut sum[at..at + width],
                rescale: &mut rescale[at..at + width],
            };
            match width {
                LANES => group.attend::<I, 1>(tile, hv, first == 0),
                _ => group.attend::<I, 2>(tile, hv, first == 0),
            }
            at += width;
        }
    }

    for sum in sum.chunks_exact_mut(LANES) {
        V::load(sum).map(|x| 1.0 / x).store(sum);
    }
    for (lane, token) in queries.enumerate() {
        let at = row(token) * dim + head * h;
        // SAFETY: a token's output in one head belongs to one block.
        let out = unsafe { args.write::<T>(0, at..at + h) };
        let (o, inverse) = (&o[lane * hv..][..hv], V::splat(sum[lane]));
        let (whole, tail) = (out.len() / LANES * LANES, h % LANES);
        for (out, o) in out.chunks_exact_mut(LANES).zip(o.chunks_exact(LANES)) {
            T::store(V::load(o) * inverse, out);
        }
        if tail > 0 {
            T::store_tail(V::load(&o[whole..]) * inverse, &mut out[whole..]);
        }
    }
}

/// Whether so many rows, which begin `next` bytes after one another, find room beside one another in a first-level cache of
/// 64 lines with 8 places each. Two of the places are left to others.
fn spreads(next: usize, rows: usize) -> bool {
    const LINES: usize = 64;
    let lines = next / 64 % LINES;
    let apart = LINES >> lines.trailing_zeros().min(LINES.trailing_zeros());
    rows <= 6 * apart
}

/// A tile of keys and their values; rows begin `next` after one another.
#[derive(Clone, Copy)]
struct Keys<'a> {
    k: &'a [f32],
    v: &'a [f32],
    keys: usize,
    next: usize,
}

/// `Q` vectors of queries, between two tiles of keys.
struct Group<'s> {
    /// The queries, times log2(e)/√h: rows of a channel of all queries.
    q: &'s [f32],
    /// What the values have added up to: rows of a query, in whole vectors of channels.
    o: &'s mut [f32],
    /// Scores of the tile: rows of a key.
    s: &'s mut [f32],
    /// Of each query: the greatest score so far, the sum of the weights relative to it, what the sums shrink by.
    max: &'s mut [f32],
    sum: &'s mut [f32],
    rescale: &'s mut [f32],
}

impl Group<'_> {
    /// Takes a tile of keys and values in; channels are `hv` with whole vectors. Of the `first` tile nothing has added up.
    #[inline(always)]
    fn attend<I: Isa, const Q: usize>(self, Keys { k, v, keys, next }: Keys<'_>, hv: usize, first: bool) {
        let width = Q * LANES;
        let Group { q, o, s, max, sum, rescale } = self;
        let by_key = Scalars { of: k, next, step: 1 };
        let queries = Vectors { of: q, next: width, beside: LANES, terms: q.len() / width };
        products::<I, Q>(To { of: s, stride: width }, Begin::Nothing, by_key, queries);
        for lanes in (0..width).step_by(LANES) {
            let old = V::load(&max[lanes..]);
            let mut top = old;
            for s in s.chunks_exact(width) {
                top = V::load(&s[lanes..]).max(top);
            }
            let r = (old - top).exp2_of_negative::<I>();
            r.store(&mut rescale[lanes..]);
            top.store(&mut max[lanes..]);
            let mut total = V::load(&sum[lanes..]) * r;
            for s in s.chunks_exact_mut(width) {
                let p = (V::load(&s[lanes..]) - top).exp2_of_negative::<I>();
                p.store(&mut s[lanes..]);
                total = total + p;
            }
            total.store(&mut sum[lanes..]);
        }
        let by_query = Scalars { of: s, next: 1, step: width };
        // As many vectors of channels at a time as share a scalar well, then what is left over.
        let mut c = 0;
        let values = |c: usize| Vectors { of: &v[c..], next, beside: LANES, terms: keys };
        let begin = if first { Begin::Nothing } else { Begin::Scaled(rescale) };
        while I::ACROSS == 4 && c + 4 * LANES <= hv {
            products::<I, 4>(To { of: &mut o[c..], stride: hv }, begin, by_query, values(c));
            c += 4 * LANES;
        }
        while c < hv {
            products::<I, 1>(To { of: &mut o[c..], stride: hv }, begin, by_query, values(c));
            c += LANES;
        }
    }
}

/// [`sums`] for `Q` vectors at the start of every row, as many rows at once as the registers hold.
#[inline(always)]
fn products<I: Isa, const Q: usize>(mut to: To<'_>, begin: Begin<'_>, x: Scalars<'_>, y: Vectors<'_>) {
    let rows = to.of.len().div_ceil(to.stride);
    let i = &mut 0;
    if I::ACCUMULATORS >= 16 * Q {
        rows_at_once::<I, Q, 16>(&mut to, begin, x, y, i, rows);
    }
    if I::ACCUMULATORS >= 6 * Q && I::ACCUMULATORS < 8 * Q {
        rows_at_once::<I, Q, 6>(&mut to, begin, x, y, i, rows);
    }
    if I::ACCUMULATORS >= 8 * Q {
        rows_at_once::<I, Q, 8>(&mut to, begin, x, y, i, rows);
    }
    if I::ACCUMULATORS >= 4 * Q {
        rows_at_once::<I, Q, 4>(&mut to, begin, x, y, i, rows);
    }
    if I::ACCUMULATORS >= 2 * Q {
        rows_at_once::<I, Q, 2>(&mut to, begin, x, y, i, rows);
    }
    rows_at_once::<I, Q, 1>(&mut to, begin, x, y, i, rows);
}

/// `R` rows at a time, from `i` on, while that many are left.
#[inline(always)]
fn rows_at_once<I: Isa, const Q: usize, const R: usize>(
    to: &mut To<'_>,
    begin: Begin<'_>,
    x: Scalars<'_>,
    y: Vectors<'_>,
    i: &mut usize,
    rows: usize,
) {
    while *i + R <= rows {
        sums::<I, Q, R, false, 0>(to, begin, x, y, *i);
        *i += R;
    }
}

#[cfg(test)]
mod tests {
    use super::{spreads, tiles};

    #[test]
    fn queries_share_keys_while_there_are_tiles_for_all_threads() {
        // The shipped model, on two threads and on sixteen.
        assert_eq!(tiles([32, 3, 16], 2, false), [1, 3, 256]);
        assert_eq!(tiles([32, 3, 16], 16, false), [1, 1, 64]);
        assert_eq!(tiles([1, 8, 1024], 2, false), [1, 1, 256]);
        assert_eq!(tiles([1, 8, 1024], 8, false), [1, 1, 128]);
        assert_eq!(tiles([2, 16, 256], 2, false), [1, 1, 256]);
        assert_eq!(tiles([1, 1, 300], 4, false), [1, 1, 64]);
    }

    #[test]
    fn rows_share_places_where_they_are_pages_apart() {
        // The shipped model's tokens of a frame, and its frames of a place.
        assert!(spreads(3 * 192 * 4, 16));
        assert!(!spreads(16 * 3 * 192 * 4, 16) && spreads(16 * 3 * 192 * 4, 6));
        // Eight lines are apart, and take six rows each.
        assert!(spreads(8 * 64, 48) && !spreads(8 * 64, 49));
    }
}
