//! Which steps compute, for every list of distances.
//!
//! Numbers of invariants run across the whole test suite: the ones missing here speak of tensors and are
//! tested with the sampler and the kernels.

use steep::cache::{Decision, Negative, Step, letters};

use crate::{Random, plain, some, teacache, trace};

fn computed(steps: &[Step]) -> Vec<usize> {
    (0..steps.len()).filter(|&i| steps[i].decision.computes()).collect()
}

fn longest_skip(trace: &str) -> usize {
    trace.split(['F', 'C']).map(str::len).max().unwrap_or(0)
}

#[test]
fn invariant_01_off_computes_every_step() {
    let mut random = Random(1);
    for threshold in [0.0, -0.0, -1.0, f64::NEG_INFINITY, f64::NAN] {
        for negative in Negative::ALL {
            let mut tea = teacache(threshold, "wan2.1-t2v-14b", 20);
            tea.negative = negative;
            assert!(!trace(tea, &random.distances(20, 0.5)).contains('S'));
        }
    }
}

#[test]
fn invariant_06_first_and_last_always_compute() {
    let mut random = Random(6);
    for steps in 1..40 {
        for threshold in [0.0, 0.1, 1.0, f64::INFINITY] {
            let trace = trace(plain(threshold, steps), &random.distances(steps, 0.5));
            assert!(trace.starts_with('F') && trace.ends_with('F'), "{trace}");
        }
        let unlimited = trace(plain(f64::INFINITY, steps), &random.distances(steps, 0.5));
        assert_eq!(unlimited.matches('F').count(), steps.min(2));
        assert_eq!(unlimited.matches('S').count(), steps.saturating_sub(2));
    }
}

#[test]
fn invariant_06_forced_depends_on_the_index_alone() {
    let mut tea = plain(0.1, 6);
    let before: Vec<bool> = (0..6).map(|step| tea.forced(step)).collect();
    assert_eq!(before, [true, false, false, false, false, true]);
    tea.replay(&some(&[0.1; 4]));
    assert_eq!((0..6).map(|step| tea.forced(step)).collect::<Vec<_>>(), before);
    tea.force_last = false;
    assert!(!tea.forced(5));
}

#[test]
fn invariant_07_the_sum_starts_from_zero_after_the_warmup() {
    for warmup in 1..8 {
        let mut tea = plain(0.5, 20);
        tea.warmup = warmup;
        let steps = tea.replay(&some(&[0.2; 20]));
        assert!(steps[..warmup].iter().all(|s| s.decision == Decision::Forced));
        assert_eq!(steps[warmup].accumulated, 0.2);
        assert_eq!(steps[warmup].decision, Decision::Skipped);
    }
}

#[test]
fn invariant_08_the_sum_is_zero_after_every_computed_step() {
    let mut random = Random(8);
    for _ in 0..1000 {
        let threshold = random.below(0.6);
        let steps = plain(threshold, 30).replay(&random.distances(30, 0.3));
        let mut sum = 0.0;
        for step in &steps {
            if step.decision == Decision::Forced {
                assert_eq!((step.accumulated, step.rescaled), (0.0, None));
            } else {
                assert_eq!(step.accumulated, sum + step.distance.unwrap());
            }
            sum = if step.decision.computes() { 0.0 } else { step.accumulated };
        }
    }
}

#[test]
fn invariant_09_equality_computes() {
    // Exact in binary: 0.25 + 0.25 == 0.5.
    let list = some(&[0.0, 0.25, 0.25, 0.25, 0.25, 0.0]);
    assert_eq!(trace(plain(0.5, 6), &list), "FSCSCF");
    assert_eq!(trace(plain(0.5f64.next_up(), 6), &list), "FSSCSF");
    assert_eq!(trace(plain(0.5f64.next_down(), 6), &list), "FSCSCF");
    assert_eq!(trace(plain(f64::INFINITY, 6), &list), "FSSSSF");
}

#[test]
fn invariant_10_never_skips_without_a_residual() {
    // No warmup: the first step is gated, and its tiny distance alone would skip it.
    let mut tea = plain(0.5, 4);
    tea.warmup = 0;
    let list = some(&[0.125, 0.125, 0.125, 0.0]);
    assert_eq!(trace(tea.clone(), &list), "CSSF");
    // The same value in a second generation has no residual of its own either.
    tea.replay(&list);
    assert_eq!(trace(tea, &list), "CSSF");
    // A run that is taken up in the middle.
    assert_eq!(plain(0.5, 9).decide(4, Some(0.125)).decision, Decision::Computed);
}

#[test]
fn invariant_11_a_distance_that_is_no_number_computes_and_resets() {
    let no_numbers = [Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None];
    for bad in no_numbers.into_iter().chain([Some(1e200), Some(f64::MAX)]) {
        for negative in Negative::ALL {
            for (set, small) in [("latte-1", 0.02), ("wan2.1-t2v-14b", 0.1297), ("flux-1-dev", 0.05)] {
                let mut tea = teacache(10.0, set, 9);
                tea.negative = negative;
                let list = [None, Some(small), bad, Some(small), None].map(|d| d.or(bad));
                let steps = tea.replay(&list);
                assert_eq!(letters(&steps), "FSCSC", "{bad:?} {negative:?} {set}");
                assert_eq!((steps[2].rescaled, steps[2].accumulated), (None, 0.0));
                assert_eq!(steps[3].accumulated, steps[1].accumulated);
            }
        }
    }
}

#[test]
fn invariant_11_holds_for_every_threshold_and_a_sum_that_overflows() {
    let mut tea = plain(f64::INFINITY, 5);
    tea.negative = Negative::Raw;
    let nan = some(&[0.0, 0.1, f64::NAN, f64::INFINITY, 0.0]);
    assert_eq!(trace(tea.clone(), &nan), "FSCCF");
    // f(d) is finite on each step; their sum is not.
    tea.coefficients = [0.0, 0.0, 0.0, -1.0, 0.0];
    let huge = some(&[0.0, f64::MAX, f64::MAX, 0.1, 0.0]);
    assert_eq!(trace(tea, &huge), "FSCSF");
}

#[test]
fn invariant_12_runs_of_skips_are_bounded() {
    let mut random = Random(12);
    // The least value of f on [0, 0.5], and how many skips in a row each threshold allows.
    for (set, least, bounds) in [
        ("flux-1-dev", 0.1803, vec![(0.18, 0), (0.25, 1), (0.4, 2), (0.6, 3)]),
        ("hunyuan-video", 0.0521, vec![(0.05, 0), (0.1, 1), (0.15, 2)]),
    ] {
        for (threshold, most) in bounds {
            assert_eq!(f64::ceil(threshold / least) as usize - 1, most);
            let mut longest = 0;
            for _ in 0..2000 {
                let trace = trace(teacache(threshold, set, 40), &random.distances(40, 0.5));
                longest = longest.max(longest_skip(&trace));
            }
            assert!(longest <= most, "{set}, δ = {threshold}: {longest}");
            let lowest = if set == "flux-1-dev" { 0.0528 } else { 0.0314 };
            let lowest = trace(teacache(threshold, set, 40), &[Some(lowest); 40]);
            assert_eq!(longest_skip(&lowest), most, "{set}, δ = {threshold}: bound not reached");
        }
    }
}

#[test]
fn invariant_13_a_larger_threshold_never_computes_more() {
    let mut random = Random(13);
    for _ in 0..20_000 {
        let steps = 2 + (random.bits() % 40) as usize;
        let distances = random.distances(steps, 0.2);
        let (a, b) = (random.below(0.5), random.below(0.5));
        let less = computed(&plain(a.min(b), steps).replay(&distances));
        let more = computed(&plain(a.max(b), steps).replay(&distances));
        assert!(more.len() <= less.len());
        assert!(less.iter().zip(&more).all(|(less, more)| less <= more));
    }
}

#[test]
fn invariant_13_sets_of_skipped_steps_are_not_nested() {
    let list = some(&[0.0, 0.06, 0.04, 0.04, 0.0]);
    assert_eq!(trace(plain(0.05, 5), &list), "FCSCF");
    assert_eq!(trace(plain(0.08, 5), &list), "FSCSF");
}
