//! Bytes: cur in, prev in and out, the partial sums out.

use super::*;
use crate::ops::{PARTIALS, REL_L1, rel_l1};

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |dtype, n| case(dtype, pair(dtype, n[0] * n[1], 0.0), PARTIALS, 1e-6),
    operations: |case| 5 * case.longest(),
};

pub(super) fn cases(dtype: DType) -> Vec<Case> {
    let pair = |n: usize, mean: f32| pair(dtype, n, mean);
    let mut all = vec![];
    for (n, mean) in [1, 3, 15, 16, 17, 33, 193, 1000, 4099, 30001, 70001]
        .into_iter()
        .flat_map(|n| MEANS.map(|mean| (n, mean)))
    {
        // Sums within 1e-6, whatever the size: a plain f32 loop would lose digits with n.
        all.extend([1, 7, PARTIALS, 1025].map(|runs| {
            case(dtype, pair(n, mean), runs, 1e-6).named(format!("{n} in {runs} runs, mean {mean}"))
        }));
    }
    all.push(case(dtype, pair(40, 0.0), 3, 1e-6).gated());
    all.extend([1, 7, PARTIALS].map(|runs| golden_integers(dtype, runs)));
    // One of the two sums is 0 in every warp: nothing moved, or nothing was there.
    all.extend([1.0, 0.0].map(|prev| equal(dtype, 1000, (1.0, prev), 3, Bound::Exact, "sums of ones")));
    if dtype != DType::F16 {
        // In f64, then rounded to f32 and to the type; distances worked out in f64 elsewhere.
        for (n, f32, bf16) in [
            (7, 0.02003726313105594, 0.02180722891566265),
            (1000, 0.009981280487733538, 0.009848224097050223),
            (1000003, 0.01000003600013216, 0.009990634374012923),
        ] {
            all.push(golden_waves(dtype, n, if dtype == DType::F32 { f32 } else { bf16 }));
        }
        // A sequential f32 sum stops at 2^24. As many as a tensor of 128 MiB with a guard holds, more than which browsers
        // do not promise.
        let most = (1 << 25) - 256;
        for (prev, runs) in [(0.0, 1), (0.0, PARTIALS), (1.0, 1), (1.0, PARTIALS)] {
            all.push(equal(dtype, most, (1.0, prev), runs, Bound::Exact, "sums of ones"));
        }
    }
    if dtype == DType::F32 {
        // Rounding errors of equal addends all go the same way: 64 additions in a row are off by up to 32·2^-24, which
        // is 2e-6, but stretches of thousands would lose a thousandth.
        for (n, runs) in [(1 << 22, 1), (1 << 22, PARTIALS), (1 << 20, 1)] {
            all.push(equal(dtype, n, (0.3, 0.1), runs, Bound::Relative(4e-6), "equal addends"));
        }
        all.extend([0, 15, 16, 36].map(nan));
    }
    let large = (64 << 20) / dtype.size();
    all.extend(
        [(512 * 192, "512×192"), (large, "2 × 64 MiB")]
            .map(|(n, name)| case(dtype, pair(n, 0.0), PARTIALS, 1e-6).named(name).bench()),
    );
    all
}

fn pair(dtype: DType, n: usize, mean: f32) -> (Operand, Operand) {
    let of = |name, seed| normal(name, dtype, [n], seed).around(mean);
    (of("prev", 2), of("cur", 1))
}

/// The sums to within `relative`, and that prev becomes cur.
fn case(dtype: DType, (prev, cur): (Operand, Operand), runs: usize, relative: f64) -> Case {
    calls(dtype, (prev, cur), runs, move |v| {
        let sums = naive(&v.read(0), &v.before(0));
        // Of very long ones, every thousandth.
        let step = if v.reads[0].len() > 1 << 22 { 1000 } else { 1 };
        let at: Vec<usize> = (0..v.reads[0].len()).step_by(step).collect();
        let want = at.iter().map(|&at| f64::from(v.reads[0][at])).collect();
        vec![
            Check { what: "prev", of: Of::Elements(0, at), want, bound: Bound::Exact, why: "a copy" },
            Check::totals(
                "change, size",
                1,
                &sums,
                Bound::Relative(relative),
                "f32 in short stretches, then f64",
            ),
        ]
    })
}

fn calls(
    dtype: DType,
    (prev, cur): (Operand, Operand),
    runs: usize,
    expect: impl Fn(&Values) -> Vec<Check> + Send + Sync + 'static,
) -> Case {
    let name = format!("{} in {runs} runs", cur.elements());
    let call = |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let [prev, partials] = w else { unreachable!("two outputs") };
        rel_l1(gate, prev, partials, &r[0])
    };
    let operands = ([prev, output("partials", DType::F32, [runs, 2])], [cur]);
    let case = Case::new(&REL_L1, dtype, name, operands, call, expect);
    Case { emulated: runs <= 7, ..case }
}

/// `n` equal elements now and before; sums only.
fn equal(
    dtype: DType,
    n: usize,
    (cur, prev): (f32, f32),
    runs: usize,
    bound: Bound,
    why: &'static str,
) -> Case {
    let all = |name, x: f32| numbers(name, dtype, [n], move || vec![x; n]);
    let [c, p] = [cur, prev].map(f64::from);
    let want = [(c - p).abs() * n as f64, p.abs() * n as f64];
    let case = calls(dtype, (all("prev", prev), all("cur", cur)), runs, move |_| {
        vec![Check::totals("change, size", 1, &want, bound.clone(), why)]
    });
    case.named(format!("{n} times {cur} after {prev} in {runs} runs"))
}

/// b = 37·i mod 101 − 50 and a = b + (13·i mod 7) − 3: exact in every type, and so are their sums.
fn golden_integers(dtype: DType, runs: usize) -> Case {
    let b = |i: i32| (37 * i % 101 - 50) as f32;
    let a = move |i: i32| b(i) + (13 * i % 7) as f32 - 3.0;
    let all = (
        numbers("prev", dtype, [4096], move || (0..4096).map(b).collect()),
        numbers("cur", dtype, [4096], move || (0..4096).map(a).collect()),
    );
    let case = calls(dtype, all, runs, |_| {
        vec![Check::totals("change, size", 1, &[7023.0, 103435.0], Bound::Exact, "integers")]
    });
    case.named(format!("golden integers in {runs} runs"))
}

/// b = sin(0.1·i), a = b + 0.01·cos(0.3·i), whose distance is given.
fn golden_waves(dtype: DType, n: i32, want: f64) -> Case {
    let b = |i: i32| (0.1 * f64::from(i)).sin();
    let a = move |i: i32| b(i) + 0.01 * (0.3 * f64::from(i)).cos();
    let shape = [n as usize];
    let all = (
        numbers("prev", dtype, shape, move || (0..n).map(|i| b(i) as f32).collect()),
        numbers("cur", dtype, shape, move || (0..n).map(|i| a(i) as f32).collect()),
    );
    let case = calls(dtype, all, PARTIALS, move |_| {
        let quotient: Derived = Arc::new(|_, after| {
            let sums = super::totals(&after[1], 2);
            vec![sums[0] / sums[1]]
        });
        let bound = Bound::Relative(1e-6);
        vec![Check {
            what: "distance",
            of: Of::Derived(quotient),
            want: vec![want],
            bound,
            why: "as the sums",
        }]
    });
    case.named(format!("{n} golden waves"))
}

/// A NaN must reach the decision, which then computes.
fn nan(at: usize) -> Case {
    let cur = move || (0..37).map(|i| if i == at { f32::NAN } else { 1.0 }).collect();
    let all = (numbers("prev", DType::F32, [37], || vec![0.0; 37]), numbers("cur", DType::F32, [37], cur));
    let case = calls(DType::F32, all, 4, |_| {
        vec![Check::totals("change, size", 1, &[f64::NAN, 0.0], Bound::Exact, "NaN shows")]
    });
    case.named(format!("NaN at {at}"))
}

/// `[Σ|cur − prev|, Σ|prev|]`.
pub(super) fn naive(cur: &[f64], prev: &[f64]) -> [f64; 2] {
    let (mut change, mut size) = (0.0, 0.0);
    for (c, p) in cur.iter().zip(prev) {
        change += (c - p).abs();
        size += p.abs();
    }
    [change, size]
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let pair = |dtype| (normal("prev", dtype, [2, 3], 2), normal("cur", dtype, [2, 3], 1));
    let [base, halves] = [F32, F16].map(|dtype| case(dtype, pair(dtype), 4, 1e-6));
    let u32 = base.with("prev", U32, &[2, 3]).with("cur", U32, &[2, 3]);
    vec![
        halves.with("prev", BF16, &[2, 3]).refused("prev: wanted f16 [2, 3], got bf16 [2, 3]"),
        base.with("prev", F32, &[6]).refused("prev: wanted f32 [2, 3], got f32 [6]"),
        u32.refused("cur: wanted f32, f16 or bf16, got u32"),
        base.with("partials", F32, &[4, 1]).refused("partials: wanted f32 [4, 2], got f32 [4, 1]"),
        base.with("partials", F32, &[0, 2])
            .refused("partials: wanted f32 [P, 2], 0 < P ≤ 65535, got f32 [0, 2]"),
        base.with("partials", F32, &[65536, 2])
            .refused("partials: wanted f32 [P, 2], 0 < P ≤ 65535, got f32 [65536, 2]"),
        base.with("partials", F16, &[4, 2]).refused("partials: wanted f32 [4, 2], got f16 [4, 2]"),
    ]
}
