//! The rules beside TeaCache on a real model: what the loop does is what the authors' loops do, played here step by step
//! with the model's parts, and all arithmetic of the cache on the host.

mod common;

use std::f64::consts::TAU;

use common::devices;
use pollster::block_on;
use steep::cache::{Given, Spec, letters};
use steep::device::Gate;
use steep::model::{Checkpoint, Condition, Dit, Model};
use steep::ops::{Update, denoise};
use steep::sample::{GateMode, Progress, Recording, Run, Schedule, Spacing, magnitudes};
use steep::{DType, Device, Generate, Tensor, generate, noise};

const MODES: [GateMode; 2] = [GateMode::Host, GateMode::Device];

fn shipped(device: &Device) -> Dit {
    Dit::load(device, &Checkpoint::shipped().unwrap(), DType::F32).unwrap()
}

fn tiny(device: &Device) -> Dit {
    let path = format!("{}/tests/fixtures/tiny-latte.safetensors", env!("CARGO_MANIFEST_DIR"));
    Dit::load(device, &Checkpoint::open(path).unwrap(), DType::F32).unwrap()
}

/// Without its best kernels a software adapter takes minutes for the shipped model.
fn slow(device: &Device) -> bool {
    device.name().ends_with("core")
}

fn noise_for(model: &Dit) -> Vec<f32> {
    noise::normal(1, 0, model.config().clip())
}

fn clip(model: &Dit, steps: usize) -> Generate<'_> {
    generate(model).class(2).seed(1).steps(steps)
}

fn cached<'m>(model: &'m Dit, steps: usize, cache: &str, mode: GateMode) -> Generate<'m> {
    clip(model, steps).cache(cache.parse().unwrap()).gate(mode)
}

fn run(model: &Dit, steps: usize, cache: &str, mode: GateMode) -> Run {
    block_on(cached(model, steps, cache, mode).run()).unwrap()
}

fn trace(run: &Run) -> String {
    letters(&run.trace())
}

fn bits(run: &Run) -> Vec<u32> {
    run.clips.iter().map(|x| x.to_bits()).collect()
}

fn read(t: &Tensor) -> Vec<f32> {
    block_on(t.read_f32()).unwrap()
}

/// Σ|a − b| and Σ|b|.
fn change(a: &[f64], b: &[f64]) -> (f64, f64) {
    (a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum(), b.iter().map(|b| b.abs()).sum())
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect()
}

/// SeaCache's filter of a signal [B, F, gh, gw, d] by a Fourier transform along each axis, the product of the axes'
/// gains over the mean of that product, and the way back, as `apply_sea_from_ab` does it.
fn sea(signal: &[f32], [frames, down, across, d]: [usize; 4], [a, b]: [f64; 2]) -> Vec<f64> {
    let [a, b] = [a, b].map(|x| x.clamp(1e-6, 1.0 - 1e-6));
    let gain = |k: usize, n: usize| {
        let f = k.min(n - k) as f64 / n as f64;
        let power = 1.0 / (f.powi(3) + 1e-16);
        a * power / (a * a * power + b * b + 1e-16)
    };
    let (mut re, mut im): (Vec<f64>, Vec<f64>) = signal.iter().map(|x| (f64::from(*x), 0.0)).unzip();
    let axes = [(across, d), (down, across * d), (frames, down * across * d)];
    let transform = |re: &mut Vec<f64>, im: &mut Vec<f64>, n: usize, stride: usize, sign: f64| {
        let (old_re, old_im) = (re.clone(), im.clone());
        for e in 0..re.len() {
            let (i, first) = (e / stride % n, e - e / stride % n * stride);
            (re[e], im[e]) = (0.0, 0.0);
            for j in 0..n {
                let (sin, cos) = (sign * TAU * (i * j % n) as f64 / n as f64).sin_cos();
                let (x, y) = (old_re[first + j * stride], old_im[first + j * stride]);
                re[e] += x * cos - y * sin;
                im[e] += x * sin + y * cos;
            }
        }
    };
    for (n, stride) in axes {
        transform(&mut re, &mut im, n, stride, -1.0);
    }
    let at = |e: usize| axes.iter().map(|(n, stride)| gain(e / stride % n, *n)).product::<f64>();
    let grid = frames * down * across;
    let mean = (0..grid).map(|place| at(place * d)).sum::<f64>() / grid as f64;
    for e in 0..re.len() {
        (re[e], im[e]) = (re[e] * at(e) / mean, im[e] * at(e) / mean);
    }
    for (n, stride) in axes {
        transform(&mut re, &mut im, n, stride, 1.0);
    }
    re.iter().map(|x| x / grid as f64).collect()
}

/// What a rule sees at one step: the distance to be counted, if there is one yet.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Tea,
    FirstBlock,
    Sea,
    Easy,
}

/// A run as the authors' code would do it.
fn reference(
    model: &Dit,
    steps: usize,
    kind: Kind,
    threshold: f64,
    first: usize,
    taylor: bool,
) -> (String, Vec<f64>, Vec<f32>) {
    let (c, device) = (model.config(), model.device());
    let schedule = Schedule::new(c.prediction, Spacing::default(), steps, 3.0).unwrap();
    let shape = [1, c.frames, c.channels, c.height, c.width];
    let mut z = Tensor::from_f32(device, DType::F32, shape, &noise_for(model)).unwrap();
    let mut v = Tensor::zeros(device, DType::F32, shape).unwrap();
    let times: Vec<f32> = schedule.times.iter().flat_map(|t| [*t; 2]).collect();
    let mut pass = model.begin(&Condition::class(2).then(model.unconditional(1)), &times).unwrap();
    let as_is = Update { keep: 0.0, add: 1.0, guidance: 3.0, channels: usize::MAX };

    let (mut letters, mut distances, mut sum) = (String::new(), vec![], 0.0);
    let mut indicator: Vec<f64> = vec![];
    let (mut seen, mut last_input, mut last_output): (Vec<f32>, Vec<f32>, Vec<f32>) =
        (vec![], vec![], vec![]);
    let mut rate = None;
    // Residuals of computed steps, latest last.
    let mut residuals: Vec<(usize, Vec<f64>)> = vec![];
    for i in 0..steps {
        let clip = read(&z);
        if kind != Kind::Easy {
            pass.embed(Gate::Open, &z, i).unwrap();
            pass.probe(Gate::Open, None).unwrap();
        }
        if kind == Kind::FirstBlock {
            pass.first(Gate::Open).unwrap();
        }
        let now = match kind {
            Kind::Tea => read(&pass.streams().signal).iter().map(|x| f64::from(*x)).collect(),
            Kind::Sea => {
                let grid = [c.frames, c.height / c.patch, c.width / c.patch, c.dim];
                sea(&read(&pass.streams().signal), grid, schedule.scales[i])
            }
            Kind::FirstBlock => difference(&read(&pass.streams().first), &read(&pass.streams().stack_in)),
            Kind::Easy => vec![],
        };
        let distance = match kind {
            Kind::Easy => rate.map(|rate: f64| {
                let size: f64 = last_output.iter().map(|v| f64::from(v.abs())).sum();
                rate * difference(&clip, &seen).iter().map(|x| x.abs()).sum::<f64>() / size
            }),
            _ if i == 0 => None,
            _ => {
                let (change, size) = change(&now, &indicator);
                Some(change / size)
            }
        };
        let last = i == steps - 1 && kind != Kind::FirstBlock;
        let forced = i < first || last;
        if kind == Kind::FirstBlock {
            sum = 0.0;
        }
        sum = if forced { 0.0 } else { sum + distance.unwrap() };
        let computes = forced || sum >= threshold;
        letters.push(if forced {
            'F'
        } else if computes {
            'C'
        } else {
            'S'
        });
        distances.push(distance.unwrap_or(f64::NAN));
        if computes {
            sum = 0.0;
        }
        if computes || kind != Kind::FirstBlock {
            indicator = now;
        }
        seen = clip.clone();

        if kind == Kind::FirstBlock {
            pass.place_frames(Gate::Open).unwrap();
        }
        let from = match kind {
            Kind::FirstBlock => read(&pass.streams().first),
            Kind::Easy => clip.clone(),
            _ => read(&pass.streams().stack_in),
        };
        if computes {
            match kind {
                Kind::FirstBlock => pass.rest(Gate::Open).unwrap(),
                Kind::Easy => {
                    pass.evaluate(Gate::Open, &z, i).unwrap();
                    denoise(Gate::Open, &mut v, &pass.streams().tokens, c.patch, as_is).unwrap();
                }
                _ => pass.blocks(Gate::Open).unwrap(),
            }
            let to = if kind == Kind::Easy { read(&v) } else { read(&pass.streams().x) };
            residuals.push((i, difference(&to, &from)));
            if kind == Kind::Easy {
                if !last_output.is_empty() {
                    let total = |x: Vec<f64>| x.iter().map(|x| x.abs()).sum::<f64>();
                    rate = Some(total(difference(&to, &last_output)) / total(difference(&clip, &last_input)));
                }
                (last_input, last_output) = (clip.clone(), to);
            }
        } else {
            let (at, residual) = residuals.last().unwrap();
            let (earlier, before) = &residuals[residuals.len().saturating_sub(2)];
            let ahead = if taylor && earlier < at { (i - at) as f64 / (at - earlier) as f64 } else { 0.0 };
            let out = (from.iter().zip(residual).zip(before))
                .map(|((x, r), b)| (f64::from(*x) + r + (r - b) * ahead) as f32);
            let out: Vec<f32> = out.collect();
            if kind == Kind::Easy { v.write_f32(&out) } else { pass.streams_mut().x.write_f32(&out) }
                .unwrap();
        }
        if kind != Kind::Easy {
            pass.head(Gate::Open).unwrap();
            denoise(Gate::Open, &mut v, &pass.streams().tokens, c.patch, as_is).unwrap();
        }
        let update = schedule.updates[i];
        let next: Vec<f32> =
            (clip.iter().zip(read(&v))).map(|(z, v)| update.keep * z + update.add * v).collect();
        z.write_f32(&next).unwrap();
    }
    (letters, distances, read(&z))
}

/// The loop's decisions, distances and clip are the reference's, under both gates, and the policy makes the same
/// decisions of those distances.
fn check(model: &Dit, steps: usize, kind: Kind, threshold: f64, first: usize, taylor: bool) {
    if slow(model.device()) && model.config().dim > 100 {
        return;
    }
    let name = match kind {
        Kind::Tea => "tea",
        Kind::FirstBlock => "fb",
        Kind::Sea => "sea",
        Kind::Easy => "easy",
    };
    let suffix = if taylor { "+taylor" } else { "" };
    let cache = format!("{name}:{threshold}{suffix}");
    let (wanted, distances, clip) = reference(model, steps, kind, threshold, first, taylor);
    for mode in MODES {
        let run = run(model, steps, &cache, mode);
        let case = format!("{cache} {mode:?} on {}", model.device().name());
        let ours: Vec<_> = run.steps.iter().map(|r| r.step.distance).collect();
        println!("{case}: {} {ours:.4?}", trace(&run));
        assert_eq!(trace(&run), wanted, "{case}: {distances:.4?}");
        assert!(wanted.contains('S') && wanted.contains('C'), "{case}: {wanted}");
        for (i, (ours, theirs)) in ours.iter().zip(&distances).enumerate() {
            match ours {
                None => assert!(theirs.is_nan(), "{case}: step {i}"),
                Some(ours) => {
                    let error = (ours - theirs).abs() / theirs;
                    assert!(error <= 1e-3, "{case}: step {i}: {ours} {theirs}");
                }
            }
        }
        let error = run.clips.iter().zip(&clip).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= 2e-3, "{case}: {error}");
        let mut policy = cache.parse::<Spec>().unwrap().policy(steps, &Given::default()).unwrap();
        assert_eq!(letters(&policy.replay(&ours)), wanted, "{case}");
    }
}

#[test]
fn tea_with_extrapolation_is_the_reference() {
    for device in devices() {
        check(&shipped(&device), 12, Kind::Tea, 0.3, 1, true);
        check(&tiny(&device), 12, Kind::Tea, 0.7, 1, true);
    }
}

#[test]
fn first_block_is_the_authors_loop() {
    for device in devices() {
        check(&shipped(&device), 12, Kind::FirstBlock, 0.3, 1, false);
        check(&shipped(&device), 12, Kind::FirstBlock, 0.3, 1, true);
        check(&tiny(&device), 12, Kind::FirstBlock, 0.9, 1, false);
    }
}

#[test]
fn sea_is_the_authors_loop() {
    for device in devices() {
        check(&shipped(&device), 12, Kind::Sea, 0.6, 1, false);
        check(&tiny(&device), 12, Kind::Sea, 0.6, 1, false);
    }
}

#[test]
fn easy_is_the_authors_loop() {
    for device in devices() {
        check(&shipped(&device), 14, Kind::Easy, 0.15, 2, false);
        check(&shipped(&device), 14, Kind::Easy, 0.15, 2, true);
        check(&tiny(&device), 14, Kind::Easy, 1.2, 2, false);
    }
}

const MEASURED: [&str; 6] = [
    "tea:0.5+taylor",
    "tea:0.5+start=2+end=6+max-skips=1",
    "fb:1.3",
    "sea:0.8",
    "easy:1.5",
    "easy:1.5+taylor",
];

/// With thresholds that skip nothing, every rule leaves the clip as it is, to the bit.
#[test]
fn zero_skips_change_nothing() {
    for device in devices() {
        let model = tiny(&device);
        let plain = bits(&run(&model, 8, "off", GateMode::Host));
        for cache in
            ["fb:0", "sea:0", "easy:0", "fb:1e-30", "sea:1e-30", "easy:1e-30", "tea:0+taylor", "off+taylor"]
        {
            for mode in MODES {
                let cached = run(&model, 8, cache, mode);
                assert!(!trace(&cached).contains('S'), "{cache}");
                assert_eq!(bits(&cached), plain, "{cache} {mode:?} on {}", device.name());
            }
        }
    }
}

#[test]
fn both_gates_give_the_same_bits_and_the_device_reads_nothing() {
    for device in devices() {
        let model = tiny(&device);
        for cache in MEASURED.into_iter().chain(["uniform:3+taylor", "mask:11011001+taylor"]) {
            let host = run(&model, 8, cache, GateMode::Host);
            assert!(trace(&host).contains('S'), "{cache}: {}", trace(&host));
            let start = block_on(device.counters()).unwrap();
            let mut seen = vec![];
            let mut progress = |_: Progress| {
                seen.push(block_on(device.counters()).unwrap());
                Ok(())
            };
            let again = cached(&model, 8, cache, GateMode::Device);
            let again = block_on(again.watch(&mut progress)).unwrap();
            assert_eq!(trace(&host), trace(&again), "{cache}");
            assert_eq!(bits(&host), bits(&again), "{cache} on {}", device.name());
            assert_eq!(seen[7].reads, start.reads, "{cache} on {}", device.name());
            assert_eq!(seen[7].allocations, seen[0].allocations, "{cache} on {}", device.name());
        }
    }
}

/// A skipped step of EasyCache runs nothing of the model; one of First-Block Cache runs the first of its blocks.
#[test]
fn a_skipped_step_runs_what_it_must() {
    let device = Device::cpu();
    let model = tiny(&device);
    let launches = |cache: &str| {
        let mut seen = vec![block_on(device.counters()).unwrap().launched];
        let mut progress = |_: Progress| {
            seen.push(block_on(device.counters()).unwrap().launched);
            Ok(())
        };
        let run = block_on(cached(&model, 8, cache, GateMode::Host).watch(&mut progress)).unwrap();
        let trace = trace(&run);
        let step = trace.find('S').unwrap();
        seen[step + 1] - seen[step]
    };
    // Two measurements and the decision, the difference added back, and the sampler's step.
    assert_eq!(launches("easy:1.5"), 5);
    let (tea, first) = (launches("tea:0.5"), launches("fb:1.3"));
    // A block is six launches beside its modulation, which is the probe's; then frames are told, and it measures.
    assert_eq!(first, tea + 6 + 2);
}

/// γ by hand from the residuals of the run.
#[test]
fn magnitudes_are_mean_ratios_of_norms() {
    for device in devices() {
        for (model, steps) in [(tiny(&device), 6), (shipped(&device), 4)] {
            if slow(&device) && model.config().dim > 100 {
                continue;
            }
            let c = model.config();
            let ours = block_on(magnitudes(&clip(&model, steps))).unwrap();
            let schedule = Schedule::new(c.prediction, Spacing::default(), steps, 3.0).unwrap();
            let times: Vec<f32> = schedule.times.iter().flat_map(|t| [*t; 2]).collect();
            let condition = Condition::class(2).then(model.unconditional(1));
            let mut pass = model.begin(&condition, &times).unwrap();
            let shape = [1, c.frames, c.channels, c.height, c.width];
            let mut z = Tensor::from_f32(&device, DType::F32, shape, &noise_for(&model)).unwrap();
            let mut before: Vec<f64> = vec![];
            assert_eq!(ours.len(), steps);
            for (i, ours) in ours.into_iter().enumerate() {
                pass.evaluate(Gate::Open, &z, i).unwrap();
                let streams = pass.streams();
                denoise(Gate::Open, &mut z, &streams.tokens, c.patch, schedule.updates[i]).unwrap();
                let now = difference(&read(&streams.x), &read(&streams.stack_in));
                let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
                let rows = now.chunks(c.dim).zip(before.chunks(c.dim));
                let ratios: Vec<f64> = rows.map(|(now, before)| norm(now) / norm(before)).collect();
                let want = match i {
                    0 => 1.0,
                    _ => ratios.iter().sum::<f64>() / ratios.len() as f64,
                };
                assert!((ours - want).abs() <= 1e-5 * want, "step {i}: {ours} {want}");
                before = now;
            }
        }
    }
}

/// What the recording says that a segment costs is what it does cost, in the run that it was recorded from: to a few
/// percent where one step is skipped, which is how it is measured, and within half where the errors of several are
/// taken to add up.
#[test]
fn a_recording_tells_what_segments_cost() {
    let device = Device::cpu();
    let model = shipped(&device);
    let mut recording = Recording::default();
    block_on(recording.add(&clip(&model, 10), &mut |_| Ok(()))).unwrap();
    let plain = run(&model, 10, "off", GateMode::Host);
    for (mask, taylor, (before, from, to), slack) in [
        ("1111101111", "", (4, 4, 6), 0.02),
        ("1101111111", "", (1, 1, 3), 0.02),
        ("1111101111", "+taylor", (3, 4, 6), 0.5),
        ("1111100111", "", (4, 4, 7), 0.5),
        ("1111010011", "+taylor", (3, 5, 8), 0.5),
    ] {
        // With extrapolation, the segment before costs something too.
        let cached = run(&model, 10, &format!("mask:{mask}{taylor}"), GateMode::Host);
        let cost: f64 = difference(&cached.clips, &plain.clips).iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut said = recording.error((before < from).then_some(before), from, to);
        if mask == "1111010011" {
            said += recording.error(Some(2), 3, 5);
        }
        let said = said.sqrt();
        println!("mask:{mask}{taylor}: {cost:.4}, {said:.4} expected");
        assert!((cost / said - 1.0).abs() <= slack, "mask:{mask}{taylor}: {cost}, {said} expected");
    }
    let neighbours = recording.error(None, 3, 4);
    assert_eq!(neighbours, 0.0);
    let refused = block_on(recording.add(&clip(&model, 9), &mut |_| Ok(())));
    assert_eq!(refused.unwrap_err().to_string(), "9 steps: wanted 10 as before");
    let multistep = clip(&model, 10).sampler("ab2".parse().unwrap());
    let refused = block_on(recording.add(&multistep, &mut |_| Ok(())));
    assert_eq!(refused.unwrap_err().to_string(), "sampler ab2: wanted first-order");
}
