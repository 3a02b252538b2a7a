//! What a trace depends on, and the arithmetic behind it.
//!
//! Numbers of invariants run across the whole test suite: the ones missing here speak of tensors and are
//! tested with the sampler and the kernels.

use steep::cache::{Decision, TeaCache, letters};

use crate::{Random, plain, some, tables, teacache, trace};

#[test]
fn invariant_14_a_trace_does_not_depend_on_later_steps() {
    let mut random = Random(14);
    for _ in 0..1000 {
        let distances = random.distances(40, 0.2);
        let whole = trace(plain(0.25, 40), &distances);
        let n = 1 + (random.bits() % 40) as usize;
        let short = trace(plain(0.25, n), &distances[..n]);
        assert_eq!(short[..n - 1], whole[..n - 1]);
        assert!(short.ends_with('F'));
    }
}

#[test]
fn invariant_15_the_same_distances_give_the_same_trace() {
    let distances = Random(15).distances(50, 0.2);
    let steps = || teacache(0.2, "latte-1", 50).replay(&distances);
    for (one, two) in steps().iter().zip(steps()) {
        assert_eq!(*one, two);
        assert_eq!(one.accumulated.to_bits(), two.accumulated.to_bits());
    }
}

#[test]
fn invariant_16_branches_do_not_touch_each_other() {
    let mut random = Random(16);
    let lists = [random.distances(30, 0.2), random.distances(30, 0.2)];
    let alone = [0, 1].map(|branch: usize| plain(0.3, 30).replay(&lists[branch]));
    assert_ne!(letters(&alone[0]), letters(&alone[1]));
    for order in [[0, 1], [1, 0]] {
        let mut states = [plain(0.3, 30), plain(0.3, 30)];
        for step in 0..30 {
            for branch in order {
                let got = states[branch].decide(step, lists[branch][step]);
                assert_eq!(got, alone[branch][step]);
            }
        }
    }
}

#[test]
fn invariant_19_a_second_generation_is_like_the_first() {
    let distances: Vec<_> = (Random(19).distances(30, 0.2).into_iter()).map(|d| d.or(Some(0.0625))).collect();
    for warmup in [0, 1, 5] {
        let mut fresh = plain(0.3, 30);
        fresh.warmup = warmup;
        let mut tea = fresh.clone();
        let wanted = fresh.replay(&distances);
        for abort in 0..=30 {
            tea.replay(&distances[..abort]);
            let got = tea.replay(&distances);
            assert_eq!(got, wanted, "aborted after {abort} steps");
        }
    }
}

#[test]
fn invariant_21_every_step_is_counted_once() {
    let mut random = Random(21);
    for steps in 1..50 {
        let trace = trace(plain(0.3, steps), &random.distances(steps, 0.2));
        let count = |letter| trace.matches(letter).count();
        assert_eq!(count('F') + count('C') + count('S'), steps);
        assert_eq!(count('F'), steps.min(2));
    }
    for decision in [Decision::Forced, Decision::Computed, Decision::Skipped] {
        assert_eq!(decision.computes(), decision.letter() != 'S');
    }
}

#[test]
fn invariant_23_the_polynomial_is_exact_where_floats_are() {
    // Halves: every term and every partial sum is a float. 1/16 − 2/8 + 3/4 − 4/2 + 5.
    let tea = TeaCache::new(0.1, [1.0, -2.0, 3.0, -4.0, 5.0], 1);
    assert_eq!(tea.rescale(0.5), 3.5625);
    assert_eq!(tea.rescale(0.0), 5.0);
    assert_eq!(tea.rescale(1.0), 3.0);
    assert_eq!(tea.rescale(2.0), 9.0);
}

#[test]
fn invariant_23_f32_decides_the_golden_traces_alike() {
    for golden in tables::ALL {
        for run in golden.runs {
            let tea = golden.policy(run.threshold);
            let c = tea.coefficients.map(|c| c as f32);
            let mut sum = 0.0f32;
            let mut trace = String::new();
            for (step, distance) in golden.distances().into_iter().enumerate() {
                let d = distance.unwrap_or(0.0) as f32;
                sum += (((c[0] * d + c[1]) * d + c[2]) * d + c[3]) * d + c[4];
                let letter = match sum < run.threshold as f32 {
                    _ if tea.forced(step) => 'F',
                    true => 'S',
                    false => 'C',
                };
                if letter != 'S' {
                    sum = 0.0;
                }
                trace.push(letter);
            }
            assert_eq!(trace, run.letters, "{}, δ = {}", golden.set, run.threshold);
        }
    }
}

#[test]
fn invariant_24_a_zero_anchor_computes() {
    // Σ|M − 0| / Σ|0|: infinite, or NaN if the indicator is zero as well.
    for difference in [1.0, 0.0] {
        let list = some(&[0.0, 0.1, difference / 0.0, 0.1, 0.0]);
        assert_eq!(trace(plain(0.5, 5), &list), "FSCSF");
    }
}
