//! Bytes: the partial sums in; a launch and no more.
//!
//! A case is one decision. Most come from lists of distances, played by the naive rule: what it leaves behind before a
//! step is what the step's case begins with.

use super::*;
use crate::ops::{Negative, PARTIALS, TEA_GATE, TRACE_COLUMNS, TeaStep, Threshold, tea_gate};

const IDENTITY: [f64; 5] = [0.0, 0.0, 0.0, 1.0, 0.0];
/// Published polynomials, of Open-Sora 1.2 and of Wan 2.1 14B, which is negative up to d = 0.13.
const POLYNOMIALS: [[f64; 5]; 2] = [
    [2.17546007e+02, -1.18329252e+02, 2.68662585e+01, -4.59364272e-02, 4.84426240e-02],
    [-5784.54975374, 5449.50911966, -1811.16591783, 256.27178429, -13.02252404],
];
const ALL_DISTANCES: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];
/// Lists of distances that are played. Miri interprets each step of all of them, which takes it very long.
const LISTS: u64 = if cfg!(miri) { 1 } else { 60 };

const fn rule(threshold: f64, coefficients: [f64; 5]) -> Threshold {
    Threshold {
        threshold,
        coefficients,
        negative: Negative::Clamp,
        limits: ALL_DISTANCES,
        accumulates: true,
        max_skips: usize::MAX,
    }
}

pub(super) const SIZES: Sizes =
    Sizes { names: &["pairs"], case: |_, n| of(n[0]), operations: |case| case.longest() };

/// A step that is skipped, with so many pairs.
fn of(n: usize) -> Case {
    let partials = normal("partials", DType::F32, [n, 2], 4).around(4.0);
    let computed = State { sum: 0.0, primed: true, skips: 0 };
    case(rule(1e6, [0.1, 0.2, 0.3, 0.4, 0.5]), 1, false, partials, computed)
}

pub(super) fn cases(_: DType) -> Vec<Case> {
    let mut all = vec![];
    let at = |rule, index, pair, before| case(rule, index, false, pairs(1, pair, 1), before);
    let (fresh, computed) =
        (State { sum: 0.0, primed: false, skips: 0 }, State { sum: 0.0, primed: true, skips: 0 });
    let plain = rule(0.25, IDENTITY);
    all.push(at(plain, 1, (0.1, 1.0), computed).named("a skip").gated());
    all.push(at(plain, 3, (0.01, 1.0), fresh).named("never skips before a step was computed"));
    // What a run that was broken off left behind.
    all.push(
        case(plain, 0, true, pairs(1, (f32::NAN, 1.0), 5), State { sum: 0.2, primed: true, skips: 0 })
            .named("step 0"),
    );
    // A sum that equals the threshold computes; all values are exact in f32.
    all.push(
        at(rule(0.5, IDENTITY), 2, (0.25, 1.0), State { sum: 0.25, primed: true, skips: 1 })
            .named("equality"),
    );

    // So many skips in a row, and no more.
    for most in [0, 1, 2, 3, 23, usize::MAX] {
        for (skips, accumulates) in [(0, true), (1, false), (2, true), (3, false), (22, true), (23, false)] {
            let rule = Threshold { max_skips: most, accumulates, ..rule(0.5, IDENTITY) };
            let before = State { sum: 0.0, primed: true, skips };
            all.push(at(rule, 25, (0.01, 1.0), before).named(format!("{skips} skips of {most}")));
        }
    }
    // Below its range a polynomial counts as at the lowest end, above it a step computes; both ends are of the range.
    let ranged = Threshold { limits: [0.0625, 0.25], ..rule(0.5, [0.0, 0.0, 2.0, 1.0, 0.0]) };
    let below = |x: f32| f32::from_bits(x.to_bits() - 1);
    let above = |x: f32| f32::from_bits(x.to_bits() + 1);
    for d in
        [0.0625f32, 0.25].into_iter().flat_map(|end| [below(end), end, above(end)]).chain([0.0, 0.01, 0.3])
    {
        all.push(at(ranged, 2, (d, 1.0), computed).named(format!("{d} in a range")));
    }
    // NaN, infinity, an anchor of zeros: such steps compute, and the sum starts anew.
    let odd = [
        (f32::NAN, 1.0),
        (1.0, f32::NAN),
        (f32::INFINITY, 1.0),
        (1.0, 0.0),
        (0.0, 0.0),
        (1.0, f32::INFINITY),
    ];
    for (pair, negative) in odd.into_iter().flat_map(|pair| Negative::ALL.map(|negative| (pair, negative))) {
        for coefficients in [IDENTITY, POLYNOMIALS[0]] {
            let rule = Threshold { negative, ..rule(0.5, coefficients) };
            all.push(
                at(rule, 2, pair, State { sum: 0.06, primed: true, skips: 1 }).named(format!("{pair:?}")),
            );
        }
    }
    // A finite distance whose f(d) overflows f32 computes, below any threshold; clamping −∞ at 0 must not skip it.
    for (c4, negative) in [(1e3, Negative::Raw), (-1e3, Negative::Raw), (-1e3, Negative::Clamp)] {
        let rule = Threshold { negative, ..rule(f64::INFINITY, [c4, 0.0, 0.0, 0.0, 0.0]) };
        all.extend([0.1, 1e10].map(|d| at(rule, 2, (d, 1.0), computed).named(format!("{c4}·{d}⁴"))));
    }
    // Nothing but the rule's settings keeps tiny distances from being skipped.
    let falling = Threshold { negative: Negative::Raw, ..rule(0.0, [0.0, 0.0, 0.0, 0.0, -1.0]) };
    let thresholds = [0.0, -1.0, f64::NAN, f64::INFINITY, 0.1].map(|threshold| rule(threshold, IDENTITY));
    for rule in thresholds.into_iter().chain([falling]) {
        all.extend(
            [0.0, 1e-3].map(|d| at(rule, 2, (d, 1.0), computed).named(format!("{d} at {}", rule.threshold))),
        );
    }
    for seed in 0..LISTS {
        let some = |n: u64| seed as usize / n as usize;
        let rule = Threshold {
            negative: Negative::ALL[some(4) % 3],
            limits: [ALL_DISTANCES, [0.06, 0.15]][some(3) % 2],
            accumulates: some(5) % 3 > 0,
            max_skips: [usize::MAX, 2, 5][some(7) % 3],
            ..rule([0.05, 0.2, 0.6][some(1) % 3], [IDENTITY, POLYNOMIALS[0], POLYNOMIALS[1]][some(1) % 4 % 3])
        };
        let runs = [1, 2, 255, PARTIALS, 1024, 1025, 3000][some(1) % 7];
        let steps = [1, 2, 3, 20, 30][some(1) % 5];
        let warmup = [1, 0, 5][some(2) % 3];
        let played = play(rule, &normal_numbers(seed, steps, 0.1, 0.08), warmup, runs);
        // A few lists of each length say enough about a kernel that an emulator runs.
        all.extend(played.into_iter().map(|case| Case { emulated: seed.is_multiple_of(8), ..case }));
    }
    all.push(of(PARTIALS).named(format!("{PARTIALS}×2")).bench_too());
    all
}

/// `n` pairs that add up to `pair`, each with a quotient of its own.
fn pairs(seed: u64, pair: (f32, f32), n: usize) -> Operand {
    let make = move || {
        let [changes, sizes] = [1, 2].map(|part| wide(&normal_numbers(part * 1000 + seed, n, 2.0, 0.2)));
        let scale = |all: &[f64], sum: f32| f64::from(sum) / if n == 1 { all[0] } else { all.iter().sum() };
        let [change, size] = [scale(&changes, pair.0), scale(&sizes, pair.1)];
        let numbers = changes.iter().zip(&sizes).flat_map(|(a, b)| [(a * change) as f32, (b * size) as f32]);
        if n == 1 { vec![pair.0, pair.1] } else { numbers.collect() }
    };
    numbers("partials", DType::F32, [n, 2], make)
}

/// What lives from step to step.
#[derive(Clone, Copy)]
struct State {
    sum: f64,
    /// Whether a step was computed.
    primed: bool,
    /// Skipped steps since the last computed one, of which the trace knows.
    skips: usize,
}

/// The cases of a list of distances, without those so near the threshold that f32 may decide otherwise.
fn play(rule: Threshold, distances: &[f32], warmup: usize, runs: usize) -> Vec<Case> {
    let mut state = State { sum: 0.0, primed: false, skips: 0 };
    let mut all = vec![];
    for (index, d) in distances.iter().enumerate() {
        let partials = pairs(index as u64, (d.abs(), 1.0), runs);
        let forced = index < warmup || index + 1 == distances.len();
        let (row, after) = naive(&rule, index, forced, &wide(&partials.values()), state);
        let near = (row.sum - rule.threshold).abs() < 1e-4 * rule.threshold;
        if !near || forced {
            all.push(case(rule, index, forced, partials, state));
        }
        state = after;
    }
    all
}

fn case(rule: Threshold, index: usize, forced: bool, partials: Operand, before: State) -> Case {
    let before = State { sum: f64::from(before.sum as f32), ..before };
    let State { sum, primed, skips } = before;
    let mut trace = vec![f32::NAN; (index + 2) * TRACE_COLUMNS];
    for i in 0..index {
        trace[(i + 1) * TRACE_COLUMNS - 1] = if i + skips >= index { 0.0 } else { 1.0 + (i % 2) as f32 };
    }
    let name = format!("step {index} of {rule:?}, {} runs", partials.elements() / 2);
    // Those who hold the trace keep it from run to run.
    let trace = numbers("trace", DType::F32, [index + 2, TRACE_COLUMNS], move || trace.clone())
        .touching(TRACE_COLUMNS);
    let operands = (
        [
            output("flag", DType::U32, [1]),
            given("state", [2], [sum as f32, f32::from(u8::from(primed))]),
            trace,
        ],
        [partials],
    );
    let call = move |gate: Gate<'_>, w: &mut [Tensor], r: &[Tensor]| {
        let [flag, state, trace] = w else { unreachable!("three outputs") };
        tea_gate(gate, flag, state, trace, &r[0], TeaStep { rule: &rule, index, forced })
    };
    Case::new(&TEA_GATE, DType::F32, name, operands, call, move |v| {
        let (row, after) = naive(&rule, index, forced, &v.read(0), before);
        // What f(d) is rounded relative to: Σ|c_i·d^i|.
        let d = if row.distance.is_finite() { row.distance.abs() } else { 0.0 };
        let slack = 1e-5 * rule.coefficients.iter().fold(0.0, |sum, c| sum * d + c.abs());
        let (mut trace, mut slacks) = (v.before(2), vec![0.0; v.before[2].len()]);
        trace[index * TRACE_COLUMNS..][..TRACE_COLUMNS].copy_from_slice(&[
            row.distance,
            row.rescaled,
            row.sum,
            row.decision,
        ]);
        slacks[index * TRACE_COLUMNS..][..3].copy_from_slice(&[1e-5 * d, slack, slack]);
        let why = "a sum, a division and a polynomial in f32";
        let flag = f64::from(u8::from(row.decision > 0.0));
        vec![
            Check::output("flag", 0, vec![flag], Bound::Exact, "a decision"),
            Check::output("state", 1, vec![after.sum, 1.0], Bound::Each(vec![slack, 0.0]), why),
            Check::output("trace", 2, trace, Bound::Each(slacks), why),
        ]
    })
}

/// A row of the trace.
struct Row {
    distance: f64,
    rescaled: f64,
    sum: f64,
    decision: f64,
}

/// One decision, as arXiv 2411.19108 and the official code make it.
fn naive(rule: &Threshold, index: usize, forced: bool, partials: &[f64], before: State) -> (Row, State) {
    let sum = |column: usize| partials.iter().skip(column).step_by(2).sum::<f64>();
    let distance = if index == 0 { f64::NAN } else { sum(0) / sum(1) };
    let [lowest, highest] = rule.limits;
    let x = if distance < lowest { lowest } else { distance };
    let f = rule.coefficients.iter().fold(0.0, |f, c| f * x + c);
    // f32 ends sooner than f64.
    let finite = |x: f64| (x as f32).is_finite();
    let measured = !forced && finite(distance) && distance <= highest && finite(f);
    let added = match rule.negative {
        Negative::Raw => f,
        Negative::Clamp => f.max(0.0),
        Negative::Abs => f.abs(),
    };
    let sum = if measured { before.sum + added } else { 0.0 };
    let skips = measured
        && before.primed
        && before.skips < rule.max_skips
        && rule.threshold > 0.0
        && sum < rule.threshold;
    let row = Row {
        distance,
        rescaled: if measured { f } else { f64::NAN },
        sum,
        decision: if forced { 2.0 } else { f64::from(u8::from(!skips)) },
    };
    let after = State {
        sum: if skips && rule.accumulates { sum } else { 0.0 },
        primed: true,
        skips: if skips { before.skips + 1 } else { 0 },
    };
    (row, after)
}

pub(super) fn wrong() -> Vec<Wrong> {
    use DType::*;
    let state = State { sum: 0.0, primed: true, skips: 0 };
    let base = |index| case(rule(0.25, IDENTITY), index, false, pairs(1, (1.0, 1.0), 8), state);
    let base = |index| base(index).with("trace", F32, &[4, 4]);
    let good = base(1);
    vec![
        good.with("flag", F32, &[1]).refused("flag: wanted u32 [1], got f32 [1]"),
        good.with("state", F32, &[3]).refused("state: wanted f32 [2], got f32 [3]"),
        good.with("trace", F32, &[4, 5]).refused("trace: wanted f32 [4, 4], got f32 [4, 5]"),
        good.with("trace", F32, &[16]).refused("trace: wanted 2 dimensions, got f32 [16]"),
        good.with("partials", F32, &[8, 4]).refused("partials: wanted f32 [8, 2], got f32 [8, 4]"),
        good.with("partials", F32, &[0, 2])
            .refused("partials: wanted f32 [P, 2], 0 < P ≤ 65535, got f32 [0, 2]"),
        base(4).refused("step: wanted less than 4, got 4"),
    ]
}
