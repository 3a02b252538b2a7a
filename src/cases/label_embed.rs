//! Bytes: time and a row of the table in, the sum and its SiLU out.

use super::*;
use crate::ops::{LABEL_EMBED, label_embed};

/// Samples, d, rows of the table.
const SHAPES: [[usize; 3]; 8] =
    [[1, 1, 1], [1, 3, 2], [2, 16, 11], [5, 72, 11], [16, 17, 5], [17, 72, 11], [33, 193, 3], [3, 1100, 3]];

pub(super) const SIZES: Sizes = Sizes {
    names: &["clips", "d"],
    case: |dtype, n| random(dtype, n[0], n[1]),
    operations: |case| 5 * case.longest(),
};

fn random(dtype: DType, b: usize, d: usize) -> Case {
    let (time, table) = (normal("time", DType::F32, [b, d], 3), normal("table", DType::F32, [11, d], 4));
    let labels = (0..b as u32).map(|i| i * 7 % 11).collect();
    case(dtype, time, table, labels)
}

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for [b, d, rows] in SHAPES {
        for mean in MEANS {
            let time = normal("time", DType::F32, [b, d], 1).around(mean).spread(3.0);
            let table = normal("table", DType::F32, [rows, d], 2).around(-mean).spread(3.0);
            // Some of them past the table.
            let labels = (0..b as u32).map(|i| i * 7 % (rows as u32 + 2)).collect();
            let case = case(dtype, time, table, labels).named(format!("{b}×{d} of {rows}, mean {mean}"));
            all.push(if b == 2 { case.gated() } else { case });
        }
    }
    let (time, table) = (given("time", [3, 1], [0.0; 3]), given("table", [2, 1], [5.0, 7.0]));
    all.push(case(dtype, time, table, vec![0, 2, u32::MAX]).named("labels past the table"));
    let large = given("time", [1, 7], [-1e4, -100.0, -88.0, -87.0, 0.0, 88.0, 1e4]);
    all.push(case(dtype, large, given("table", [1, 7], [0.0; 7]), vec![0]).named("SiLU of large numbers"));
    for (b, d) in [(2, 192), (64, 1152)] {
        all.push(random(dtype, b, d).named(format!("{b}×{d}")).bench());
    }
    all
}

fn case(dtype: DType, time: Operand, table: Operand, of: Vec<u32>) -> Case {
    let (shape, dim) = (time.shape, time.shape.dims()[1]);
    let operands = (
        [output("c", DType::F32, shape), output("act", dtype, shape)],
        // A row of the table for each sample.
        [time.clone(), table.touching(time.elements()), labels("labels", of.clone())],
    );
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let [c, act] = w else { unreachable!("two outputs") };
        label_embed(gate, c, act, &r[0], &r[1], &r[2])
    };
    Case::new(&LABEL_EMBED, dtype, shape, operands, call, move |v| {
        let (c, act) = naive(&v.read(0), &v.read(1), &of, dim);
        let why = "SiLU's exponential is good to two units in the last place, its quotient to a half: 3·2^-24, squared";
        // e^-87 is where f32 runs out of normal numbers.
        let unit = |x: f64| measure::unit(dtype).max(1e-6 + x.abs() * 0.5f64.powi(23));
        let least = if dtype == DType::F16 { 0.5f64.powi(24) } else { 2e-36 };
        // Where f16 ends, large numbers are infinite.
        let of_type = |x: &f64| if dtype == DType::F16 && *x > 65520.0 { f64::INFINITY } else { *x };
        let each = Bound::Each(c.iter().zip(&act).map(|(c, x)| unit(*c) * x.abs() + least).collect());
        vec![
            Check::output("c", 0, c, Bound::Exact, "one addition"),
            Check::output(
                "each act",
                1,
                act.iter().map(of_type).collect(),
                each,
                "the same for each number, and the rounding of its exponent",
            ),
            Check::output("act", 1, act, Bound::Stored(dtype, 1e-13), why),
        ]
    })
}

/// x / (1 + e^−x)
pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// `c = time + table[label]` and `SiLU(c)`, both [B, d]; labels past the table mean its last row.
fn naive(time: &[f64], table: &[f64], labels: &[u32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let last = table.len() / dim - 1;
    let mut c = vec![];
    for (b, &label) in labels.iter().enumerate() {
        for j in 0..dim {
            c.push(time[b * dim + j] + table[last.min(label as usize) * dim + j]);
        }
    }
    let act = c.iter().map(|&c| silu(c)).collect();
    (c, act)
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(BF16, normal("time", F32, [2, 3], 1), normal("table", F32, [4, 3], 2), vec![0, 0]);
    vec![
        base.with("c", F16, &[2, 3]).refused("c: wanted f32 [2, 3], got f16 [2, 3]"),
        base.with("act", U32, &[2, 3]).refused("act: wanted f32, f16 or bf16, got u32"),
        base.with("act", F32, &[3, 2]).refused("act: wanted f32 [2, 3], got f32 [3, 2]"),
        base.with("time", F32, &[1, 3]).refused("time: wanted f32 [2, 3], got f32 [1, 3]"),
        base.with("table", F32, &[4, 2]).refused("table: wanted f32 [4, 3], got f32 [4, 2]"),
        base.with("table", F32, &[0, 3]).refused("table: wanted at least one row, got f32 [0, 3]"),
        base.with("labels", U32, &[3]).refused("labels: wanted u32 [2], got u32 [3]"),
        base.with("labels", F32, &[2]).refused("labels: wanted u32 [2], got f32 [2]"),
    ]
}
