//! The model against PyTorch: inputs, intermediate tensors and outputs written by `reference/model.py`.

use steep::device::Gate;
use steep::model::{Checkpoint, Condition, Dit, Model, RunSize};
use steep::{DType, Device, Tensor};

/// A fixture file, read whole.
struct Fixture(Vec<u8>);

impl Fixture {
    fn open(name: &str) -> Fixture {
        let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Fixture(std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    }

    fn labels(&self) -> Vec<usize> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor("y").unwrap().data().to_vec();
        data.chunks_exact(8).map(|x| i64::from_le_bytes(x.try_into().unwrap()) as usize).collect()
    }
}

fn largest_error(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn parity(name: &str, checkpoint: Checkpoint) {
    pollster::block_on(async {
        let fixture = Fixture::open(&format!("{name}.fixture"));
        let device = Device::open("auto").await.unwrap();
        let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
        let (c, times, classes) = (model.config(), fixture.f32("t"), fixture.labels());
        let labels: Vec<u32> = classes.iter().map(|&class| class as u32).collect();
        let shape = [times.len(), c.frames, c.channels, c.height, c.width];
        let x = Tensor::from_f32(&device, DType::F32, shape, &fixture.f32("x")).unwrap();
        let (condition, _) = model.condition(&times, &labels).unwrap();
        let mut pass = model.begin(&Condition::Classes(classes), &times).unwrap();
        pass.evaluate(Gate::Open, &x, 0).unwrap();
        let (streams, out) = (pass.streams(), pass.prediction(c, times.len()).unwrap());
        for (what, ours, bound) in [
            ("embedded", &streams.stack_in, 2e-5),
            ("condition", &condition, 2e-5),
            ("gate_signal", &streams.signal, 2e-5),
            ("stack_out", &streams.x, 1e-4),
            ("out", &out, 2e-5),
        ] {
            let error = largest_error(&ours.read_f32().await.unwrap(), &fixture.f32(what));
            println!("{name} {what}: {error:.2e}");
            assert!(error <= bound, "{name} {what}: {error} > {bound}");
        }
    });
}

fn fixture_checkpoint(name: &str) -> Checkpoint {
    Checkpoint::open(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn shipped_model_agrees_with_pytorch() {
    parity("moving-mnist-32", Checkpoint::shipped().unwrap());
}

#[test]
fn latte_with_odd_sizes_agrees_with_pytorch() {
    parity("tiny-latte", fixture_checkpoint("tiny-latte"));
}

#[test]
fn dit_with_head_72_and_learned_sigma_agrees_with_pytorch() {
    parity("tiny-dit", fixture_checkpoint("tiny-dit"));
}

/// A run's times are handed over at once. Steps whose modulation does not fit into memory together are computed in parts,
/// and a part does not show in the results.
#[test]
fn steps_of_a_pass_are_the_evaluations_at_their_times() {
    let device = Device::cpu();
    let model = Dit::load(&device, &fixture_checkpoint("tiny-latte"), DType::F32).unwrap();
    let c = model.config();
    // Two steps at a time, whatever the model's size.
    let clips = (64 << 20) / (2 * 4 * c.modulation()) - 1;
    assert_eq!(model.steps_at_once(clips), 2);
    let few = 3;
    assert!(model.steps_at_once(few) > 5);
    let shape = [few, c.frames, c.channels, c.height, c.width];
    let n = shape.iter().product();
    let z = Tensor::from_f32(&device, DType::F32, shape, &steep::noise::normal(1, 0, n)).unwrap();
    let condition = Condition::Classes(vec![0, 1, c.classes]);
    let times: Vec<f32> = (0..5).flat_map(|i| [900.0 - 100.0 * i as f32; 3]).collect();
    let mut pass = model.begin(&condition, &times).unwrap();
    let read = |t: &Tensor| pollster::block_on(t.read_f32()).unwrap();
    // In no order.
    for step in [4, 0, 3, 3, 1] {
        pass.evaluate(Gate::Open, &z, step).unwrap();
        let alone = model.forward(&z, &condition, &times[3 * step..3 * step + 3]).unwrap();
        let ours = read(&pass.prediction(c, few).unwrap());
        let error = largest_error(&ours, &read(&alone));
        assert!(error <= 1e-5, "step {step}: {error}");
    }
    assert_eq!(pass.embed(Gate::Open, &z, 5).unwrap_err().to_string(), "step 5: wanted one of 5 steps");
    let wrong = pass.retime(&times[..7]).unwrap_err().to_string();
    assert_eq!(wrong, "7 times: wanted whole rows of 3, one for each clip");
}

#[test]
fn a_file_that_is_cut_short_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    std::fs::copy(format!("{}/tests/fixtures/tiny-latte.safetensors", env!("CARGO_MANIFEST_DIR")), &path)
        .unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(whole.len() as u64 / 2).unwrap();
    let said = match Dit::load(&Device::cpu(), &checkpoint, DType::F32) {
        Ok(_) => panic!("half a file is no model"),
        Err(e) => e.to_string(),
    };
    assert!(said.starts_with(&path.display().to_string()) && said.contains("has become shorter"), "{said}");
}

/// As in a browser: no file, the same model.
#[test]
fn a_checkpoint_in_memory_is_that_of_the_file() {
    let path = format!("{}/tests/fixtures/tiny-latte.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (opened, bytes) = (Checkpoint::open(&path).unwrap(), std::fs::read(&path).unwrap());
    let held = Checkpoint::from_bytes("a name", bytes).unwrap();
    assert_eq!((held.name().as_str(), held.path()), ("a name", None));
    assert_eq!((opened.name().as_str(), opened.path()), ("tiny-latte", Some(std::path::Path::new(&path))));
    assert_eq!(held.sha256().unwrap(), opened.sha256().unwrap());
    assert_eq!((held.config(), held.tensors()), (opened.config(), opened.tensors()));
    let wrong = Checkpoint::from_bytes("a name", b"PK\x03\x04 and so on".to_vec()).err().unwrap();
    assert!(wrong.to_string().starts_with("a name: is a PyTorch file"), "{wrong}");
}

/// What is planned is what is allocated, to the byte.
#[test]
fn a_footprint_is_what_a_run_takes() {
    for (name, dtype) in [("tiny-latte", DType::F32), ("tiny-latte", DType::BF16), ("tiny-dit", DType::F16)] {
        let checkpoint = fixture_checkpoint(name);
        let model = Dit::load(&Device::cpu(), &checkpoint, dtype).unwrap();
        let c = model.config();
        let planned = |residuals, signals| {
            c.footprint(RunSize { clips: 2, guided: true, steps: 7, dtype, residuals, signals })
        };
        let condition = Condition::Classes(vec![0; 4]);
        let pass = model.begin(&condition, &[500.0; 7 * 4]).unwrap();
        let footprint = planned(2, 0);
        let [weights, activations, modulation, signal, residuals, clips] =
            ["weights", "activations", "modulation", "signal", "residuals", "clips"]
                .map(|part| footprint.on_device(part));
        assert_eq!(activations + modulation + signal, pass.bytes() as u64, "{name} in {dtype}");
        assert_eq!(signal, pass.streams().signal.bytes() as u64);
        assert_eq!(planned(0, 3).on_device("signal"), signal + 3 * pass.streams().x.bytes() as u64);
        assert_eq!(residuals, 2 * pass.streams().x.bytes() as u64);
        assert_eq!(planned(0, 0).on_device("residuals"), 0);
        assert_eq!(clips, 2 * 4 * c.clip() as u64);
        let stored: usize =
            checkpoint.tensors().iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
        match dtype {
            DType::F32 => assert_eq!(weights, 4 * stored as u64),
            // Most of it is matrices.
            _ => assert!((2 * stored as u64..3 * stored as u64).contains(&weights), "{weights} of {stored}"),
        }
    }
}

/// What a policy keeps of all tokens, beside what the model has anyway.
#[test]
fn a_cache_keeps_residuals_and_signals() {
    for (spec, kept) in [
        ("off", (0, 0)),
        ("uniform:2", (1, 0)),
        ("uniform:2+taylor", (2, 0)),
        ("tea:0.1:identity", (1, 0)),
        ("tea:0:identity", (0, 0)),
        ("sea:0.1+taylor", (2, 3)),
        ("fb:0.1", (1, 1)),
        ("easy:0.1+taylor", (0, 0)),
    ] {
        let policy = spec.parse::<steep::cache::Spec>().unwrap().policy(8, &Default::default()).unwrap();
        assert_eq!((policy.residuals(), policy.signals()), kept, "{spec}");
    }
}

#[test]
fn an_absurd_footprint_is_the_largest_number() {
    let largest = Checkpoint::shipped().unwrap().config().clone();
    let largest =
        steep::model::Config { frames: 65536, height: 65536, width: 65536, patch: 1, dim: 65536, ..largest };
    let run = RunSize { clips: 1, guided: true, steps: 1000, dtype: DType::F32, residuals: 2, signals: 3 };
    assert_eq!(largest.footprint(run).on_device("activations"), u64::MAX);
}
