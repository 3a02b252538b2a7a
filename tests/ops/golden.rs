//! Whole lists of decisions on the device, against the rule of `steep::cache` and the golden lists.

use pollster::block_on;
use steep::cache::{Decision, IDENTITY, Negative, Step, TeaCache, find};
use steep::cases::run::sources;
use steep::device::Gate;
use steep::ops::{PARTIALS, TEA_GATE, TRACE_COLUMNS, TeaStep, tea_gate};
use steep::{DType::F32, Tensor};

use crate::devices;

#[path = "../teacache/tables.rs"]
#[allow(dead_code)]
mod tables;

/// A rule with published coefficients and default settings.
pub fn teacache(threshold: f64, set: &str, steps: usize) -> TeaCache {
    TeaCache::new(threshold, find(set).unwrap().coefficients, steps)
}

fn with(mut rule: TeaCache, change: impl Fn(&mut TeaCache)) -> TeaCache {
    change(&mut rule);
    rule
}

/// Plays a list with every source on every device, twice on the same tensors, as two generations do. Every number must
/// be that of the rule on the host, to 1e-5. Returns the decisions.
fn replay(rule: &TeaCache, distances: &[Option<f64>]) -> String {
    let mut host = rule.clone();
    let want: Vec<Step> = distances.iter().enumerate().map(|(i, &d)| host.decide(i, d)).collect();
    for device in devices() {
        for label in sources(&device, &TEA_GATE) {
            device.prefer(Some(label));
            let tensor = |shape: [usize; 2]| Tensor::guarded(&device, F32, shape).unwrap();
            let (mut flag, mut trace) =
                (Tensor::from_u32(&device, [1], &[0]).unwrap(), tensor([distances.len(), TRACE_COLUMNS]));
            let mut state = Tensor::guarded(&device, F32, [2]).unwrap();
            for (i, d) in [distances, distances].concat().into_iter().enumerate() {
                let index = i % distances.len();
                let pairs: Vec<f32> =
                    (0..PARTIALS).flat_map(|_| [d.unwrap_or(f64::NAN) as f32, 1.0]).collect();
                let partials = Tensor::from_f32(&device, F32, [PARTIALS, 2], &pairs).unwrap();
                let step = TeaStep { rule: &rule.on_device(), index, forced: rule.forced(index) };
                tea_gate(Gate::Open, &mut flag, &mut state, &mut trace, &partials, step).unwrap();
                let decided = block_on(flag.read()).unwrap()[0] == 1;
                let case = format!("{} ({label}), {rule:?}, step {index}", device.name());
                assert_eq!(decided, want[index].decision.computes(), "{case}");
            }
            device.prefer(None);
            let rows = block_on(trace.read_f32()).unwrap();
            for (row, want) in rows.chunks(TRACE_COLUMNS).zip(&want) {
                let code = [Decision::Skipped, Decision::Computed, Decision::Forced];
                let code = code.iter().position(|decision| *decision == want.decision).unwrap();
                assert_eq!(row[3], code as f32, "{rule:?}: {row:?}, wanted {want:?}");
                // f is rounded relative to the sum of its terms.
                let d = want.distance.unwrap_or(0.0).abs();
                let slack = 1e-4 * rule.coefficients.iter().fold(0.0, |sum, c| sum * d + c.abs());
                for (got, want) in row.iter().zip([want.distance, want.rescaled, Some(want.accumulated)]) {
                    let (got, want) = (f64::from(*got), want.unwrap_or(f64::NAN));
                    let same = got.is_nan() && want.is_nan() || (got - want).abs() <= slack;
                    assert!(same, "{rule:?}: {row:?}, wanted {want}");
                }
            }
        }
    }
    want.iter().map(|step| step.decision.letter()).collect()
}

#[test]
fn golden_lists() {
    for golden in tables::ALL {
        for (run, negative) in
            golden.runs.iter().flat_map(|run| Negative::ALL.map(|negative| (run, negative)))
        {
            let rule = with(golden.policy(run.threshold), |rule| rule.negative = negative);
            assert_eq!(replay(&rule, &golden.distances()), run.letters, "{}", golden.set);
        }
    }
}

/// Wan 2.1 14B's polynomial is negative over much of this range: the three ways part.
#[test]
fn negative_values() {
    let distances: Vec<_> = (0..20).map(|i| (i > 0).then_some(0.03 + 0.02 * f64::from(i))).collect();
    let lists = Negative::ALL.map(|negative| {
        let rule = with(teacache(0.2, "wan2.1-t2v-14b", 20), |rule| rule.negative = negative);
        replay(&rule, &distances)
    });
    assert!(lists[0] != lists[1] && lists[1] != lists[2] && lists[2] != lists[0], "{lists:?}");
}

/// Below its range a polynomial counts as at the lowest end, above it a step computes; raw knows no range.
#[test]
fn fitted_ranges() {
    let distances = [None, Some(0.01), Some(0.01), Some(0.3), Some(0.06), Some(0.06), Some(0.01), Some(0.01)];
    use Negative::{Abs, Clamp, Raw};
    for (negative, threshold, letters) in [
        (Clamp, 0.2, "FSSCSSSF"),
        (Abs, 0.2, "FSSCSSSF"),
        (Raw, 0.2, "FSSCSSSF"),
        // At this threshold the range is all there is between 0.3 and a skip, and between 0.01 and a second one.
        (Clamp, 0.5, "FSSCSSSF"),
        (Raw, 0.5, "FSSSSSSF"),
        (Clamp, 0.04, "FCCCCCCF"),
        (Raw, 0.04, "FSSCCCSF"),
    ] {
        let rule = with(TeaCache::new(threshold, IDENTITY, 8), |rule| {
            (rule.range, rule.negative) = (Some([0.05, 0.25]), negative);
        });
        assert_eq!(replay(&rule, &distances), letters, "{rule:?}");
    }
}

/// Limits on skips in a row, windows, and distances that do not add up.
#[test]
fn limits_and_rules_that_do_not_accumulate() {
    let distances: Vec<_> = (0..24).map(|i| (i > 0).then_some(0.03 + 0.011 * f64::from(i * 7 % 5))).collect();
    for most in [1, 2, 3, 23, 1 << 40] {
        let always = with(TeaCache::new(f64::INFINITY, IDENTITY, 24), |rule| {
            // As a first-block cache decides.
            (rule.accumulates, rule.force_last) = (false, false);
            (rule.max_skips, rule.warmup, rule.end) = (most, 5, 20);
        });
        let adding = with(TeaCache::new(0.505, IDENTITY, 24), |rule| rule.max_skips = most);
        for rule in [always, adding] {
            let letters = replay(&rule, &distances);
            let longest = letters.split(['F', 'C']).map(str::len).max().unwrap();
            assert!(longest > 0 && longest <= most, "{letters}");
        }
    }
}
