//! The model against PyTorch: inputs, intermediate tensors and outputs written by `reference/model.py`.

use steep::model::{Acts, Checkpoint, Dit};
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

async fn forward(checkpoint: &Checkpoint, fixture: &Fixture, dtype: DType) -> (Acts, Tensor) {
    let device = Device::open("auto").await.unwrap();
    let model = Dit::load(&device, checkpoint, dtype).unwrap();
    let c = model.config();
    let t = fixture.f32("t");
    let b = t.len();
    let clip = |channels| [b, c.frames, channels, c.height, c.width];
    let x = Tensor::from_f32(&device, DType::F32, clip(c.channels), &fixture.f32("x")).unwrap();
    let times = Tensor::from_f32(&device, DType::F32, [1, b], &t).unwrap();
    let labels = model.labels(&fixture.labels()).unwrap();
    let mut out = Tensor::zeros(&device, DType::F32, clip(c.out_channels())).unwrap();
    let mut acts = model.acts(b).unwrap();
    model.forward(&mut acts, &mut out, &x, (&times, 0), &labels).unwrap();
    (acts, out)
}

fn parity(name: &str, checkpoint: Checkpoint) {
    pollster::block_on(async {
        let fixture = Fixture::open(&format!("{name}.fixture"));
        let (acts, out) = forward(&checkpoint, &fixture, DType::F32).await;
        for (what, ours, bound) in [
            ("embedded", &acts.stack_in, 2e-5),
            ("condition", &acts.condition, 2e-5),
            ("gate_signal", &acts.signal, 2e-5),
            ("stack_out", &acts.x, 1e-4),
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
