//! Bytes: one entry in, one out.

use super::*;
use crate::ops::{TAKE, take};

pub(super) const SIZES: Sizes =
    Sizes { names: &["clips", "d"], case: |_, n| case(n, 8, 5), operations: |_| 0 };

pub(super) fn cases(_: DType) -> Vec<Case> {
    // Entries of whole vectors, and others, which begin anywhere. Not the first: a kernel that copies the table would pass.
    let shapes: [(usize, &[usize]); 8] = [
        (3, &[1]),
        (5, &[7]),
        (2, &[8]),
        (3, &[2, 20]),
        (4, &[3, 2, 31]),
        (2, &[2047]),
        (3, &[2049]),
        (2, &[2, 8196]),
    ];
    let mut all: Vec<Case> = shapes
        .into_iter()
        .flat_map(|(entries, shape)| [1, entries - 1].map(|index| (entries, shape, index)))
        .map(|(entries, shape, index)| {
            let name = format!("{index} of {entries}×{shape:?}");
            let case = case(shape, entries, index).named(name);
            if shape == [2, 20] { case.gated() } else { case }
        })
        .collect();
    // Modulation of a step: the shipped model's, and DiT-XL/2's.
    for (name, shape) in [("2×7296", [2, 7296]), ("2×195840", [2, 195_840])] {
        all.push(case(&shape, 8, 5).named(name).bench());
    }
    all
}

fn case(shape: &[usize], entries: usize, index: usize) -> Case {
    let table = Shape::try_from(&[&[entries], shape].concat()[..]).expect("a shape");
    let n: usize = shape.iter().product();
    let out = output("out", DType::F32, Shape::try_from(shape).expect("a shape"));
    let table = normal("table", DType::F32, table, 1).touching(n);
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| take(gate, &mut w[0], &r[0], index);
    Case::new(&TAKE, DType::F32, "", ([out], [table]), call, move |v| {
        let want = v.read(0)[index * n..(index + 1) * n].to_vec();
        vec![Check::output("out", 0, want, Bound::Exact, "a copy")]
    })
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(&[2, 4], 3, 1);
    vec![
        base.with("out", F16, &[2, 4]).refused("out: wanted f32 [2, 4], got f16 [2, 4]"),
        base.with("out", F32, &[8]).refused("table: wanted f32 [3, 8], got f32 [3, 2, 4]"),
        base.with("table", BF16, &[3, 2, 4]).refused("table: wanted f32 [3, 2, 4], got bf16 [3, 2, 4]"),
        base.with("table", F32, &[2, 4]).refused("table: wanted f32 [2, 2, 4], got f32 [2, 4]"),
        case(&[2, 4], 3, 3).refused("index: wanted less than 3, got 3"),
    ]
}
