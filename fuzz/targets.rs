//! What is done with bytes that may come from anywhere: each function takes any, and ends without a panic.
//!
//! `cargo fuzz` drives them, and so does `tests/fuzz.rs`, for a short while and without a nightly compiler.

use std::path::Path;

use steep::cache::{Given, Spec};
use steep::evaluate::calibrate::{Calibration, Clip};
use steep::evaluate::{distances, journal};
use steep::model::{Checkpoint, Config, Dit};
use steep::{DType, Device};

/// What is done with the bytes of a file. It must not panic, whatever they are.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the folder of its seeds.
pub const ALL: [(&str, Target); 6] = [
    ("checkpoint", checkpoint),
    ("config", config),
    ("calibration", calibration),
    ("journal", journal),
    ("distances", distances),
    ("spec", spec),
];

/// A model file: its header, its configuration, and whether its tensors are those of the model.
pub fn checkpoint(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::from_bytes("model", data.to_vec()) {
        let _ = Dit::load(&Device::cpu(), &checkpoint, DType::F32);
    }
}

/// A model's configuration, and the numbers that follow from it. What is read is what is written again.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = Config::from_json(text) else { return };
    let _ = (config.flops(1), config.block_flops(1), config.condition_flops(1));
    let _ = (config.tokens(), config.modulation(), config.clip(), config.out_channels());
    let again = serde_json::to_string(&config).expect("JSON");
    assert_eq!(Config::from_json(&again).as_ref(), Ok(&config));
}

/// A calibration, and the rule that it makes.
pub fn calibration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(calibration) = Calibration::parse(text) else { return };
    let _ = calibration.rule(0.1, 50);
    let again = serde_json::to_string(&calibration).expect("JSON");
    assert_eq!(Calibration::parse(&again).as_ref(), Ok(&calibration));
}

/// The lines of a journal, and each of them as a recorded clip.
pub fn journal(data: &[u8]) {
    let path = Path::new("pairs.jsonl");
    let Ok((header, records)) = journal::parse(path, data) else { return };
    assert_eq!(journal::agree(path, &header, &header), Ok(()));
    for record in records {
        if let Ok(clip) = serde_json::from_value::<Clip>(record) {
            let _ = clip.check(50);
        }
    }
}

/// Distances that `plan` replays: the first byte says how many steps there are, 0 that nobody does.
pub fn distances(data: &[u8]) {
    let Some((&steps, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let steps = (steps != 0).then_some(usize::from(steps));
    let Ok(all) = distances::parse(text, steps) else { return };
    assert!(!all.is_empty() && steps.is_none_or(|steps| steps == all.len()));
    assert!(all.iter().flatten().all(|d| *d >= 0.0));
    for rule in ["tea:0.2", "sea:0.1+max-skips=3", "uniform:2"] {
        let spec: Spec = rule.parse().expect("a policy");
        let given = Given { fit: None, magnitudes: None };
        if let Ok(mut policy) = spec.policy(all.len(), &given) {
            assert_eq!(policy.replay(&all).len(), all.len());
        }
    }
}

/// A cache policy as a user writes it. What is written of it is read as the same.
pub fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(spec) = text.parse::<Spec>() else { return };
    let again: Spec = spec.to_string().parse().expect("its own text");
    assert_eq!(again, spec);
    let given = Given { fit: None, magnitudes: Some(vec![1.0, 0.9, 0.8]) };
    for steps in [1, 2, 13] {
        if let Ok(mut policy) = spec.policy(steps, &given) {
            assert_eq!(policy.replay(&vec![Some(0.1); steps]).len(), steps);
        }
    }
}
