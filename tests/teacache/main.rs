//! The cache policies: golden traces, invariants, and the settings that name them.

mod coefficients;
mod golden;
mod rivals;
mod schedule;
mod spec;
mod structure;
mod tables;

use steep::cache::{Given, IDENTITY, Policy, Rule, Spec, TeaCache, find, letters};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, scale).
    fn below(&mut self, scale: f64) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * scale
    }

    fn distances(&mut self, steps: usize, scale: f64) -> Vec<Option<f64>> {
        (0..steps).map(|step| (step > 0).then(|| self.below(scale))).collect()
    }
}

fn plain(threshold: f64, steps: usize) -> TeaCache {
    TeaCache::new(threshold, IDENTITY, steps)
}

fn some(distances: &[f64]) -> Vec<Option<f64>> {
    distances.iter().copied().map(Some).collect()
}

fn trace(mut tea: TeaCache, distances: &[Option<f64>]) -> String {
    letters(&tea.replay(distances))
}

/// A rule with published coefficients and default settings.
fn teacache(threshold: f64, set: &str, steps: usize) -> TeaCache {
    TeaCache::new(threshold, find(set).unwrap().coefficients, steps)
}

/// The policy of a setting; of MagCache with a table of 0.9 throughout.
fn made(spec: &str, steps: usize) -> Policy {
    let given = Given { fit: None, magnitudes: Some(vec![0.9]) };
    spec.parse::<Spec>().unwrap().policy(steps, &given).unwrap()
}

/// The threshold rule of a setting.
fn rule(spec: &str, steps: usize) -> TeaCache {
    match made(spec, steps).rule {
        Rule::Threshold(rule) => rule,
        other => panic!("{spec}: {other:?}"),
    }
}
