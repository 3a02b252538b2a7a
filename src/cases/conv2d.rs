//! FLOPs: 2·s² per pixel, channel and output. Of large ones sixteen pixels are verified, from the first to the last.

use super::*;
use crate::ops::{CONV2D, Conv2d, conv2d};

/// Images, H, W of the result, C, O, s.
type Dims = [usize; 6];

const SHAPES: [Dims; 14] = [
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 3],
    [1, 5, 7, 3, 5, 3],
    [2, 3, 4, 5, 3, 5],
    [3, 2, 2, 17, 2, 1],
    [1, 1, 9, 4, 20, 3],
    [2, 6, 10, 8, 68, 3],
    [1, 9, 11, 36, 4, 3],
    // More than fits a tile, in each direction.
    [1, 10, 14, 20, 72, 3],
    [1, 13, 11, 4, 260, 1],
    // More channels than are multiplied at a time.
    [1, 2, 4, 520, 8, 3],
    // Rows of whole vectors for tensor cores: a place in shared memory is used again, tails of tiles.
    [1, 4, 4, 32, 32, 3],
    [2, 6, 14, 64, 96, 3],
    [1, 10, 16, 32, 160, 1],
];

/// What is done besides: whether x is doubled, whether something is added, whether ReLU comes last.
type Besides = [bool; 3];

pub(super) const SIZES: Sizes = Sizes {
    names: &["images", "height", "width", "channels", "outputs"],
    case: |dtype, n| case(dtype, [n[0], n[1], n[2], n[3], n[4], 3], [false; 3], 0.0),
    operations: |case| case.flops,
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for (i, dims) in SHAPES.into_iter().enumerate() {
        let [_, height, width, ..] = dims;
        // Each shape plain, and with what its turn brings: in WGSL each is a shader of its own, which takes time to compile.
        let even = height % 2 == 0 && width % 2 == 0;
        let plain = case(dtype, dims, [false; 3], MEANS[i % 2]);
        all.push(Case { emulated: i % 3 == 0, ..plain });
        all.push(case(dtype, dims, [even, i % 2 == 0, i % 3 == 2], MEANS[(i + 1) % 2]));
    }
    // Many tiles.
    let many = case(dtype, [1, 30, 32, 32, 300, 3], [true, true, false], 0.0);
    all.push(Case { emulated: false, ..many });
    // With weights as a model has them: a depth of odd numbers, and one that is taken in parts.
    for (dims, besides) in
        [([1, 9, 11, 5, 48, 3], [false, true, false]), ([1, 6, 14, 152, 80, 3], [true, false, true])]
    {
        let case = case(dtype, dims, besides, MEANS[1]).arranged();
        let name = format!("{} arranged", case.name);
        all.push(Case { emulated: false, ..case.named(name) });
    }
    all.push(case(dtype, [1, 12, 12, 4, 68, 3], [false, true, true], 0.0).gated());
    all.push(case(dtype, [1, 8, 16, 64, 128, 3], [false; 3], 0.0).count());
    for (dims, besides) in [
        // Of Stable Diffusion's decoder: a block's convolution, and one that doubles.
        ([1, 16, 16, 512, 512, 3], [false, true, false]),
        ([1, 64, 64, 128, 128, 3], [true, false, false]),
        // Of the tiny one.
        ([1, 32, 32, 64, 64, 3], [false, false, true]),
    ] {
        let case = case(dtype, dims, besides, 0.0).bench().arranged();
        let name = case.name.trim_end_matches(", mean 0").to_string();
        all.push(case.named(name));
    }
    all
}

fn case(dtype: DType, dims: Dims, [doubled, adds, relu]: Besides, mean: f32) -> Case {
    let [images, height, width, c, o, s] = dims;
    let up = if doubled { 2 } else { 1 };
    let mut reads = vec![
        normal("x", dtype, [images, height / up, width / up, c], 1).around(mean),
        normal("w", dtype, [o, s, s, c], 2).spread(((c * s * s) as f32).sqrt().recip()),
        normal("bias", DType::F32, [o], 3),
    ];
    if adds {
        reads.push(normal("add", dtype, [images, height, width, o], 4).around(mean));
    }
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        conv2d(gate, &mut w[0], &r[0], &r[1], &r[2], Conv2d { doubled, add: r.get(3), relu })
    };
    let said = [(doubled, ", doubled"), (adds, ", added"), (relu, ", ReLU")];
    let said: String = said.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    let name = format!("{images}×{height}×{width} {c}→{o} {s}×{s}{said}, mean {mean}");
    let rows = images * height * width;
    Case::new(&CONV2D, dtype, name, ([output("out", dtype, [images, height, width, o])], reads), call, {
        move |v| {
            let some = if rows * o * c * s * s > 1 << 26 { 16.min(rows) } else { rows };
            let some: Vec<usize> = (0..some).map(|i| i * (rows - 1) / (some - 1).max(1)).collect();
            let want = naive(v, dims, &some, [doubled, adds, relu]);
            let elements = some.iter().flat_map(|i| i * o..(i + 1) * o).collect();
            let sum = if mean == 0.0 { 3e-13 } else { 1e-11 } * ((c * s * s) as f64 / 256.0).max(1.0);
            let why =
                "a sum of C·s² products in f32; around 100, its terms are a hundred times as large as it";
            let of = if some.len() < rows { Of::Elements(0, elements) } else { Of::Output(0) };
            vec![Check { what: "out", of, want, bound: Bound::Stored(dtype, sum), why }]
        }
    })
    .flops(2 * rows * o * c * s * s)
}

/// Some pixels of the result, O wide.
fn naive(
    v: &Values,
    [_, height, width, c, o, s]: Dims,
    some: &[usize],
    [doubled, adds, relu]: Besides,
) -> Vec<f64> {
    let (x, w, bias) = (v.read(0), v.read(1), v.read(2));
    let add = if adds { v.read(3) } else { vec![] };
    let (up, reach) = (if doubled { 2 } else { 1 }, s as isize / 2);
    let mut out = vec![];
    for &row in some {
        let (image, y, column) = (row / width / height, row / width % height, row % width);
        for j in 0..o {
            let mut sum = bias[j] + if adds { add[row * o + j] } else { 0.0 };
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    let (y, column) = (y as isize + dy, column as isize + dx);
                    if y < 0 || column < 0 || y >= height as isize || column >= width as isize {
                        continue;
                    }
                    let (y, column) = (y as usize / up, column as usize / up);
                    let pixel = (image * (height / up) + y) * (width / up) + column;
                    let tap = (dy + reach) as usize * s + (dx + reach) as usize;
                    for i in 0..c {
                        sum += x[pixel * c + i] * w[(j * s * s + tap) * c + i];
                    }
                }
            }
            out.push(if relu { sum.max(0.0) } else { sum });
        }
    }
    out
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F16, [2, 4, 6, 3, 5, 3], [false, true, false], 0.0);
    let doubled = case(F16, [2, 4, 6, 3, 5, 3], [true, false, false], 0.0);
    let odd = "w: wanted [O, s, s, 3], s odd, got f16";
    let mut all: Vec<Wrong> = [[5, 3, 1, 3], [5, 2, 2, 3], [5, 0, 0, 3]]
        .iter()
        .map(|w| base.with("w", F16, w).refused(&format!("{odd} {w:?}")))
        .collect();
    all.extend([
        base.with("x", U32, &[2, 4, 6, 3]).refused("x: wanted f32, f16 or bf16, got u32"),
        base.with("x", F16, &[4, 6, 3]).refused("x: wanted 4 dimensions, got f16 [4, 6, 3]"),
        base.with("w", F16, &[5, 3, 3, 4]).refused("w: wanted f16 [5, 3, 3, 3], got f16 [5, 3, 3, 4]"),
        base.with("w", BF16, &[5, 3, 3, 3]).refused("w: wanted f16 [5, 3, 3, 3], got bf16 [5, 3, 3, 3]"),
        base.with("bias", F32, &[3]).refused("bias: wanted f32 [5], got f32 [3]"),
        base.with("out", F16, &[2, 4, 6, 3]).refused("out: wanted f16 [2, 4, 6, 5], got f16 [2, 4, 6, 3]"),
        base.with("out", F32, &[2, 4, 6, 5]).refused("out: wanted f16 [2, 4, 6, 5], got f32 [2, 4, 6, 5]"),
        base.with("add", F16, &[2, 6, 4, 5]).refused("add: wanted f16 [2, 4, 6, 5], got f16 [2, 6, 4, 5]"),
        doubled.with("x", F16, &[2, 4, 6, 3]).refused("out: wanted f16 [2, 8, 12, 5], got f16 [2, 4, 6, 5]"),
    ]);
    all
}
