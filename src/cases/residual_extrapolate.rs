//! Bytes: three streams and the trace in, one stream out.

use super::*;
use crate::ops::{DECISION, RESIDUAL_EXTRAPOLATE, TRACE_COLUMNS, residual_extrapolate};

/// Which of the steps before computed (C) and which were skipped (S).
const PASTS: [&str; 12] =
    ["", "C", "CS", "CC", "CSC", "CSSC", "CSSCS", "CCSSS", "CSCSSSCSS", "SS", "SC", "CSSSSSSSSSSSC"];

pub(super) const SIZES: Sizes = Sizes {
    names: &["rows", "d"],
    case: |_, n| case(["input", "residual", "before"].map(|name| of(name, n)), "CSCS"),
    operations: |case| 4 * case.longest(),
};

pub(super) fn cases(_: DType) -> Vec<Case> {
    let sizes = [1, 3, 7, 8, 16, 40, 2049, 4097, 33000];
    let random = |n, past| case(["input", "residual", "before"].map(|name| of(name, &[n])), past);
    let mut all: Vec<_> = sizes.into_iter().flat_map(|n| PASTS.map(|past| random(n, past))).collect();
    all.push(random(40, "CSC").gated());
    // More skipped steps than a warp looks at together, before and behind the last that computed.
    const LONG: &str =
        "CSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSCSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS";
    all.push(random(9, LONG));
    // By hand: computed at 1 and 3, now 4 and then 5, half and whole intervals on. R = 10, R' = 6.
    for (past, name) in [("CCSC", "112 by hand"), ("CCSCS", "114 by hand")] {
        let one =
            [("input", 100.0), ("residual", 10.0), ("before", 6.0)].map(|(name, x)| given(name, [1], [x]));
        all.push(case(one, past).named(name));
    }
    for shape in [[512, 192], [4096, 1152]] {
        let streams = ["input", "residual", "before"].map(|name| of(name, &shape));
        all.push(case(streams, "CSCS").named(times(shape)).bench());
    }
    all
}

fn of(name: &'static str, shape: &[usize]) -> Operand {
    let seed = name.len() as u64;
    normal(name, DType::F32, Shape::try_from(shape).expect("a shape"), seed)
}

fn case([input, residual, before]: [Operand; 3], past: &'static str) -> Case {
    let (shape, step) = (input.shape, past.len());
    // What the device does not know yet stands behind: a step that computes must not count.
    let all = past.chars().chain("CSC".chars()).map(|letter| letter == 'C');
    // In the other columns are numbers that nobody should look at.
    let row = |(i, computed): (usize, bool)| {
        let mut row = [f32::NAN; TRACE_COLUMNS];
        // Forced counts as computed.
        row[DECISION] = if computed { 1.0 + (i % 2) as f32 } else { 0.0 };
        row
    };
    let rows: Vec<f32> = all.enumerate().flat_map(row).collect();
    let trace = numbers("trace", DType::F32, [step + 3, TRACE_COLUMNS], move || rows.clone());
    let operands = ([output("out", DType::F32, shape)], [input, residual, before, trace]);
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        residual_extrapolate(gate, &mut w[0], &r[0], &r[1], &r[2], (&r[3], step))
    };
    Case::new(
        &RESIDUAL_EXTRAPOLATE,
        DType::F32,
        format!("{shape} after `{past}`"),
        operands,
        call,
        move |v| {
            let want = naive(&v.read(0), &v.read(1), &v.read(2), past);
            vec![Check::output("out", 0, want, Bound::Stored(DType::F32, 1e-12), "a few roundings of f32")]
        },
    )
}

/// `input + residual + (residual − before)·ahead`, ahead = (step − last)/(last − earlier), where last and earlier are the
/// last two steps that computed; 0 where there are not two.
fn naive(input: &[f64], residual: &[f64], before: &[f64], past: &str) -> Vec<f64> {
    let computed: Vec<usize> = past.match_indices('C').map(|(i, _)| i).collect();
    let ahead = match computed[..] {
        [.., earlier, last] => (past.len() - last) as f64 / (last - earlier) as f64,
        _ => 0.0,
    };
    (0..input.len()).map(|i| input[i] + residual[i] + (residual[i] - before[i]) * ahead).collect()
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let base =
        case(["input", "residual", "before"].map(|name| of(name, &[4])), "C").with("trace", F32, &[3, 4]);
    let late =
        base.calling(|gate, w, r| residual_extrapolate(gate, &mut w[0], &r[0], &r[1], &r[2], (&r[3], 3)));
    vec![
        base.with("input", F32, &[3]).refused("input: wanted f32 [4], got f32 [3]"),
        base.with("residual", F16, &[4]).refused("residual: wanted f32 [4], got f16 [4]"),
        base.with("before", F32, &[5]).refused("before: wanted f32 [4], got f32 [5]"),
        base.with("trace", F32, &[3, 2]).refused("trace: wanted f32 [3, 4], got f32 [3, 2]"),
        late.refused("step: wanted less than 3, got 3"),
    ]
}
