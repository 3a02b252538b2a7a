//! The sampling loop with a real model: the PyTorch trajectory, and the invariants of caching that need tensors.

mod common;

use common::devices;
use pollster::block_on;
use steep::cache::{Spec, letters, replay};
use steep::model::{Checkpoint, Dit};
use steep::sample::{GateMode, Progress, Run, Settings, sample};
use steep::{DType, Device, Error, noise};

const MODES: [GateMode; 2] = [GateMode::Host, GateMode::Device];

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

fn tiny(device: &Device) -> Dit {
    Dit::load(device, &Checkpoint::open(fixture("tiny-latte")).unwrap(), DType::F32).unwrap()
}

fn settings(steps: usize) -> Settings {
    Settings { steps, guidance: 3.0, classes: vec![2] }
}

fn run(model: &Dit, settings: &Settings, cache: &str, mode: GateMode) -> Run {
    let noise = noise::normal(1, 0, settings.classes.len() * model.config().clip());
    let mut policy = cache.parse::<Spec>().unwrap().policy(settings.steps).unwrap();
    block_on(sample(model, settings, &noise, &mut *policy, mode, &mut |_| Ok(()))).unwrap()
}

fn trace(run: &Run) -> String {
    letters(&run.steps.iter().map(|r| r.step).collect::<Vec<_>>())
}

fn bits(run: &Run) -> Vec<u32> {
    run.clips.iter().map(|x| x.to_bits()).collect()
}

/// A whole cached run by `reference/model.py`: decisions, the distance of each step, the final clip. A velocity model
/// takes Euler steps, an epsilon model DDIM's.
#[test]
fn trajectories_agree_with_pytorch() {
    for (model, fixture) in
        [("moving-mnist-32", "trajectory"), ("moving-mnist-32-epsilon", "trajectory-epsilon")]
    {
        let path = format!("{}/models/{model}.safetensors", env!("CARGO_MANIFEST_DIR"));
        trajectory(&Checkpoint::open(path).unwrap(), fixture);
    }
}

fn trajectory(checkpoint: &Checkpoint, name: &str) {
    let file = std::fs::read(fixture(name)).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let meta = header.metadata().clone().unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let read = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    };
    let settings = Settings {
        steps: meta["steps"].parse().unwrap(),
        guidance: meta["guidance"].parse().unwrap(),
        classes: vec![meta["class"].parse().unwrap()],
    };
    for device in devices() {
        let model = Dit::load(&device, checkpoint, DType::F32).unwrap();
        let spec: Spec = format!("tea:{}", meta["threshold"]).parse().unwrap();
        for mode in MODES {
            let mut policy = spec.policy(settings.steps).unwrap();
            let noise = read("noise");
            let run =
                block_on(sample(&model, &settings, &noise, &mut *policy, mode, &mut |_| Ok(()))).unwrap();
            assert_eq!(trace(&run), meta["decisions"], "{name} {} {mode:?}", device.name());
            for (i, (ours, theirs)) in run.steps.iter().zip(read("distances")).enumerate().skip(1) {
                let ours = ours.step.distance.unwrap();
                assert!(
                    (ours - f64::from(theirs)).abs() <= 1e-5 * f64::from(theirs),
                    "{name} {i}: {ours} {theirs}"
                );
            }
            let error = run.clips.iter().zip(read("final")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error <= 1e-4, "{name} {} {mode:?}: {error}", device.name());
        }
    }
}

#[test]
fn invariant_01_off_is_off_and_02_zero_skips_change_nothing() {
    for device in devices() {
        let model = tiny(&device);
        let plain = run(&model, &settings(8), "off", GateMode::Host);
        assert_eq!(trace(&plain), "CCCCCCCC");
        // The last polynomial is negative everywhere: without a hard switch it would skip at any threshold.
        for cache in ["tea:0", "tea:1e-30", "uniform:1", "mask:11111111", "tea:0:0,0,0,0,-1:raw"] {
            for mode in MODES {
                let cached = run(&model, &settings(8), cache, mode);
                assert!(!trace(&cached).contains('S'), "{cache}");
                assert_eq!(bits(&plain), bits(&cached), "{cache} {mode:?} on {}", device.name());
            }
        }
    }
}

/// A skipped step is `head(h_in + R)`, and launches nothing of the stack: the weights may as well be gone.
#[test]
fn invariant_03_a_skipped_step_reuses_the_residual_and_runs_no_block() {
    use steep::Tensor;
    use steep::device::Gate;
    use steep::ops::axpby;
    for device in devices() {
        let model = tiny(&device);
        let c = model.config().clone();
        let clip = [1, c.frames, c.channels, c.height, c.width];
        let tensor =
            |seed| Tensor::from_f32(&device, DType::F32, clip, &noise::normal(seed, 0, c.clip())).unwrap();
        let times = Tensor::from_f32(&device, DType::F32, [2, 1], &[900.0, 850.0]).unwrap();
        let labels = model.labels(&[1]).unwrap();
        let mut a = model.acts(1).unwrap();
        let mut residual = Tensor::zeros(&device, DType::F32, *a.x.shape()).unwrap();
        let flag = Tensor::from_u32(&device, [1], &[0]).unwrap();

        model.embed(&mut a, &tensor(1), (&times, 0), &labels).unwrap();
        model.probe(&mut a, None).unwrap();
        model.blocks(&mut a, Gate::Open).unwrap();
        axpby(Gate::Open, &mut residual, (1.0, Some(&a.x)), (-1.0, &a.stack_in)).unwrap();

        model.embed(&mut a, &tensor(2), (&times, 1), &labels).unwrap();
        model.probe(&mut a, None).unwrap();
        let before = block_on(device.counters()).unwrap();
        model.blocks(&mut a, Gate::If(&flag)).unwrap();
        let after = block_on(device.counters()).unwrap();
        assert_eq!(after.launched, before.launched, "a block ran on {}", device.name());
        assert!(after.gated_off > before.gated_off + 20);
        axpby(Gate::Unless(&flag), &mut a.x, (1.0, Some(&a.stack_in)), (1.0, &residual)).unwrap();
        let (x, h, r) = block_on(async {
            (
                a.x.read_f32().await.unwrap(),
                a.stack_in.read_f32().await.unwrap(),
                residual.read_f32().await.unwrap(),
            )
        });
        assert!(x.iter().zip(h.iter().zip(&r)).all(|(x, (h, r))| x.to_bits() == (h + r).to_bits()));
    }
}

#[test]
fn invariant_06_first_and_last_step_compute_at_any_threshold() {
    for device in devices() {
        let model = tiny(&device);
        for (steps, wanted) in [(1, "F"), (2, "FF"), (3, "FSF"), (6, "FSSSSF")] {
            for mode in MODES {
                assert_eq!(trace(&run(&model, &settings(steps), "tea:inf", mode)), wanted);
            }
        }
    }
}

/// The device's decisions are those of the pure policy on the distances that the device measured, and those distances
/// are of consecutive steps: a policy that never skips and one that does see the same first ones.
#[test]
fn invariant_08_and_20_the_device_decides_as_the_policy_does() {
    for device in devices() {
        let model = tiny(&device);
        for cache in ["tea:0.5", "tea:0.7", "tea:1.5:latte-1", "tea:0.6:flux-1-dev:raw"] {
            let spec: Spec = cache.parse().unwrap();
            let cached = run(&model, &settings(20), cache, GateMode::Device);
            let distances: Vec<_> = cached.steps.iter().map(|r| r.step.distance).collect();
            let replayed = replay(&mut *spec.policy(20).unwrap(), &distances);
            for (i, (ours, policy)) in cached.steps.iter().zip(&replayed).enumerate() {
                assert_eq!(ours.step.decision, policy.decision, "{cache} step {i}: {ours:?} {policy:?}");
                assert!(
                    (ours.step.accumulated - policy.accumulated).abs() <= 1e-4 * (1.0 + policy.accumulated)
                );
            }
            let letters = trace(&cached);
            println!("{cache}: {letters} {distances:.3?}");
            assert!(letters.contains('S') && letters.contains('C'), "{cache}: {letters}");
        }
    }
}

#[test]
fn invariant_15_runs_repeat_and_both_gates_give_the_same_bits() {
    for device in devices() {
        let model = tiny(&device);
        for cache in ["tea:0.5", "uniform:3", "mask:10011001", "off"] {
            let first = run(&model, &settings(8), cache, GateMode::Host);
            for mode in MODES {
                let again = run(&model, &settings(8), cache, mode);
                assert_eq!(trace(&first), trace(&again), "{cache} {mode:?}");
                assert_eq!(bits(&first), bits(&again), "{cache} {mode:?}");
            }
        }
    }
}

#[test]
fn invariant_17_a_batch_is_decided_as_a_whole() {
    for device in devices() {
        let model = tiny(&device);
        let pair = Settings { classes: vec![1, 3], ..settings(10) };
        let together = run(&model, &pair, "tea:0.5", GateMode::Host);
        assert_eq!(together.clips.len(), 2 * model.config().clip());
        // Uncached, a clip does not depend on its company.
        let together = run(&model, &pair, "off", GateMode::Host);
        let alone = Settings { classes: vec![1], ..settings(10) };
        let alone = run(&model, &alone, "off", GateMode::Host);
        let n = model.config().clip();
        let error =
            alone.clips.iter().zip(&together.clips[..n]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= 1e-4, "{error}");
    }
}

#[test]
fn invariant_19_an_aborted_run_leaves_nothing_behind() {
    for device in devices() {
        let model = tiny(&device);
        let first = run(&model, &settings(8), "tea:0.5", GateMode::Device);
        let noise = noise::normal(9, 0, model.config().clip());
        let mut policy = "tea:0.5".parse::<Spec>().unwrap().policy(8).unwrap();
        let mut stop = |p: Progress| if p.done == 4 { Err(Error::Interrupted) } else { Ok(()) };
        let eight = settings(8);
        let aborted = sample(&model, &eight, &noise, &mut *policy, GateMode::Device, &mut stop);
        assert!(matches!(block_on(aborted), Err(Error::Interrupted)));
        let second = run(&model, &settings(8), "tea:0.5", GateMode::Device);
        assert_eq!(bits(&first), bits(&second));
    }
}

#[test]
fn device_gate_reads_nothing_before_the_end_and_no_step_allocates() {
    for device in devices() {
        let model = tiny(&device);
        let noise = noise::normal(1, 0, model.config().clip());
        for (mode, reads) in [(GateMode::Device, 0), (GateMode::Host, 8)] {
            let mut policy = "tea:0.5".parse::<Spec>().unwrap().policy(8).unwrap();
            let start = block_on(device.counters()).unwrap().reads;
            let mut seen = Vec::new();
            let mut progress = |p: Progress| {
                seen.push(block_on(device.counters()).unwrap());
                assert_eq!(p.decision.is_some(), mode == GateMode::Host);
                Ok(())
            };
            block_on(sample(&model, &settings(8), &noise, &mut *policy, mode, &mut progress)).unwrap();
            assert_eq!(seen[7].reads - start, reads, "{mode:?} on {}", device.name());
            assert!(seen[0].allocations > 0);
            assert_eq!(seen[7].allocations, seen[0].allocations, "{mode:?} on {}", device.name());
        }
    }
}

#[test]
fn epsilon_models_sample_with_ddim() {
    for device in devices() {
        let checkpoint = Checkpoint::open(fixture("tiny-dit")).unwrap();
        let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
        let plain = run(&model, &settings(10), "off", GateMode::Host);
        assert!(plain.clips.iter().all(|x| x.is_finite()));
        let unguided = Settings { guidance: 1.0, ..settings(10) };
        assert_ne!(bits(&plain), bits(&run(&model, &unguided, "off", GateMode::Host)));
    }
}

/// DDIM's update against its formula, written out.
#[test]
fn ddim_schedule_is_the_papers() {
    use steep::model::Prediction;
    use steep::sample::Schedule;
    let schedule = Schedule::new(Prediction::Epsilon, 4, 1.0).unwrap();
    assert_eq!(schedule.times, [750.0, 500.0, 250.0, 0.0]);
    let mut alpha_bar = vec![1.0f64];
    for i in 0..1000 {
        alpha_bar.push(alpha_bar[i] * (1.0 - (1e-4 + (2e-2 - 1e-4) * i as f64 / 999.0)));
    }
    let (z, eps) = (0.7, -0.3);
    for (i, (&t, update)) in schedule.times.iter().zip(&schedule.updates).enumerate() {
        let now = alpha_bar[t as usize + 1];
        let next = if i == 3 { 1.0 } else { alpha_bar[schedule.times[i + 1] as usize + 1] };
        let x0 = (z - (1.0 - now).sqrt() * eps) / now.sqrt();
        let wanted = next.sqrt() * x0 + (1.0 - next).sqrt() * eps;
        let ours = f64::from(update.keep) * z + f64::from(update.add) * eps;
        assert!((ours - wanted).abs() < 1e-6, "{t}: {ours} {wanted}");
    }
    let euler = Schedule::new(Prediction::Velocity, 4, 1.0).unwrap();
    assert_eq!(euler.times, [1000.0, 750.0, 500.0, 250.0]);
    assert!(euler.updates.iter().all(|u| (u.keep, u.add) == (1.0, -0.25)));
}

#[test]
fn bad_settings_are_errors_in_one_line() {
    let device = Device::cpu();
    let model = tiny(&device);
    let noise = noise::normal(1, 0, model.config().clip());
    let fails = |settings: Settings, noise: &[f32]| {
        let mut policy = Spec::Off.policy(settings.steps.max(1)).unwrap();
        let go_on = &mut |_: Progress| Ok(());
        let run = block_on(sample(&model, &settings, noise, &mut *policy, GateMode::Host, go_on));
        let message = run.err().expect("an error").to_string();
        assert!(!message.contains('\n'));
        message
    };
    assert_eq!(fails(settings(0), &noise), "steps 0: wanted 1 to 100000");
    let unknown = Settings { classes: vec![9], ..settings(2) };
    assert_eq!(fails(unknown, &noise), "class 9: wanted 0 to 3, or 4 for none");
    assert!(fails(Settings { classes: vec![], ..settings(2) }, &noise).contains("wanted at least one"));
    assert!(fails(Settings { guidance: f32::NAN, ..settings(2) }, &noise).contains("finite"));
    assert!(fails(settings(2), &noise[1..]).contains("bytes"));
}
