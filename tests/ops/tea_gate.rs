use steep::cache::{Decision, IDENTITY, Negative, Step, TeaCache, letters};
use steep::device::Gate;
use steep::ops::{PARTIALS, TEA_GATE, TRACE_COLUMNS, TeaStep, tea_gate};
use steep::{DType::*, oracle};

use crate::tables::ALL;
use crate::*;

/// What lives from step to step.
struct Run {
    flag: Tensor,
    state: Tensor,
    trace: Tensor,
}

impl Run {
    fn new(on: &On, steps: usize) -> Run {
        let (flag, state) = (on.out(U32, [1]), on.out(F32, [2]));
        Run { flag, state, trace: on.out(F32, [steps, TRACE_COLUMNS]) }
    }

    fn step(&mut self, on: &On, rule: &TeaCache, index: usize, partials: &[f32]) {
        let partials = on.f32([partials.len() / 2, 2], partials);
        let step = TeaStep { rule: &rule.on_device(), index, forced: rule.forced(index) };
        tea_gate(Gate::Open, &mut self.flag, &mut self.state, &mut self.trace, &partials, step).unwrap();
    }
}

/// P pairs, each with a quotient of its own, whose sums have this one; NaN at step 0, where nothing is compared.
fn partials(seed: u64, distance: Option<f64>, pairs: usize) -> Vec<f32> {
    let Some(d) = distance else { return vec![f32::NAN; 2 * pairs] };
    let [changes, sizes] = [1, 2].map(|part| wide(&oracle::data(part * 1000 + seed, pairs, 2.0, 0.5)));
    let scale = d * sizes.iter().sum::<f64>() / changes.iter().sum::<f64>();
    changes.iter().zip(sizes).flat_map(|(change, size)| [(scale * change) as f32, size as f32]).collect()
}

fn all_partials(distances: &[Option<f64>], pairs: usize) -> Vec<Vec<f32>> {
    distances.iter().enumerate().map(|(i, &d)| partials(i as u64, d, pairs)).collect()
}

fn specified(rule: &TeaCache, partials: &[Vec<f32>]) -> Vec<Step> {
    let mut rule = rule.clone();
    partials.iter().enumerate().map(|(i, p)| oracle::tea_gate(&mut rule, i, &wide(p))).collect()
}

/// Both NaN, both the same infinity, or at most this far apart.
fn same(got: f32, want: Option<f64>, slack: f64) -> bool {
    let (got, want) = (f64::from(got), want.unwrap_or(f64::NAN));
    got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= slack
}

/// Σ|c_i·d^i|: what f(d) is rounded relative to.
fn magnitude(rule: &TeaCache, d: Option<f64>) -> f64 {
    rule.coefficients.iter().fold(0.0, |sum, c| sum * d.unwrap_or(0.0).abs() + c.abs())
}

/// Plays a list on the device and holds every number to the specification: the same decisions, values to 1e-5.
fn check(on: &On, rule: &TeaCache, partials: &[Vec<f32>]) -> String {
    let mut run = Run::new(on, partials.len());
    replay(on, &mut run, rule, partials)
}

fn replay(on: &On, run: &mut Run, rule: &TeaCache, partials: &[Vec<f32>]) -> String {
    let want = specified(rule, partials);
    let case = format!("{}, {rule:?}", on.case(F32, partials[0].len(), 0.0));
    let mut slack = 0.0;
    for (i, (partials, want)) in partials.iter().zip(&want).enumerate() {
        run.step(on, rule, i, partials);
        let row = &values(&case, &run.trace)[i * TRACE_COLUMNS..][..TRACE_COLUMNS];
        let code = match want.decision {
            Decision::Skipped => 0.0,
            Decision::Computed => 1.0,
            Decision::Forced => 2.0,
        };
        let at = format!("{case}, step {i}: {row:?}, wanted {want:?}");
        assert_eq!(row[3], code, "{at}");
        assert_eq!(bits(&run.flag), u32::from(want.decision.computes()).to_le_bytes(), "{at}");
        let now = 1e-5 * magnitude(rule, want.distance.filter(|d| d.is_finite()));
        slack += now;
        assert!(same(row[0], want.distance, 1e-5 * want.distance.unwrap_or(0.0).abs()), "{at}: distance");
        assert!(same(row[1], want.rescaled, now), "{at}: rescaled");
        assert!(same(row[2], Some(want.accumulated), slack), "{at}: accumulated");
        let state = values(&case, &run.state);
        if want.decision.computes() {
            slack = 0.0;
            assert_eq!(state, [0.0, 1.0], "{at}");
        } else {
            assert_eq!(state, [if rule.accumulates { row[2] } else { 0.0 }, 1.0], "{at}");
            if !rule.accumulates {
                slack = 0.0;
            }
        }
    }
    values(&case, &run.flag);
    letters(&want)
}

/// Whether every sum stays clear of the threshold, so that f32 decides as f64 does.
fn clear(rule: &TeaCache, partials: &[Vec<f32>]) -> bool {
    let near = |s: &Step| {
        s.rescaled.is_some() && (s.accumulated - rule.threshold).abs() < 1e-4 * rule.threshold.abs()
    };
    !specified(rule, partials).iter().any(near)
}

/// A cap on skips in a row, windows, and distances that do not add up: the kernel follows the policy through all of
/// them, on random lists.
#[test]
fn limits_and_rules_that_do_not_accumulate() {
    for seed in 0..6 {
        let noise = oracle::data(seed, 24, 0.1, 0.05);
        let distances: Vec<_> =
            noise.iter().enumerate().map(|(i, d)| (i > 0).then(|| f64::from(d.abs()))).collect();
        let partials = all_partials(&distances, PARTIALS);
        let mut rules = vec![TeaCache::first_block(0.1, 24), TeaCache::sea(0.3, 24), TeaCache::easy(0.3, 24)];
        for most in [1, 2, 3, 23, 1 << 40] {
            let mut rule = TeaCache::new(0.5, IDENTITY, 24);
            rule.max_skips = most;
            let mut always = TeaCache::first_block(f64::INFINITY, 24);
            (always.max_skips, always.warmup, always.end) = (most, 5, 20);
            rules.extend([rule, always]);
        }
        for rule in rules.iter().filter(|rule| clear(rule, &partials)) {
            for on in sources(&TEA_GATE) {
                let letters = check(&on, rule, &partials);
                assert!(letters.contains('S'), "{rule:?}");
                let longest = letters.split(['F', 'C']).map(str::len).max().unwrap();
                assert!(longest <= rule.max_skips, "{letters}");
            }
        }
    }
}

#[test]
fn golden_lists() {
    for golden in ALL {
        let partials = all_partials(&golden.distances(), PARTIALS);
        for run in golden.runs {
            for negative in Negative::ALL {
                let mut rule = golden.policy(run.threshold);
                rule.negative = negative;
                for on in sources(&TEA_GATE) {
                    assert_eq!(check(&on, &rule, &partials), run.letters, "{}", golden.set);
                }
            }
        }
    }
}

#[test]
fn random_lists() {
    let mut played = 0;
    for seed in 0..60u64 {
        let pairs = [1, 2, 255, PARTIALS, 1024, 1025, 3000][seed as usize % 7];
        let steps = [1, 2, 3, 20, 30][seed as usize % 5];
        let mut rule = TeaCache::new([0.05, 0.2, 0.6][seed as usize % 3], IDENTITY, steps);
        let set = ["identity", "open-sora-1.2", "wan2.1-t2v-14b", "flux-1-dev"][seed as usize % 4];
        if set != "identity" {
            rule = teacache(rule.threshold, set, steps);
        }
        rule.negative = Negative::ALL[seed as usize / 4 % 3];
        rule.range = [None, Some([0.06, 0.15])][seed as usize / 3 % 2];
        rule.warmup = [1, 0, 5][seed as usize / 2 % 3];
        rule.force_last = !seed.is_multiple_of(3);
        let noise = oracle::data(seed, steps, 0.1, 0.08);
        let distance = |(i, d): (usize, &f32)| (i > 0).then(|| f64::from(d.abs()));
        let distances: Vec<_> = noise.iter().enumerate().map(distance).collect();
        let partials = all_partials(&distances, pairs);
        if clear(&rule, &partials) {
            played += 1;
            for on in sources(&TEA_GATE) {
                check(&on, &rule, &partials);
            }
        }
    }
    assert!(played > 50, "{played}");
}

/// Wan 2.1 14B's polynomial is negative over much of this range: the three ways part.
#[test]
fn negative_values() {
    let distances: Vec<_> = (0..20).map(|i| (i > 0).then_some(0.03 + 0.02 * f64::from(i))).collect();
    let partials = all_partials(&distances, 3);
    for on in sources(&TEA_GATE) {
        let traces = Negative::ALL.map(|negative| {
            let mut rule = teacache(0.2, "wan2.1-t2v-14b", 20);
            rule.negative = negative;
            check(&on, &rule, &partials)
        });
        assert!(traces[0] != traces[1] && traces[1] != traces[2] && traces[2] != traces[0], "{traces:?}");
    }
}

/// Below its range a polynomial counts as at the lowest end, above it a step computes; raw knows no range.
#[test]
fn fitted_ranges() {
    let distances = [None, Some(0.01), Some(0.01), Some(0.3), Some(0.06), Some(0.06), Some(0.01), Some(0.01)];
    let partials = all_partials(&distances, PARTIALS);
    let mut rule = TeaCache::new(0.2, IDENTITY, 8);
    rule.range = Some([0.05, 0.25]);
    for on in sources(&TEA_GATE) {
        for (negative, letters) in
            [(Negative::Clamp, "FSSCSSSF"), (Negative::Abs, "FSSCSSSF"), (Negative::Raw, "FSSCSSSF")]
        {
            rule.negative = negative;
            rule.threshold = 0.2;
            assert_eq!(check(&on, &rule, &partials), letters);
        }
        // At this threshold the range is all there is between 0.3 and a skip, and between 0.01 and a second one.
        for (negative, letters) in [(Negative::Clamp, "FSSCSSSF"), (Negative::Raw, "FSSSSSSF")] {
            rule.negative = negative;
            rule.threshold = 0.5;
            assert_eq!(check(&on, &rule, &partials), letters);
        }
        for (negative, letters) in [(Negative::Clamp, "FCCCCCCF"), (Negative::Raw, "FSSCCCSF")] {
            rule.negative = negative;
            rule.threshold = 0.04;
            assert_eq!(check(&on, &rule, &partials), letters);
        }
    }
}

/// NaN, infinity, an anchor of zeros: such steps compute, and the sum starts anew.
#[test]
fn distances_that_are_not_numbers() {
    let odd = [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, 0.0), (0.0, 0.0)];
    for (change, size) in odd {
        let list = [(1.0, 1.0), (0.06, 1.0), (change, size), (0.06, 1.0), (0.06, 1.0), (0.06, 1.0)];
        let partials = list.map(|(change, size)| vec![change, size, 0.0, 0.0]);
        for negative in Negative::ALL {
            for mut rule in [TeaCache::new(0.5, IDENTITY, 6), teacache(0.5, "open-sora-1.2", 6)] {
                rule.negative = negative;
                for on in sources(&TEA_GATE) {
                    assert_eq!(check(&on, &rule, &partials), "FSCSSF", "{change} / {size}");
                }
            }
        }
    }
}

/// A finite distance whose f(d) overflows f32 computes, below any threshold; clamping −∞ at 0 must not skip it.
#[test]
fn polynomials_that_overflow() {
    for (c4, negative) in [(1e3, Negative::Raw), (-1e3, Negative::Raw), (-1e3, Negative::Clamp)] {
        let mut rule = TeaCache::new(f64::INFINITY, [c4, 0.0, 0.0, 0.0, 0.0], 5);
        rule.negative = negative;
        for on in sources(&TEA_GATE) {
            let mut run = Run::new(&on, 5);
            let flags = [1.0, 0.1, 1e10, 0.1].into_iter().enumerate().map(|(i, d)| {
                run.step(&on, &rule, i, &[d, 1.0]);
                bits(&run.flag)[0]
            });
            assert_eq!(flags.collect::<Vec<_>>(), [1, 0, 1, 0], "{}, {rule:?}", on.case(F32, 1, 0.0));
        }
    }
}

/// A list of tiny distances, which nothing but the rule's settings keeps from being skipped.
#[test]
fn thresholds_that_turn_caching_off_or_never_compute() {
    let partials = all_partials(&[None, Some(0.0), Some(1e-3), Some(1e-3), Some(1e-3)], 4);
    for on in sources(&TEA_GATE) {
        for (threshold, want) in
            [(0.0, "FCCCF"), (-1.0, "FCCCF"), (f64::NAN, "FCCCF"), (f64::INFINITY, "FSSSF"), (0.1, "FSSSF")]
        {
            assert_eq!(check(&on, &TeaCache::new(threshold, IDENTITY, 5), &partials), want, "{threshold}");
        }
        let mut falling = TeaCache::new(0.0, [0.0, 0.0, 0.0, 0.0, -1.0], 5);
        falling.negative = Negative::Raw;
        assert_eq!(check(&on, &falling, &partials), "FCCCF");
    }
}

/// A sum that equals the threshold computes; all values are exact in f32.
#[test]
fn equality_computes() {
    let partials = [0.0, 0.25, 0.25, 0.25, 0.0].map(|d| vec![d, 1.0]);
    for on in sources(&TEA_GATE) {
        assert_eq!(check(&on, &TeaCache::new(0.5, IDENTITY, 5), &partials), "FSCSF");
    }
}

/// Step 0 begins a new generation on the same tensors, also after one that was broken off.
#[test]
fn state_begins_anew_at_step_0() {
    let rule = TeaCache::new(0.25, IDENTITY, 9);
    let distances: Vec<_> = (0..9).map(|i| (i > 0).then_some(0.1)).collect();
    let partials = all_partials(&distances, 5);
    for on in sources(&TEA_GATE) {
        let mut run = Run::new(&on, 9);
        replay(&on, &mut run, &rule, &partials[..3]);
        let untouched = values("trace", &run.trace)[3 * TRACE_COLUMNS..].iter().all(|x| x.is_nan());
        assert!(untouched, "{}: rows of later steps were written", on.case(F32, 9, 0.0));
        for _ in 0..2 {
            assert_eq!(replay(&on, &mut run, &rule, &partials), "FSSCSSCSF");
        }
    }
}

/// A run that begins in the middle has no residual, whatever the distance.
#[test]
fn never_skips_before_a_step_was_computed() {
    let rule = TeaCache::new(0.25, IDENTITY, 9);
    for on in sources(&TEA_GATE) {
        let mut run = Run::new(&on, 9);
        run.state.write_f32(&[0.0; 2]).unwrap();
        for (step, computes) in [(3, 1u32), (4, 0)] {
            run.step(&on, &rule, step, &[0.01, 1.0]);
            assert_eq!(bits(&run.flag), computes.to_le_bytes(), "{}, {step}", on.case(F32, 9, 0.0));
        }
    }
}

#[test]
fn gated() {
    let rule = TeaCache::new(0.25, IDENTITY, 4);
    let outputs = |on: &On| [on.out(U32, [1]), on.out(F32, [2]), on.out(F32, [4, TRACE_COLUMNS])];
    gates(&TEA_GATE, outputs, |on, gate, [flag, state, trace]| {
        tea_gate(
            gate,
            flag,
            state,
            trace,
            &on.f32([1, 2], &[1.0, 2.0]),
            TeaStep { rule: &rule.on_device(), index: 0, forced: true },
        )
    });
}

#[test]
fn refused() {
    let rule = TeaCache::new(0.25, IDENTITY, 4);
    for on in sources(&TEA_GATE) {
        let check = |message: &str, outs: [Tensor; 3], partials: Tensor, index: usize| {
            let mut outs = outs;
            refuses(&on, message, &mut outs, |[flag, state, trace]| {
                tea_gate(
                    Gate::Open,
                    flag,
                    state,
                    trace,
                    &partials,
                    TeaStep { rule: &rule.on_device(), index, forced: false },
                )
            });
        };
        let (flag, state, trace) = (|| on.out(U32, [1]), || on.out(F32, [2]), || on.out(F32, [4, 4]));
        let (good, pairs) = (|| [flag(), state(), trace()], || on.zeros(F32, [8, 2]));
        let outs = [on.out(F32, [1]), state(), trace()];
        check("tea_gate: flag: wanted u32 [1], got f32 [1]", outs, pairs(), 1);
        let outs = [flag(), on.out(F32, [3]), trace()];
        check("tea_gate: state: wanted f32 [2], got f32 [3]", outs, pairs(), 1);
        let outs = [flag(), state(), on.out(F32, [4, 5])];
        check("tea_gate: trace: wanted f32 [4, 4], got f32 [4, 5]", outs, pairs(), 1);
        let outs = [flag(), state(), on.out(F32, [16])];
        check("tea_gate: trace: wanted 2 dimensions, got f32 [16]", outs, pairs(), 1);
        let wanted = "tea_gate: partials: wanted f32";
        check(&format!("{wanted} [8, 2], got f32 [8, 4]"), good(), on.zeros(F32, [8, 4]), 1);
        check(&format!("{wanted} [P, 2], P > 0, got f32 [0, 2]"), good(), on.zeros(F32, [0, 2]), 1);
        check("tea_gate: step: wanted less than 4, got 4", good(), pairs(), 4);
    }
}
