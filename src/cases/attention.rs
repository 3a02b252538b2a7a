//! FLOPs: 2·2·S per query and channel of q·kᵀ and p·v. Very large ones are verified for the first and the last head.

use super::*;
use crate::ops::{ATTENTION, Over, attention};

/// B, F, N, heads, h.
type Dims = [usize; 5];

const SHAPES: [Dims; 25] = [
    [1, 1, 1, 1, 1],
    [1, 1, 1, 1, 3],
    [1, 3, 1, 2, 3],
    [1, 3, 2, 2, 3],
    [2, 1, 15, 1, 8],
    [1, 1, 16, 2, 8],
    [2, 5, 16, 3, 40],
    [1, 16, 17, 2, 8],
    [2, 33, 3, 3, 48],
    [1, 2, 31, 1, 72],
    [1, 17, 2, 1, 72],
    [2, 1, 5, 2, 72],
    [1, 2, 20, 1, 64],
    [1, 1, 32, 2, 128],
    [1, 35, 1, 1, 128],
    [1, 2, 33, 5, 40],
    [1, 50, 1, 1, 128],
    [3, 2, 64, 1, 17],
    [1, 1, 70, 1, 64],
    [1, 2, 65, 2, 64],
    [1, 1, 130, 1, 8],
    [1, 100, 2, 1, 72],
    [1, 1, 257, 3, 8],
    [4, 1, 270, 2, 8],
    [1, 1, 1000, 1, 64],
];

/// Each head is a kernel of its own in CUDA: the ends, and two that are no power of two. Short and long sequences, whole
/// tiles and tails.
const EMULATED: [(Dims, Over); 10] = [
    ([1, 1, 1, 1, 3], Over::Tokens),
    ([1, 3, 2, 2, 3], Over::Frames),
    ([1, 1, 16, 2, 8], Over::Tokens),
    ([1, 3, 5, 2, 8], Over::Frames),
    ([1, 1, 130, 1, 8], Over::Tokens),
    ([1, 17, 2, 1, 72], Over::Frames),
    ([2, 1, 5, 2, 72], Over::Tokens),
    ([1, 1, 70, 1, 64], Over::Tokens),
    ([1, 1, 40, 2, 64], Over::Tokens),
    ([1, 50, 1, 1, 128], Over::Frames),
];

/// What queries, keys and values are.
#[derive(Debug, Clone, Copy)]
enum Data {
    /// Normal numbers: scores have this standard deviation, keys this mean.
    Normal { scores: f32, keys: f32 },
    /// Scores of a few thousands below zero.
    Low,
    /// The same, and values of 1: they come out as 1, for the weights of a row add up to 1.
    Ones { scores: f32 },
}
use Data::*;

const PLAIN: Data = Normal { scores: 1.0, keys: 0.0 };

pub(super) const SIZES: Sizes = Sizes {
    names: &["sequences", "heads", "length", "head"],
    case: |dtype, n| case(dtype, [n[0], 1, n[2], n[1], n[3]], Over::Tokens, PLAIN),
    operations: |case| case.flops,
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    use Over::{Frames, Tokens};
    let case = |dims, over, data| case(dtype, dims, over, data);
    let mut all = vec![];
    for (dims, over) in SHAPES.into_iter().flat_map(|dims| [(dims, Tokens), (dims, Frames)]) {
        all.extend(MEANS.map(|keys| case(dims, over, Normal { scores: 1.0, keys })));
    }
    // Several layers of blocks.
    all.push(case([1, 3, 5, 2, 8], Frames, PLAIN).gated());
    // Sources deal the channels of a head out in vectors, rows and columns.
    if dtype == DType::F32 {
        let heads = (8..=128).step_by(8).chain([4, 12, 20, 100, 136]);
        all.extend(heads.map(|h| case([1, 1, 13, 2, h], Tokens, PLAIN)));
    }
    for (dims, over) in
        [([1, 1, 65, 2, 40], Tokens), ([1, 33, 5, 2, 72], Frames), ([1, 1, 40, 2, 64], Tokens)]
    {
        all.extend([Normal { scores: 30.0, keys: 0.0 }, Low].map(|data| case(dims, over, data)));
    }
    for (dims, over) in
        [([1, 2, 33, 2, 8], Tokens), ([1, 1, 1000, 1, 8], Tokens), ([2, 17, 3, 1, 40], Frames)]
    {
        all.extend([1.0, 30.0].map(|scores| case(dims, over, Ones { scores })));
    }
    // One key: softmax is 1 and the value comes out to the bit.
    all.push(case([2, 1, 5, 2, 40], Frames, PLAIN));
    all.push(case([1, 2, 200, 3, 40], Tokens, PLAIN));
    all.push(case([1, 1, 128, 1, 64], Tokens, PLAIN).count());
    let shipped = [2, 16, 16, 3, 64];
    for (dims, over) in
        [(shipped, Tokens), (shipped, Frames), ([1, 1, 1024, 8, 64], Tokens), ([1, 1, 256, 16, 72], Tokens)]
    {
        let [b, f, n, heads, h] = dims;
        let (length, what) = if over == Tokens { (n, "spatial") } else { (f, "temporal") };
        let name = format!("{what} {}×{heads}×{length}×{h}", b * f * n / length);
        all.push(case(dims, over, PLAIN).named(name).bench());
    }
    all
}

fn case(dtype: DType, dims: Dims, over: Over, data: Data) -> Case {
    let [b, f, n, heads, h] = dims;
    let (d, length) = (heads * h, if over == Over::Tokens { n } else { f });
    let rows = b * f * n;
    let operands = (
        [output("out", dtype, [b, f, n, d])],
        [numbers("qkv", dtype, [b, f, n, 3 * d], move || packed(dtype, rows, d, data))],
    );
    let call =
        move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| attention(gate, &mut w[0], &r[0], heads, over);
    let flops = 2 * 2 * rows * length * d;
    let name = format!("{} over {over:?}, {data:?}", times(dims));
    let case = Case::new(&ATTENTION, dtype, name, operands, call, move |v| {
        let some: Vec<usize> = if flops > 1 << 30 { vec![0, heads - 1] } else { (0..heads).collect() };
        let want = naive(&v.read(0), dims, over, &some);
        let of_row =
            |row: usize| some.iter().flat_map(move |head| (0..h).map(move |c| row * d + head * h + c));
        let of = match some.len() == heads {
            true => Of::Output(0),
            false => Of::Elements(0, (0..rows).flat_map(of_row).collect()),
        };
        let (bound, why) = match data {
            _ if length == 1 => (Bound::Exact, "the one value, whatever its weight is made of"),
            Ones { .. } => (Bound::Relative(1e-6), "weights that add up to 1"),
            Low => (
                Bound::Stored(dtype, 1e-6),
                "scores of thousands are rounded to 1e-4, which moves the weights",
            ),
            Normal { scores, keys } => {
                let f32 = if scores > 1.0 {
                    1e-11
                } else if keys > 0.0 {
                    1e-9
                } else {
                    3e-12
                };
                (Bound::Stored(dtype, f32), WHY)
            }
        };
        vec![Check { what: "out", of, want, bound, why }]
    });
    let emulated = matches!(data, Normal { .. }) && EMULATED.contains(&(dims, over));
    Case { emulated, ..case.flops(flops) }
}

const WHY: &str = "the exponential is good to two units in the last place; a score is to its rounding, which moves the \
    weights by as much: 1e-7 where scores are about 1 (keys with a mean of 100 add the same hundreds to all scores of a \
    query: that must cancel, but leaves an error of 1e-5)";

/// Rows of queries, keys and values next to each other.
fn packed(dtype: DType, rows: usize, d: usize, data: Data) -> Vec<f32> {
    let make = |seed, mean, std| round(dtype, &normal_numbers(seed, rows * d, mean, std));
    let (scores, keys) = match data {
        Normal { scores, keys } => (scores, keys),
        Ones { scores } => (scores, 0.0),
        Low => (0.0, 0.0),
    };
    let [mut q, mut k, mut v] = [make(1, 0.0, scores), make(2, keys, 1.0), make(3, 0.0, 1.0)];
    match data {
        Low => {
            q.fill(60.0);
            k.iter_mut().for_each(|k| *k = k.abs() - 30.0);
        }
        Ones { .. } => v.fill(1.0),
        Normal { .. } => {}
    }
    let row = |i: usize| [&q, &k, &v].map(|part| &part[i * d..(i + 1) * d]).concat();
    (0..rows).flat_map(row).collect()
}

/// `softmax(q·kᵀ / √h)·v` of some heads → [B, F, N, some, h]; qkv is [B, F, N, 3·heads·h].
fn naive(qkv: &[f64], [batch, frames, tokens, heads, h]: Dims, over: Over, some: &[usize]) -> Vec<f64> {
    let dim = heads * h;
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..tokens {
                // The rows this token attends to.
                let others: Vec<usize> = match over {
                    Over::Tokens => (0..tokens).map(|n| (b * frames + f) * tokens + n).collect(),
                    Over::Frames => (0..frames).map(|f| (b * frames + f) * tokens + n).collect(),
                };
                let row = (b * frames + f) * tokens + n;
                for &head in some {
                    let at = |row: usize, part: usize, c: usize| qkv[(row * 3 + part) * dim + head * h + c];
                    let mut p = vec![];
                    for &other in &others {
                        let score: f64 = (0..h).map(|c| at(row, 0, c) * at(other, 1, c)).sum();
                        p.push(score / (h as f64).sqrt());
                    }
                    let max = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    p.iter_mut().for_each(|p| *p = (*p - max).exp());
                    let total: f64 = p.iter().sum();
                    for c in 0..h {
                        let sum: f64 = p.iter().zip(&others).map(|(p, &other)| p * at(other, 2, c)).sum();
                        out.push(sum / total);
                    }
                }
            }
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F16, [2, 3, 4, 2, 3], Over::Tokens, PLAIN);
    let heads =
        |heads| base.calling(move |gate, w, r| attention(gate, &mut w[0], &r[0], heads, Over::Tokens));
    let qkv = "qkv: wanted f16 [2, 3, 4, 18], got";
    vec![
        base.with("qkv", F16, &[2, 3, 4, 12]).refused(&format!("{qkv} f16 [2, 3, 4, 12]")),
        base.with("qkv", BF16, &[2, 3, 4, 18]).refused(&format!("{qkv} bf16 [2, 3, 4, 18]")),
        base.with("qkv", F16, &[2, 4, 3, 18]).refused(&format!("{qkv} f16 [2, 4, 3, 18]")),
        base.with("out", F16, &[24, 6]).refused("out: wanted 4 dimensions, got f16 [24, 6]"),
        base.with("out", U32, &[2, 3, 4, 6]).refused("out: wanted f32, f16 or bf16, got u32"),
        heads(0).refused("heads: wanted a divisor of 6, got 0"),
        heads(4).refused("heads: wanted a divisor of 6, got 4"),
    ]
}
