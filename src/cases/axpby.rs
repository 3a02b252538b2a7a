//! Bytes: two streams in, one out; in place, one in, and one in and out.

use super::*;
use crate::ops::{AXPBY, axpby};

/// The factors of a residual that is stored, one that is reused, and a sampler's update.
const FACTORS: [[f32; 2]; 3] = [[1.0, -1.0], [1.0, 1.0], [0.75, -0.3]];

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |_, n| case([1.0, 1.0], n, false, 0.0),
    operations: |case| 3 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    let sizes = [1, 3, 7, 8, 15, 16, 40, 561, 2047, 2048, 2049, 4097, 4101, 16385, 33000, 33196, 33389];
    for (n, mean) in sizes.into_iter().flat_map(|n| MEANS.map(|mean| (n, mean))) {
        all.extend(FACTORS.iter().flat_map(|&f| [true, false].map(|at| case(f, &[n], at, mean))));
    }
    all.extend([true, false].map(|in_place| case([0.75, -0.3], &[40], in_place, 0.0).gated()));
    // A factor of 0 keeps nothing of x, which may be anything.
    for n in [7, 1024] {
        for mut case in [true, false].map(|in_place| case([0.0, 2.0], &[n], in_place, 0.0)) {
            let x = case.writes.iter_mut().chain(&mut case.reads).next().expect("an operand");
            x.fill = Fill::Poison;
            if case.reads.len() == 2 {
                case.reads[0].fill = Fill::Poison;
            }
            all.push(case.named(format!("{n}, NaN times 0")));
        }
    }
    for shape in [[512, 192], [4096, 1152]] {
        all.push(case([1.0, 1.0], &shape, false, 0.0).named(times(shape)).bench());
    }
    // A sampler's update: the shipped model's clip, and sixteen frames of 64×64 latents.
    for shape in [[1, 16, 1, 32, 32], [1, 16, 4, 64, 64]] {
        all.push(case([1.0, -0.02], &shape, true, 0.0).named(times(shape) + " in place").bench());
    }
    all
}

fn case([a, b]: [f32; 2], shape: &[usize], in_place: bool, mean: f32) -> Case {
    let name = shape.iter().map(|n| n.to_string()).collect::<Vec<_>>().join("×");
    let shape = Shape::try_from(shape).expect("a shape");
    let of = |name, seed| normal(name, DType::F32, shape, seed).around(mean);
    let (out, reads) = match in_place {
        true => (of("out", 1), vec![of("y", 2)]),
        false => (output("out", DType::F32, shape), vec![of("x", 1), of("y", 2)]),
    };
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| match r {
        [x, y] => axpby(gate, &mut w[0], (a, Some(x)), (b, y)),
        _ => axpby(gate, &mut w[0], (a, None), (b, &r[0])),
    };
    let case = Case::new(&AXPBY, DType::F32, "", ([out], reads), call, move |v| {
        let (x, y) = if v.reads.len() == 2 { (v.read(0), v.read(1)) } else { (v.before(0), v.read(0)) };
        let want = naive((a, &x), (b, &y));
        // The bits of a sum or a difference.
        let (bound, why) = match a {
            0.0 | 1.0 if b.fract() == 0.0 => (Bound::Exact, "one rounding in all"),
            _ => (Bound::Stored(DType::F32, 1e-13), "two roundings of f32"),
        };
        vec![Check::output("out", 0, want, bound, why)]
    });
    let out = if in_place { "out" } else { "x" };
    case.named(format!("{name}, {a}·{out} + {b}·y, mean {mean}"))
}

/// `a·x + b·y`; a factor of 0 keeps nothing, even of NaN.
fn naive((a, x): (f32, &[f64]), (b, y): (f32, &[f64])) -> Vec<f64> {
    let [a, b] = [a, b].map(f64::from);
    x.iter().zip(y).map(|(x, y)| if a == 0.0 { b * y } else { a * x + b * y }).collect()
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let [base, in_place] = [false, true].map(|in_place| case([1.0, 1.0], &[4], in_place, 0.0));
    vec![
        base.with("x", F32, &[3]).refused("x: wanted f32 [4], got f32 [3]"),
        base.with("x", BF16, &[4]).refused("x: wanted f32 [4], got bf16 [4]"),
        base.with("y", F32, &[5]).refused("y: wanted f32 [4], got f32 [5]"),
        base.with("y", U32, &[4]).refused("y: wanted f32 [4], got u32 [4]"),
        in_place.with("y", F16, &[4]).refused("y: wanted f32 [4], got f16 [4]"),
        base.with("out", F16, &[4]).refused("out: wanted f32 [4], got f16 [4]"),
    ]
}
