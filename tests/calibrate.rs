//! The polynomial, what it is fitted on, and what it is bound to.

mod common;

use common::devices;
use pollster::block_on;
use serde_json::Value;
use steep::cache::{Negative, Rule, Spec, TeaCache, letters};
use steep::evaluate::calibrate::{
    Binding, Calibration, Clip, Fit, evaluate, given, pearson, ratio, round_up, threshold_for,
};
use steep::model::{Checkpoint, Condition, Dit, Model};
use steep::sample::{Method, Spacing, observe};
use steep::{DType, generate, noise};

fn root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn clip(seed: u64, pairs: impl IntoIterator<Item = (f64, f64)>) -> Clip {
    let (x, y) = pairs.into_iter().unzip();
    Clip { class: 0, seed, x, y }
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// `reference/polyfit_fixture.py`
#[test]
fn polynomials_agree_with_numpy() {
    let text = std::fs::read_to_string(root("tests/fixtures/polyfit.json")).unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    let mut cases = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let (x, y, at) = (numbers(&case["x"]), numbers(&case["y"]), numbers(&case["at"]));
        let clips = [clip(0, x.into_iter().zip(y))];
        for degree in 1..=4 {
            let fit = Fit::of(&clips, degree).unwrap();
            let wanted = numbers(&case["values"][degree.to_string()]);
            let largest = wanted.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (x, wanted) in at.iter().zip(&wanted) {
                let got = evaluate(&fit.coefficients, *x);
                let error = (got - wanted).abs() / wanted.abs().max(1e-2 * largest);
                assert!(error < 1e-6, "{}, degree {degree} at {x}: {got} {wanted}", case["name"]);
            }
            assert_eq!(fit.range, [at[0], at[32]]);
            assert!(fit.coefficients[..4 - degree].iter().all(|c| *c == 0.0));
            cases += 1;
        }
    }
    assert_eq!(cases, 16);
}

#[test]
fn a_polynomial_is_found_again() {
    let c = [30.0, -12.0, 2.5, 0.4, 0.01];
    let points = (0..200).map(|i| 0.02 + 0.002 * f64::from(i)).map(|x| (x, evaluate(&c, x)));
    let fit = Fit::of(&[clip(0, points.clone()), clip(1, points.clone())], 4).unwrap();
    for (got, wanted) in fit.coefficients.iter().zip(c) {
        assert!((got - wanted).abs() < 1e-8 * wanted.abs().max(1.0), "{got} {wanted}");
    }
    assert!(fit.r2 > 1.0 - 1e-12 && fit.pearson > 1.0 - 1e-12 && fit.held_out_r2.unwrap() > 1.0 - 1e-12);
    // By hand: a line through (0, 0), (1, 1), (2, 0) is the mean, which explains nothing.
    let hill = Fit::of(&[clip(0, [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)])], 1).unwrap();
    assert!(hill.r2.abs() < 1e-12 && (hill.coefficients[4] - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(hill.held_out_r2, None, "one clip leaves nothing to hold out");
    assert!((pearson([(1.0, 2.0), (2.0, 4.1), (3.0, 5.9)].into_iter()) - 0.999_015).abs() < 1e-5);
}

/// Noise is fitted by the clips that one sees, never by those that one does not.
#[test]
fn held_out_clips_tell_noise_from_law() {
    let noisy = |seed: u64| {
        let (x, y) = (noise::normal(seed, 0, 6), noise::normal(seed, 1, 6));
        clip(seed, x.into_iter().zip(y).map(|(x, y)| (f64::from(x.abs()), f64::from(y))))
    };
    let clips: Vec<Clip> = (0..4).map(noisy).collect();
    let fit = Fit::of(&clips, 4).unwrap();
    assert!(fit.r2 > 0.0 && fit.held_out_r2.unwrap() < 0.0, "{fit:?}");
    let law = |seed: u64| clip(seed, noisy(seed).x.into_iter().map(|x| (x, 0.3 * x + 0.1)));
    let clips: Vec<Clip> = (0..7).map(law).collect();
    assert!(Fit::of(&clips, 1).unwrap().held_out_r2.unwrap() > 1.0 - 1e-9);
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let flat = clip(0, (0..50).map(|i| (0.1, f64::from(i))));
    let fails = |clips: &[Clip], degree| Fit::of(clips, degree).unwrap_err().to_string();
    assert!(fails(std::slice::from_ref(&flat), 1).contains("1 distances for degree 1: wanted at least 2"));
    let three = clip(0, [(0.1, 0.1), (0.2, 0.3), (0.3, 0.1), (0.3, 0.2)]);
    assert!(Fit::of(std::slice::from_ref(&three), 2).is_ok());
    assert!(fails(&[three], 3).contains("3 distances for degree 3: wanted at least 4"));
    assert!(fails(&[], 1).contains("0 distances"));
    assert!(fails(&[flat], 5).contains("degree 5: wanted 1 to 4"));
    let good = clip(3, [(0.1, 0.1), (0.2, 0.3)]);
    assert!(good.check(3).is_ok());
    assert!(good.check(4).unwrap_err().to_string().contains("seed 3: 2 of x, 2 of y: wanted 3 of each"));
    assert!(clip(0, [(0.1, f64::NAN)]).check(2).unwrap_err().to_string().contains("NaN: wanted distances"));
    assert!(clip(0, [(-0.1, 0.1)]).check(2).is_err());
}

fn tiny(dtype: DType, device: &steep::Device) -> Dit {
    Dit::load(device, &Checkpoint::open(root("tests/fixtures/tiny-latte.safetensors")).unwrap(), dtype)
        .unwrap()
}

/// The recorded distances of the output are those of the outputs themselves, which runs of fewer steps do not have: so
/// the model is evaluated again, step by step, on the host's own clip.
#[test]
fn outputs_are_measured_as_defined() {
    use steep::Tensor;
    use steep::device::Gate;
    use steep::ops::{Update, denoise};
    const STEPS: usize = 5;
    for device in devices() {
        let model = tiny(DType::F32, &device);
        let c = model.config().clone();
        let noise = noise::normal(4, 0, c.clip());
        let clip = generate(&model).class(2).steps(STEPS).noise(noise.clone());
        let seen = block_on(observe(&clip, &mut |_| Ok(()))).unwrap();

        let plain = block_on(clip.run()).unwrap();
        assert_eq!(seen.run.clips, plain.clips, "watching changes nothing on {}", device.name());

        let measured = block_on(clip.clone().cache("tea:0".parse().unwrap()).run()).unwrap();
        let distances = |r: &steep::sample::Run| r.steps.iter().map(|r| r.step.distance).collect::<Vec<_>>();
        assert_eq!(distances(&seen.run), distances(&measured));

        let shape = [1, c.frames, c.channels, c.height, c.width];
        let mut z = Tensor::from_f32(&device, DType::F32, shape, &noise).unwrap();
        let times: Vec<f32> =
            (0..STEPS).flat_map(|i| [1000.0 * (1.0 - i as f32 / STEPS as f32); 2]).collect();
        let mut pass = model.begin(&Condition::class(2).then(model.unconditional(1)), &times).unwrap();
        let mut before: Option<Vec<f32>> = None;
        for i in 0..STEPS {
            pass.evaluate(Gate::Open, &z, i).unwrap();
            let now = block_on(pass.streams().tokens.read_f32()).unwrap();
            let wanted = before.map(|before| {
                let sums = now.iter().zip(&before).fold((0.0, 0.0), |(change, size), (n, b)| {
                    (change + f64::from(n - b).abs(), size + f64::from(*b).abs())
                });
                sums.0 / sums.1
            });
            match (seen.outputs[i], wanted) {
                (None, None) => {}
                (Some(got), Some(wanted)) => {
                    assert!((got - wanted).abs() < 1e-5 * wanted, "{i}: {got} {wanted}")
                }
                other => panic!("step {i}: {other:?}"),
            }
            before = Some(now);
            let update = Update { keep: 1.0, add: -1.0 / STEPS as f32, guidance: 3.0, channels: usize::MAX };
            denoise(Gate::Open, &mut z, &pass.streams().tokens, c.patch, update).unwrap();
        }
    }
}

/// Nobody waits before the end, however much is recorded.
#[test]
fn recording_reads_nothing_until_the_end() {
    for device in devices() {
        let model = tiny(DType::F32, &device);
        let before = block_on(device.counters()).unwrap().reads;
        let mut early = None;
        let mut progress = |p: steep::sample::Progress| {
            if p.done == 6 {
                early = Some(block_on(device.counters()).unwrap().reads);
            }
            Ok(())
        };
        block_on(observe(&generate(&model).seed(1).steps(6), &mut progress)).unwrap();
        // Asking for the counters may itself count.
        assert!(early.unwrap() - before <= 2, "{}", device.name());
    }
}

fn shipped() -> (Checkpoint, Calibration) {
    (Checkpoint::shipped().unwrap(), Calibration::shipped().unwrap())
}

/// After the shipped model changes: `steep calibrate --model models/moving-mnist-32.safetensors`.
#[test]
fn the_shipped_calibration_is_the_shipped_models() {
    let (model, calibration) = shipped();
    let run = Binding::new(&model, Spacing::Trailing, 50, 3.0, DType::F32).unwrap();
    assert_eq!(calibration.check(&run), Ok(vec![]));
    assert_eq!(calibration.binding.model, model.name());
    assert!(calibration.fit.r2 > 0.3 && calibration.fit.held_out_r2.unwrap() > 0.3);
    // As the kernel evaluates it: f32 is enough over the whole range.
    let [low, high] = calibration.fit.range;
    for i in 0..=100 {
        let x = low + (high - low) * f64::from(i) / 100.0;
        let f = calibration.fit.coefficients.iter().fold(0.0f32, |sum, c| sum * x as f32 + *c as f32);
        let wanted = evaluate(&calibration.fit.coefficients, x);
        assert!((f64::from(f) - wanted).abs() < 1e-3 * wanted.abs().max(0.01), "{x}: {f} {wanted}");
    }
}

#[test]
fn a_calibration_is_bound_to_its_run() {
    let (model, calibration) = shipped();
    let run =
        |steps, guidance, dtype| Binding::new(&model, Spacing::Trailing, steps, guidance, dtype).unwrap();
    assert_eq!(calibration.check(&run(20, 3.0, DType::F32)).unwrap(), ["calibrated at steps 50, used at 20"]);
    let warnings = calibration.check(&run(50, 2.5, DType::BF16)).unwrap();
    assert_eq!(warnings, ["calibrated at guidance 3, used at 2.5", "calibrated at dtype f32, used at bf16"]);
    let multistep = run(50, 3.0, DType::F32).sampler(Method::AdamsBashforth(2));
    assert_eq!(calibration.check(&multistep).unwrap(), ["calibrated at sampler first-order, used at ab2"]);
    // A model of noise has a choice of times; before there was one, they were those of `leading`.
    let noise = root("models/moving-mnist-32-epsilon");
    let checkpoint = Checkpoint::open(format!("{noise}.safetensors")).unwrap();
    let mut of_noise = Calibration::open(format!("{noise}.teacache.json").as_ref()).unwrap();
    let run_of = |spacing| Binding::new(&checkpoint, spacing, 50, 3.0, DType::F32).unwrap();
    assert!(of_noise.check(&run_of(Spacing::Trailing)).unwrap().is_empty());
    let warned = ["calibrated at spacing trailing, used at leading"];
    assert_eq!(of_noise.check(&run_of(Spacing::Leading)).unwrap(), warned);
    of_noise.binding.spacing = None;
    let warned = ["calibrated at spacing leading, used at trailing"];
    assert_eq!(of_noise.check(&run_of(Spacing::Trailing)).unwrap(), warned);
    // Versions before this one did not record the sampler.
    let mut old = calibration.clone();
    old.binding.sampler = None;
    let unknown = ["does not say at which sampler it was calibrated, used at first-order"];
    assert_eq!(old.check(&run(50, 3.0, DType::F32)).unwrap(), unknown);
    let other = Checkpoint::open(root("tests/fixtures/tiny-latte.safetensors")).unwrap();
    let refused = calibration
        .check(&Binding::new(&other, Spacing::Trailing, 50, 3.0, DType::F32).unwrap())
        .unwrap_err();
    assert!(refused.contains("other weights") && refused.contains("tea:THRESHOLD:identity"), "{refused}");

    let text = serde_json::to_string(&calibration).unwrap();
    assert_eq!(Calibration::parse(&text).unwrap(), calibration);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["coefficients"].as_array().unwrap().len(), 5);
    for damage in [text.replace("range", "rnge"), text[..text.len() - 1].into(), "[]".into(), String::new()] {
        assert!(Calibration::parse(&damage).unwrap_err().contains("not a calibration"));
    }
    let mut upside_down = calibration.clone();
    upside_down.fit.range.reverse();
    assert!(Calibration::parse(&serde_json::to_string(&upside_down).unwrap()).is_err());
}

/// SHA-256 of the empty string and of "abc" are in FIPS 180-2; ours is of the whole file.
#[test]
fn weights_have_a_hash() {
    let hash = Checkpoint::shipped().unwrap().sha256().unwrap();
    assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()));
    let copy = Checkpoint::open(root("models/moving-mnist-32.safetensors")).unwrap();
    assert_eq!(copy.sha256().unwrap(), hash);
    let listed =
        std::process::Command::new("sha256sum").arg(root("models/moving-mnist-32.safetensors")).output();
    if let Ok(listed) = listed {
        assert!(String::from_utf8_lossy(&listed.stdout).starts_with(&hash));
    }
}

#[test]
fn tea_without_coefficients_has_the_models() {
    let (_, calibration) = shipped();
    let rule = |spec: &str, calibration: Option<&Calibration>| {
        let spec: Spec = spec.parse().unwrap();
        match spec.policy(10, &given(&spec, calibration).unwrap()).unwrap().rule {
            Rule::Threshold(rule) => Some(rule),
            _ => None,
        }
    };
    let ours = rule("tea:0.2", Some(&calibration)).unwrap();
    assert_eq!((ours.coefficients, ours.range), (calibration.fit.coefficients, Some(calibration.fit.range)));
    assert_eq!(ours, calibration.rule(0.2, 10));
    let raw = rule("tea:0.2:raw", Some(&calibration)).unwrap();
    assert_eq!((raw.coefficients, raw.negative), (calibration.fit.coefficients, Negative::Raw));
    assert_eq!(raw.limits(), [f64::NEG_INFINITY, f64::INFINITY], "the official code knows no range");
    for (spec, calibration) in
        [("tea:0.2:identity", Some(&calibration)), ("tea:0.2:latte-1", Some(&calibration)), ("tea:0.2", None)]
    {
        assert_eq!(rule(spec, calibration), rule(spec, None), "{spec}");
    }
    assert!(rule("uniform:2", Some(&calibration)).is_none());
    let short: Spec = "mask:10".parse().unwrap();
    assert!(short.policy(10, &given(&short, Some(&calibration)).unwrap()).is_err());
    let named: Spec = "tea:0.2:identity".parse().unwrap();
    assert_eq!(named.to_string(), "tea:0.2:identity");
}

/// The rule outside what it was fitted on.
#[test]
fn ranges_are_heeded() {
    let mut rule = TeaCache::new(0.25, [0.0, 0.0, 0.0, 1.0, 0.0], 7);
    rule.range = Some([0.1, 0.3]);
    let distances = [None, Some(0.01), Some(0.01), Some(0.01), Some(0.2), Some(0.31), Some(0.2)];
    // 0.01 counts as 0.1; 0.31 computes although the sum was 0.2 + 0 below.
    let trace = rule.clone().replay(&distances);
    assert_eq!(letters(&trace), "FSSCSCF");
    assert_eq!(trace[1].distance, Some(0.01), "the trace keeps what was measured");
    assert_eq!((trace[1].rescaled, trace[5].rescaled), (Some(0.1), None));
    rule.negative = Negative::Raw;
    assert_eq!(letters(&rule.replay(&distances)), "FSSSSCF");
}

#[test]
fn thresholds_are_found_by_replay() {
    let clips: Vec<Clip> = (0..6)
        .map(|seed| {
            let x = noise::normal(seed, 0, 29).into_iter().map(|v| 0.05 + 0.01 * f64::from(v.abs()));
            clip(seed, x.map(|x| (x, x)))
        })
        .collect();
    let rule = TeaCache::new(0.0, [0.0, 0.0, 0.0, 1.0, 0.0], 30);
    for target in [1.0, 1.5, 2.0, 3.3, 7.0] {
        let threshold = threshold_for(&clips, &rule, target).unwrap();
        let at = |threshold: f64| {
            let mut rule = rule.clone();
            rule.threshold = threshold;
            ratio(&clips, &rule)
        };
        assert!(at(threshold) >= target, "{target}");
        // The smallest, but for the rounding to four digits.
        assert!(
            target == 1.0 || at(threshold * 0.998) < target || at(threshold * 0.998) == at(threshold),
            "{target}"
        );
        assert!(threshold.to_string().len() <= 7, "{threshold}");
    }
    // Two of 30 steps always compute.
    assert!(threshold_for(&clips, &rule, 15.0).is_some() && threshold_for(&clips, &rule, 15.1).is_none());
    assert_eq!(round_up(0.123_41), 0.1235);
    assert_eq!((round_up(0.0), round_up(f64::INFINITY)), (0.0, f64::INFINITY));
    assert_eq!(round_up(1.0), 1.0);
}

/// Editors put a mark before text; text in UTF-16 is told from it.
#[test]
fn a_calibration_may_begin_with_a_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.teacache.json");
    let text = include_str!("../models/moving-mnist-32.teacache.json");
    std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
    assert_eq!(Calibration::open(&path).unwrap(), Calibration::shipped().unwrap());
    let spec = format!("mag:0.1@{}", path.display()).parse().unwrap();
    assert!(given(&spec, None).unwrap().magnitudes.is_some());
    let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, utf16).unwrap();
    let said = Calibration::open(&path).unwrap_err().to_string();
    assert!(said.contains("is text in UTF-16; wanted a calibration in UTF-8"), "{said}");
}
