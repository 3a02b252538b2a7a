//! The shipped model on every executor: the same decisions and the same clip as on the CPU.

mod common;

use common::devices;
use pollster::block_on;
use steep::cache::{Decision, letters};
use steep::model::Dit;
use steep::sample::{GateMode, Run};
use steep::{DType, Device, generate};

struct Case {
    class: usize,
    seed: u64,
    threshold: f64,
    guidance: f32,
}

const STEPS: usize = 20;

fn run(model: &Dit, case: &Case, mode: GateMode) -> Run {
    let clip = generate(model).class(case.class).seed(case.seed).steps(STEPS).guidance(case.guidance);
    let cache = format!("tea:{}", case.threshold).parse().unwrap();
    block_on(clip.cache(cache).gate(mode).run()).unwrap()
}

fn trace(run: &Run) -> String {
    letters(&run.trace())
}

fn load(device: &Device) -> Dit {
    Dit::shipped(device).unwrap()
}

/// How near the accumulated value came to the threshold at a step that was decided by it.
fn margin(run: &Run, step: usize, threshold: f64) -> f64 {
    (run.steps[step].step.accumulated - threshold).abs()
}

/// In decibels, of clips in [-1, 1].
fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (4.0 * a.len() as f64 / squares).log10()
}

/// A decision whose sum is this near to the threshold may fall either way: the executors add in different orders.
const NEAR: f64 = 1e-3;

/// Twenty-four clips. A decision may differ only where the sum is within 1e-3 of the threshold, and the test says where;
/// from there on two runs are two runs, and are compared no further.
#[test]
fn every_executor_decides_as_the_cpu_does() {
    let thresholds = [0.05, 0.1, 0.15, 0.2, 0.3, 0.45];
    let cases = (0..24usize).map(|i| Case {
        class: (i * 7) % 10,
        seed: i as u64,
        threshold: thresholds[i % 6],
        // Guidance doubles the batch and the work.
        guidance: if i % 4 == 0 { 3.0 } else { 1.0 },
    });
    let cases: Vec<_> = cases.collect();
    let cpu = load(&Device::cpu());
    let expected: Vec<_> = cases.iter().map(|case| run(&cpu, case, GateMode::Device)).collect();
    let skips: usize = expected.iter().map(|r| trace(r).matches('S').count()).sum();
    assert!(skips > 24 * STEPS / 4 && skips < 24 * STEPS * 3 / 4, "{skips} skipped steps decide nothing");
    for device in devices().into_iter().filter(|d| d.name() != "cpu") {
        let model = load(&device);
        // Without its best kernels a software adapter takes minutes for what takes seconds with them.
        let some = if device.name().ends_with("core") { 1 } else { cases.len() };
        for (case, cpu) in cases.iter().zip(&expected).take(some) {
            let ours = run(&model, case, GateMode::Device);
            let (a, b) = (trace(cpu), trace(&ours));
            let what = format!(
                "class {} seed {} tea:{} on {}",
                case.class,
                case.seed,
                case.threshold,
                device.name()
            );
            let decided = (0..STEPS).filter(|&i| cpu.steps[i].step.decision != Decision::Forced);
            let nearest =
                decided.clone().map(|i| margin(cpu, i, case.threshold)).fold(f64::INFINITY, f64::min);
            match decided.clone().find(|&i| a.as_bytes()[i] != b.as_bytes()[i]) {
                Some(i) => {
                    let margin = margin(cpu, i, case.threshold);
                    println!("{what}: {a} and {b} part at step {i}, {margin:.1e} from the threshold");
                    assert!(margin < NEAR, "{what}: step {i} differs, {margin:.1e} from the threshold");
                }
                None => {
                    let psnr = psnr(&cpu.clips, &ours.clips);
                    println!("{what}: {a}, nearest {nearest:.1e}, {psnr:.0} dB");
                    assert!(psnr >= 60.0, "{what}: {psnr:.1} dB from the CPU's clip");
                }
            }
        }
    }
}

/// Both gates, and a second run, give the same bits.
#[test]
fn every_executor_repeats_itself() {
    let case = Case { class: 6, seed: 0, threshold: 0.1, guidance: 3.0 };
    for device in devices().into_iter().filter(|d| d.name() != "cpu" && !d.name().ends_with("core")) {
        let model = load(&device);
        let bits = |mode| run(&model, &case, mode).clips.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let first = bits(GateMode::Device);
        assert!(first == bits(GateMode::Device), "{} does not repeat itself", device.name());
        assert!(first == bits(GateMode::Host), "{}: the gate's place changes the clip", device.name());
    }
}

/// Types of 16 bits change a clip less than any cache does; `docs/kernels.md` says these numbers.
#[test]
fn clips_in_16_bits_are_near_those_in_f32() {
    let checkpoint = steep::model::Checkpoint::shipped().unwrap();
    let clip = |dtype, class: usize| {
        let model = Dit::load(&Device::cpu(), &checkpoint, dtype).unwrap();
        block_on(generate(&model).class(class).seed(class as u64).steps(50).run()).unwrap().clips
    };
    const CLASS: usize = 3;
    let exact = clip(DType::F32, CLASS);
    for (dtype, least) in [(DType::F16, 65.0), (DType::BF16, 40.0)] {
        let db = psnr(&clip(dtype, CLASS), &exact);
        println!("{dtype}: {db:.1} dB");
        assert!(db > least, "{dtype}: {db:.1} dB");
    }
}
