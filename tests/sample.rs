//! The sampling loop with a real model: the PyTorch trajectory, and the invariants of caching that need tensors.

mod common;

use common::devices;
use pollster::block_on;
use steep::cache::{Given, Spec, letters};
use steep::model::{Checkpoint, Condition, Dit, Model};
use steep::sample::{GateMode, Moment, Progress, Run, Spacing, Watch};
use steep::{DType, Device, Error, Generate, generate, noise};

const MODES: [GateMode; 2] = [GateMode::Host, GateMode::Device];

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

fn tiny(device: &Device) -> Dit {
    Dit::load(device, &Checkpoint::open(fixture("tiny-latte")).unwrap(), DType::F32).unwrap()
}

/// A guided clip of class 2.
fn clip(model: &Dit, steps: usize) -> Generate<'_> {
    generate(model).class(2).seed(1).steps(steps)
}

fn cached<'m>(clip: Generate<'m>, cache: &str, mode: GateMode) -> Generate<'m> {
    clip.cache(cache.parse().unwrap()).gate(mode)
}

fn run(model: &Dit, steps: usize, cache: &str, mode: GateMode) -> Run {
    block_on(cached(clip(model, steps), cache, mode).run()).unwrap()
}

fn trace(run: &Run) -> String {
    letters(&run.trace())
}

fn bits(run: &Run) -> Vec<u32> {
    run.clips.iter().map(|x| x.to_bits()).collect()
}

/// A whole cached run by `reference/model.py`: decisions, the distance of each step, the final clip. A velocity model
/// takes Euler steps, an epsilon model DDIM's.
#[test]
fn trajectories_agree_with_pytorch() {
    for (model, fixture, spacing) in [
        ("moving-mnist-32", "trajectory", Spacing::Trailing),
        ("moving-mnist-32-epsilon", "trajectory-epsilon", Spacing::Leading),
    ] {
        let path = format!("{}/models/{model}.safetensors", env!("CARGO_MANIFEST_DIR"));
        trajectory(&Checkpoint::open(path).unwrap(), fixture, spacing);
    }
}

fn trajectory(checkpoint: &Checkpoint, name: &str, spacing: Spacing) {
    let file = std::fs::read(fixture(name)).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let meta = header.metadata().clone().unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let read = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    };
    for device in devices() {
        let model = Dit::load(&device, checkpoint, DType::F32).unwrap();
        let clip = generate(&model)
            .class(meta["class"].parse().unwrap())
            .steps(meta["steps"].parse().unwrap())
            .guidance(meta["guidance"].parse().unwrap())
            .spacing(spacing)
            .noise(read("noise"));
        for mode in MODES {
            let cache = format!("tea:{}", meta["threshold"]);
            let run = block_on(cached(clip.clone(), &cache, mode).run()).unwrap();
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
        let plain = run(&model, 8, "off", GateMode::Host);
        assert_eq!(trace(&plain), "CCCCCCCC");
        // The last polynomial is negative everywhere: without a hard switch it would skip at any threshold.
        for cache in ["tea:0", "tea:1e-30", "uniform:1", "mask:11111111", "tea:0:0,0,0,0,-1:raw"] {
            for mode in MODES {
                let cached = run(&model, 8, cache, mode);
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
        let mut pass = model.begin(&Condition::class(1), &[900.0, 850.0]).unwrap();
        let mut residual = Tensor::zeros(&device, DType::F32, *pass.streams().x.shape()).unwrap();
        let flag = Tensor::from_u32(&device, [1], &[0]).unwrap();

        pass.embed(Gate::Open, &tensor(1), 0).unwrap();
        pass.probe(Gate::Open, None).unwrap();
        pass.blocks(Gate::Open).unwrap();
        let streams = pass.streams();
        axpby(Gate::Open, &mut residual, (1.0, Some(&streams.x)), (-1.0, &streams.stack_in)).unwrap();

        pass.embed(Gate::Open, &tensor(2), 1).unwrap();
        pass.probe(Gate::Open, None).unwrap();
        let before = block_on(device.counters()).unwrap();
        pass.blocks(Gate::If(&flag)).unwrap();
        let after = block_on(device.counters()).unwrap();
        assert_eq!(after.launched, before.launched, "a block ran on {}", device.name());
        assert!(after.gated_off > before.gated_off + 20);
        let streams = pass.streams_mut();
        let stack_in = &streams.stack_in;
        axpby(Gate::Unless(&flag), &mut streams.x, (1.0, Some(stack_in)), (1.0, &residual)).unwrap();
        let read = |t: &Tensor| block_on(t.read_f32()).unwrap();
        let (x, h, r) = (read(&streams.x), read(&streams.stack_in), read(&residual));
        assert!(x.iter().zip(h.iter().zip(&r)).all(|(x, (h, r))| x.to_bits() == (h + r).to_bits()));
    }
}

#[test]
fn invariant_06_first_and_last_step_compute_at_any_threshold() {
    for device in devices() {
        let model = tiny(&device);
        for (steps, wanted) in [(1, "F"), (2, "FF"), (3, "FSF"), (6, "FSSSSF")] {
            for mode in MODES {
                assert_eq!(trace(&run(&model, steps, "tea:inf", mode)), wanted);
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
            let cached = run(&model, 20, cache, GateMode::Device);
            let distances: Vec<_> = cached.steps.iter().map(|r| r.step.distance).collect();
            let replayed = spec.policy(20, &Given::default()).unwrap().replay(&distances);
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
            let first = run(&model, 8, cache, GateMode::Host);
            for mode in MODES {
                let again = run(&model, 8, cache, mode);
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
        let pair = clip(&model, 10).condition(Condition::Classes(vec![1, 3]));
        let together = block_on(cached(pair.clone(), "tea:0.5", GateMode::Host).run()).unwrap();
        let n = model.config().clip();
        assert_eq!(together.clips.len(), 2 * n);
        assert_eq!(together.videos().unwrap()[1].data, together.clips[n..]);
        // Uncached, a clip does not depend on its company.
        let together = block_on(pair.run()).unwrap();
        let alone = block_on(clip(&model, 10).class(1).run()).unwrap();
        let error =
            alone.clips.iter().zip(&together.clips[..n]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= 1e-4, "{error}");
    }
}

#[test]
fn invariant_19_an_aborted_run_leaves_nothing_behind() {
    for device in devices() {
        let model = tiny(&device);
        let first = run(&model, 8, "tea:0.5", GateMode::Device);
        let mut stop = |p: Progress| if p.done == 4 { Err(Error::Interrupted) } else { Ok(()) };
        let other = cached(clip(&model, 8).seed(9), "tea:0.5", GateMode::Device);
        assert!(matches!(block_on(other.watch(&mut stop)), Err(Error::Interrupted)));
        let second = run(&model, 8, "tea:0.5", GateMode::Device);
        assert_eq!(bits(&first), bits(&second));
    }
}

#[test]
fn device_gate_reads_nothing_before_the_end_and_no_step_allocates() {
    for device in devices() {
        let model = tiny(&device);
        for (mode, reads) in [(GateMode::Device, 0), (GateMode::Host, 8)] {
            let start = block_on(device.counters()).unwrap().reads;
            let mut seen = Vec::new();
            let mut progress = |p: Progress| {
                seen.push(block_on(device.counters()).unwrap());
                assert_eq!(p.decision.is_some(), mode == GateMode::Host);
                Ok(())
            };
            block_on(cached(clip(&model, 8), "tea:0.5", mode).watch(&mut progress)).unwrap();
            assert_eq!(seen[7].reads - start, reads, "{mode:?} on {}", device.name());
            assert!(seen[0].allocations > 0);
            assert_eq!(seen[7].allocations, seen[0].allocations, "{mode:?} on {}", device.name());
        }
    }
}

/// What depends on schedule and condition alone is computed once per run, so a skipped step is few launches: one that
/// takes the step's modulation, the patches, the probe, the decision, the residual, two of the head, and the update.
#[test]
fn a_skipped_step_launches_little() {
    for device in devices() {
        let model = tiny(&device);
        let mut seen = vec![block_on(device.counters()).unwrap().launched];
        let mut progress = |_: Progress| {
            seen.push(block_on(device.counters()).unwrap().launched);
            Ok(())
        };
        let run = block_on(cached(clip(&model, 8), "tea:0.5", GateMode::Host).watch(&mut progress)).unwrap();
        let depth = model.config().depth as u64;
        for (i, letter) in trace(&run).chars().enumerate().skip(1) {
            // A block is seven launches, of which the first block's modulation is the probe; frames are placed once.
            let blocks = 7 * depth - 1 + 1;
            let wanted = if letter == 'S' { 8 } else { 8 + blocks };
            assert_eq!(seen[i + 1] - seen[i], wanted, "step {i} {letter} on {}", device.name());
        }
    }
}

#[test]
fn epsilon_models_sample_with_ddim() {
    for device in devices() {
        let checkpoint = Checkpoint::open(fixture("tiny-dit")).unwrap();
        let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
        let plain = run(&model, 10, "off", GateMode::Host);
        assert!(plain.clips.iter().all(|x| x.is_finite()));
        let unguided = block_on(clip(&model, 10).guidance(1.0).run()).unwrap();
        assert_ne!(bits(&plain), bits(&unguided));
    }
}

/// Adams-Bashforth's updates, written out on the host from the predictions that the run made, for both kinds of model;
/// and a cached run, whose skipped steps make predictions too, under both gates.
#[test]
fn multistep_samplers_combine_predictions() {
    struct Predictions(Vec<(Vec<f32>, Vec<f32>)>, usize, usize);
    impl Watch for Predictions {
        async fn step(&mut self, moment: &Moment<'_>) -> steep::Result<()> {
            use steep::ops::{Update, denoise};
            let mut v = steep::Tensor::zeros(moment.z.device(), DType::F32, *moment.z.shape())?;
            let as_is = Update { keep: 0.0, add: 1.0, guidance: 3.0, channels: usize::MAX };
            denoise(steep::device::Gate::Open, &mut v, &moment.streams.tokens, self.1, as_is)?;
            self.0.push((moment.z.read_f32().await?, v.read_f32().await?));
            Ok(())
        }
        async fn done(&mut self, p: Progress) -> steep::Result<()> {
            self.2 = p.done;
            Ok(())
        }
    }
    for device in devices() {
        for name in ["tiny-latte", "tiny-dit"] {
            let checkpoint = Checkpoint::open(fixture(name)).unwrap();
            let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
            for (method, factors) in [
                ("ab2", vec![vec![1.0], vec![1.5, -0.5]]),
                ("ab3", vec![vec![1.0], vec![1.5, -0.5], vec![23.0 / 12.0, -4.0 / 3.0, 5.0 / 12.0]]),
            ] {
                let clip = clip(&model, 6).sampler(method.parse().unwrap());
                let updates = clip.schedule().unwrap().updates;
                let mut seen = Predictions(vec![], model.config().patch, 0);
                let run = block_on(clip.watch(&mut seen)).unwrap();
                assert_eq!(seen.2, 6);
                let ends = seen.0.iter().skip(1).map(|(z, _)| z).chain([&run.clips]);
                for (i, (after, update)) in ends.zip(&updates).enumerate() {
                    let factors = &factors[i.min(factors.len() - 1)];
                    for (at, after) in after.iter().enumerate() {
                        let sum: f32 = factors
                            .iter()
                            .enumerate()
                            .map(|(ago, f)| *f as f32 * seen.0[i - ago].1[at])
                            .sum();
                        let wanted = update.keep * seen.0[i].0[at] + update.add * sum;
                        assert!((after - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()), "{name} {method} {i}");
                    }
                }
                let cached = |mode| block_on(cached(clip.clone(), "uniform:2", mode).run()).unwrap();
                assert_eq!(bits(&cached(GateMode::Host)), bits(&cached(GateMode::Device)));
                assert_ne!(bits(&run), bits(&block_on(clip_of_six(&model)).unwrap()));
            }
        }
    }
}

async fn clip_of_six(model: &Dit) -> steep::Result<Run> {
    clip(model, 6).run().await
}

/// A rule that no table holds: the host decides from what the device measured.
#[test]
fn a_rule_of_ones_own_decides_from_what_is_measured() {
    use steep::cache::{Decision, Measure, Policy, Rule, Span, StandIn, Step};
    for device in devices() {
        let model = tiny(&device);
        for stand_in in [StandIn::Residual, StandIn::Extrapolated] {
            let policy = || {
                let rule = move |step: usize, distance: Option<f64>| {
                    // Every other step, as long as something was measured.
                    let decision = match distance {
                        Some(d) if step % 2 == 1 && d > 0.0 => Decision::Skipped,
                        _ => Decision::Computed,
                    };
                    Step { decision, distance, rescaled: None, accumulated: 0.0 }
                };
                let rule = Rule::Host(Box::new(rule));
                Policy { measure: Measure::Signal, rule, span: Span::Blocks, stand_in }
            };
            let own = block_on(clip(&model, 8).run_with(policy(), &mut |_: Progress| Ok(()))).unwrap();
            let taylor = if stand_in == StandIn::Extrapolated { "+taylor" } else { "" };
            let mask = run(&model, 8, &format!("mask:10101010{taylor}"), GateMode::Host);
            assert_eq!(trace(&own), "CSCSCSCS");
            assert!(own.steps[1..].iter().all(|r| r.step.distance.is_some_and(|d| d > 0.0)));
            assert_eq!(bits(&own), bits(&mask), "{stand_in:?} on {}", device.name());
            let device_gate = clip(&model, 8).gate(GateMode::Device);
            let refused = block_on(device_gate.run_with(policy(), &mut |_: Progress| Ok(())));
            assert!(refused.unwrap_err().to_string().contains("wanted the host's gate"));
        }
    }
}

/// What a policy measures must be there where what it skips begins.
#[test]
fn policies_that_do_not_fit_are_refused() {
    use steep::cache::{Measure, Policy, Span};
    let device = Device::cpu();
    let model = tiny(&device);
    let refused = |policy: Policy| {
        let run = block_on(clip(&model, 4).run_with(policy, &mut |_: Progress| Ok(())));
        run.expect_err("an error").to_string()
    };
    let tea = || "tea:0.5".parse::<Spec>().unwrap().policy(4, &Given::default()).unwrap();
    assert!(refused(Policy { span: Span::Model, ..tea() }).contains("measures Signal and skips Model"));
    let wrong = Policy { measure: Measure::Output, ..tea() };
    assert!(refused(wrong).contains("measures Output and skips Blocks"));
    assert!(refused(Policy { measure: Measure::Nothing, ..tea() }).contains("a threshold on nothing"));
    let short = "uniform:2".parse::<Spec>().unwrap().policy(3, &Given::default()).unwrap();
    assert_eq!(refused(short), "a schedule of 3 steps: wanted 4");
}

/// DDIM's update against its formula, written out.
#[test]
fn ddim_schedule_is_the_papers() {
    use steep::model::Prediction;
    use steep::sample::Schedule;
    let schedule = Schedule::new(Prediction::Epsilon, Spacing::Leading, 4, 1.0).unwrap();
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
    let euler = Schedule::new(Prediction::Velocity, Spacing::Trailing, 4, 1.0).unwrap();
    assert_eq!(euler.times, [1000.0, 750.0, 500.0, 250.0]);
    assert!(euler.updates.iter().all(|u| (u.keep, u.add) == (1.0, -0.25)));
}

/// Against the formulas of diffusers' `set_timesteps`, evaluated by numpy 2: the first times, the last ones, the sum.
#[test]
fn spacings_are_those_of_diffusers() {
    use steep::model::Prediction;
    use steep::sample::Schedule;
    let times = |spacing, steps| {
        let schedule = Schedule::new(Prediction::Epsilon, spacing, steps, 1.0).unwrap();
        schedule.times.iter().map(|t| *t as usize).collect::<Vec<_>>()
    };
    for (spacing, steps, first, last, sum) in [
        (Spacing::Trailing, 7, [999, 856, 713], [428, 285, 142], 3993),
        (Spacing::Linspace, 7, [999, 832, 666], [333, 166, 0], 3496),
        (Spacing::Leading, 7, [852, 710, 568], [284, 142, 0], 2982),
        (Spacing::Trailing, 150, [999, 992, 986], [19, 12, 6], 75350),
        (Spacing::Linspace, 150, [999, 992, 986], [13, 7, 0], 74925),
        (Spacing::Leading, 150, [894, 888, 882], [12, 6, 0], 67050),
        (Spacing::Trailing, 334, [999, 996, 993], [8, 5, 2], 167166),
        (Spacing::Linspace, 334, [999, 996, 993], [6, 3, 0], 166833),
        (Spacing::Leading, 334, [666, 664, 662], [4, 2, 0], 111222),
        (Spacing::Trailing, 1000, [999, 998, 997], [2, 1, 0], 499500),
        (Spacing::Linspace, 1000, [999, 998, 997], [2, 1, 0], 499500),
        (Spacing::Leading, 1000, [999, 998, 997], [2, 1, 0], 499500),
    ] {
        let times = times(spacing, steps);
        assert_eq!(times.len(), steps);
        assert_eq!((times[..3].to_vec(), times[steps - 3..].to_vec()), (first.to_vec(), last.to_vec()));
        assert_eq!(times.iter().sum::<usize>(), sum, "{spacing}, {steps} steps");
    }
    for steps in 1..=1000 {
        for spacing in Spacing::ALL {
            if (spacing, steps) == (Spacing::Linspace, 1) {
                continue;
            }
            let times = times(spacing, steps);
            assert!(times.is_sorted_by(|a, b| a > b), "{spacing}, {steps} steps: {times:?}");
            assert!(spacing == Spacing::Leading || times[0] == 999, "{spacing}, {steps} steps");
        }
    }
    let refused = |prediction, spacing| Schedule::new(prediction, spacing, 1, 1.0).unwrap_err().to_string();
    assert!(refused(Prediction::Epsilon, Spacing::Linspace).contains("at least 2 steps"));
    assert!(refused(Prediction::Velocity, Spacing::Leading).contains("wanted trailing"));
    assert_eq!("linspace".parse(), Ok(Spacing::Linspace));
    let unknown = "lagging".parse::<Spacing>().unwrap_err().to_string();
    assert_eq!(unknown, "spacing \"lagging\": wanted trailing, linspace or leading");
}

/// 334 steps that do not divide 1000: by default the clip is that of many steps. Leading begins at 666, far off.
#[test]
fn ddim_begins_at_the_noise_it_is_given() {
    let path = format!("{}/models/moving-mnist-32-epsilon.safetensors", env!("CARGO_MANIFEST_DIR"));
    let model = Dit::load(&Device::cpu(), &Checkpoint::open(path).unwrap(), DType::F32).unwrap();
    let clip = |steps, spacing| {
        let clip = generate(&model).class(6).guidance(1.0).steps(steps).spacing(spacing);
        block_on(clip.run()).unwrap().videos().unwrap().remove(0)
    };
    let many = clip(500, Spacing::Leading);
    let db = |spacing| steep::evaluate::metrics::psnr(&many, &clip(334, spacing)).unwrap();
    let [trailing, linspace, leading] = Spacing::ALL.map(db);
    println!("trailing {trailing:.1} dB, linspace {linspace:.1}, leading {leading:.1}");
    assert!(trailing > 30.0 && linspace > 30.0 && leading < 25.0, "{trailing} {linspace} {leading}");
}

#[test]
fn bad_settings_are_errors_in_one_line() {
    let device = Device::cpu();
    let model = tiny(&device);
    let noise = noise::normal(1, 0, model.config().clip());
    let fails = |clip: Generate<'_>| {
        let message = block_on(clip.run()).expect_err("an error").to_string();
        assert!(!message.contains('\n'));
        message
    };
    assert_eq!(fails(clip(&model, 0)), "steps 0: wanted 1 to 100000");
    assert_eq!(fails(clip(&model, 2).class(9)), "class 9: wanted 0 to 3, or 4 for none");
    let nothing = clip(&model, 2).condition(Condition::Classes(vec![]));
    assert!(fails(nothing).contains("wanted at least one"));
    assert!(fails(clip(&model, 2).guidance(f32::NAN)).contains("finite"));
    assert!(fails(clip(&model, 2).noise(noise[1..].to_vec())).contains("bytes"));
    let mut spoilt = noise.clone();
    spoilt[3] = f32::NAN;
    assert_eq!(fails(clip(&model, 2).noise(spoilt)), "noise: element 3 is NaN: wanted finite numbers");
}

/// What a step takes for the clean clip lies where the step's own update would lead if it went all the way, and at the
/// last step is the clip, whatever was skipped.
#[test]
fn estimates_lie_on_the_way() {
    #[derive(Default)]
    struct Estimates(Vec<[Vec<f32>; 2]>);
    impl Watch for Estimates {
        async fn step(&mut self, moment: &Moment<'_>) -> steep::Result<()> {
            self.0.push([moment.z.read_f32().await?, moment.estimate()?.read_f32().await?]);
            Ok(())
        }
        async fn done(&mut self, _: Progress) -> steep::Result<()> {
            Ok(())
        }
    }
    for device in devices() {
        for (name, cache) in [("tiny-latte", "mask:10011"), ("tiny-latte", "easy:inf"), ("tiny-dit", "off")] {
            let checkpoint = Checkpoint::open(fixture(name)).unwrap();
            let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
            let generate = clip(&model, 5).cache(cache.parse().unwrap());
            let scales = generate.schedule().unwrap().scales;
            let mut seen = Estimates::default();
            let run = block_on(generate.watch(&mut seen)).unwrap();
            assert!(cache != "easy:inf" || run.computed() < 5, "something was skipped");
            let near = |i: usize, estimate: &[f32], want: &dyn Fn(usize) -> f64| {
                for (at, x) in estimate.iter().enumerate() {
                    let error = (f64::from(*x) - want(at)).abs();
                    assert!(
                        error < 1e-3 * (1.0 + want(at).abs()),
                        "{name} {cache} step {i}: {x} {}",
                        want(at)
                    );
                }
            };
            for (i, pair) in seen.0.windows(2).enumerate() {
                // z = a·x + b·noise with the same x and noise at the step and after it.
                let ([a, b], [c, d]) = (scales[i], scales[i + 1]);
                let ([before, estimate], [after, _]) = (&pair[0], &pair[1]);
                near(i, estimate, &|at| {
                    (d * f64::from(before[at]) - b * f64::from(after[at])) / (a * d - c * b)
                });
            }
            let [_, last] = &seen.0[4];
            near(4, last, &|at| f64::from(run.clips[at]));
        }
    }
}
