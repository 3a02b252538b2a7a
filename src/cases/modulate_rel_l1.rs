//! Bytes: x in, signal in and out, shift and scale of each sample in, the partial sums out.

use super::modulate::{BENCHES, CHUNKS, SHAPES, WHY, naive, samples, two_passes};
use super::*;
use crate::ops::{EPSILON, MODULATE_REL_L1, PARTIALS, modulate_rel_l1};

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |dtype, n| case(dtype, [samples(n[0]), n[0], n[1]], PARTIALS, 0.0),
    operations: |case| 14 * case.longest(),
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for (dims, mean) in SHAPES.into_iter().flat_map(|dims| MEANS.map(|mean| (dims, mean))) {
        // More pairs than rows: the rest must say 0.
        for runs in [1, 7, PARTIALS] {
            let name = format!("{} in {runs} runs, mean {mean}", times(dims));
            all.push(case(dtype, dims, runs, mean).named(name));
        }
    }
    all.push(case(dtype, [2, 4, 3], 2, 0.0).gated());
    all.extend(BENCHES.map(|dims| case(dtype, dims, PARTIALS, 0.0).bench()));
    all
}

fn case(dtype: DType, dims: [usize; 3], runs: usize, mean: f32) -> Case {
    let [samples, rows, d] = dims;
    let shape = [samples, rows / samples, d];
    let operands = (
        [normal("signal", dtype, shape, 3), output("partials", DType::F32, [runs, 2])],
        [
            normal("x", DType::F32, shape, 1).around(mean),
            normal("mods", DType::F32, [samples, 6 * d], 2).touching(samples * 2 * d),
        ],
    );
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let [signal, partials] = w else { unreachable!("two outputs") };
        modulate_rel_l1(gate, signal, partials, &r[0], &r[1], CHUNKS)
    };
    let name = format!("{rows}×{d}");
    let case = Case::new(&MODULATE_REL_L1, dtype, name, operands, call, move |v| {
        let (want, before) = (naive(&v.read(0), &v.read(1), dims, EPSILON), v.before(0));
        let sums = super::rel_l1::naive(&want, &before);
        let f32 = two_passes(mean);
        // What is not stored exactly moves a term by its rounding.
        let slack = 2.0 * (measure::unit(dtype) + f32.sqrt()) * (sums[0] + sums[1]);
        let of_stored: Derived = Arc::new(|v, after| {
            let stored = super::rel_l1::naive(&wide(&after[0]), &v.before(0));
            let sums = totals(&after[1], 2);
            vec![sums[0] / stored[0], sums[1] / stored[1]]
        });
        let change = Bound::Each(vec![slack, 1e-6 * sums[1]]);
        let bound = Bound::Relative(1e-6);
        vec![
            Check::output("signal", 0, want, Bound::Stored(dtype, f32), WHY),
            Check::totals("change, size", 1, &sums, change, "roundings of the signal as it is stored"),
            Check {
                what: "change, size of what is stored",
                of: Of::Derived(of_stored),
                want: vec![1.0; 2],
                bound,
                why: "f32 in short stretches, then f64",
            },
        ]
    });
    Case { emulated: runs <= 7, ..case }
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base = case(F16, [2, 2, 4], 8, 0.0).with("signal", F16, &[2, 4]).with("x", F32, &[2, 4]);
    let mods = "mods: wanted f32 [2, c·4] with Chunks { shift: 4, scale: 1 }, got";
    vec![
        base.with("signal", F32, &[2, 3]).refused("signal: wanted f32 [2, 4], got f32 [2, 3]"),
        base.with("signal", U32, &[2, 4]).refused("signal: wanted f32, f16 or bf16, got u32"),
        base.with("partials", F32, &[8, 3]).refused("partials: wanted f32 [8, 2], got f32 [8, 3]"),
        base.with("partials", F32, &[0, 2])
            .refused("partials: wanted f32 [P, 2], 0 < P ≤ 65535, got f32 [0, 2]"),
        base.with("x", BF16, &[2, 4]).refused("x: wanted f32 [2, 4], got bf16 [2, 4]"),
        base.with("mods", F32, &[2, 19]).refused(&format!("{mods} f32 [2, 19]")),
        base.with("mods", F16, &[2, 24]).refused(&format!("{mods} f16 [2, 24]")),
    ]
}
