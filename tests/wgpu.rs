//! The WGSL executor's own promises: order, memory, limits, and failures that reach the caller as errors.

mod common;

use pollster::block_on;
use steep::device::Gate;
use steep::model::{Checkpoint, Condition, Dit};
use steep::ops::{Over, attention, axpby, group_norm};
use steep::sample::{GateMode, Progress};
use steep::{DType, Device, Shape, Tensor, generate};

/// Every adapter under test, if there is one.
fn adapters() -> Vec<Device> {
    common::devices().into_iter().filter(|d| matches!(d, Device::Wgpu(_))).collect()
}

fn tensor(device: &Device, x: &[f32]) -> Tensor {
    Tensor::from_f32(device, DType::F32, [x.len()], x).unwrap()
}

fn read(t: &Tensor) -> Vec<f32> {
    block_on(t.read_f32()).unwrap()
}

#[test]
fn uploads_and_calls_happen_in_the_order_they_were_made() {
    for device in adapters() {
        let mut x = tensor(&device, &[1.0; 8]);
        let one = tensor(&device, &[1.0; 8]);
        let [mut first, mut second] = [0, 1].map(|_| Tensor::zeros(&device, DType::F32, [8]).unwrap());
        axpby(Gate::Open, &mut first, (1.0, Some(&x)), (1.0, &one)).unwrap();
        x.write_f32(&[5.0; 8]).unwrap();
        axpby(Gate::Open, &mut second, (1.0, Some(&x)), (1.0, &one)).unwrap();
        assert_eq!((read(&first), read(&second)), (vec![2.0; 8], vec![6.0; 8]));
    }
}

/// Parameters of more calls than one submission takes, each with parameters of its own.
#[test]
fn a_thousand_calls_without_a_read() {
    for device in adapters() {
        let one = tensor(&device, &[1.0; 300]);
        let [mut a, mut b] = [0, 1].map(|_| Tensor::zeros(&device, DType::F32, [300]).unwrap());
        for _ in 0..500 {
            axpby(Gate::Open, &mut b, (1.0, Some(&a)), (1.0, &one)).unwrap();
            axpby(Gate::Open, &mut a, (1.0, Some(&b)), (1.0, &one)).unwrap();
        }
        assert_eq!(read(&a), [1000.0; 300]);
    }
}

/// A flag gates more grids than the executor keeps at a time, and changes by a call's hand and by the host's.
#[test]
fn gates_follow_their_flags() {
    for device in adapters() {
        let mut flag = Tensor::from_u32(&device, [1], &[1]).unwrap();
        let start = block_on(device.counters()).unwrap();
        let (mut ran, mut turned_away) = (0, 0);
        // Workgroups take 256 elements or more: every size has a grid of its own.
        for i in 0..300usize {
            let open = i % 3 != 0;
            flag.write(&u32::from(open).to_le_bytes()).unwrap();
            let n = 1024 * (i + 1);
            let x = tensor(&device, &vec![1.0; n]);
            let mut out = Tensor::zeros(&device, DType::F32, [n]).unwrap();
            axpby(Gate::If(&flag), &mut out, (1.0, Some(&x)), (1.0, &x)).unwrap();
            let mut other = Tensor::zeros(&device, DType::F32, [4]).unwrap();
            let four = tensor(&device, &[1.0; 4]);
            axpby(Gate::Unless(&flag), &mut other, (1.0, Some(&four)), (1.0, &four)).unwrap();
            if i % 10 == 0 {
                let wanted = if open { [2.0, 0.0] } else { [0.0, 2.0] };
                assert_eq!([read(&out)[n - 1], read(&other)[3]], wanted, "{i}");
            }
            ran += 1;
            turned_away += 1;
        }
        let counted = block_on(device.counters()).unwrap().since(&start);
        assert_eq!((counted.launched, counted.gated_off), (ran, turned_away));
    }
}

/// Dropped buffers are used again, and are zero then, also where a flag was.
#[test]
fn memory_comes_back_as_zeros() {
    for device in adapters() {
        for _ in 0..3 {
            let x = tensor(&device, &[7.0; 100]);
            let mut sum = Tensor::zeros(&device, DType::F32, [100]).unwrap();
            assert_eq!(read(&sum), [0.0; 100]);
            axpby(Gate::Open, &mut sum, (1.0, Some(&x)), (1.0, &x)).unwrap();
            assert_eq!(read(&sum), [14.0; 100]);
            let flag = Tensor::from_u32(&device, [1], &[1]).unwrap();
            axpby(Gate::If(&flag), &mut sum, (1.0, Some(&x)), (1.0, &x)).unwrap();
            drop(flag);
            let flag = Tensor::zeros(&device, DType::U32, [1]).unwrap();
            let mut untouched = Tensor::zeros(&device, DType::F32, [100]).unwrap();
            axpby(Gate::If(&flag), &mut untouched, (1.0, Some(&x)), (1.0, &x)).unwrap();
            assert_eq!(read(&untouched), [0.0; 100]);
        }
    }
}

#[test]
fn what_an_adapter_cannot_take_is_an_error_that_says_so() {
    for device in adapters().into_iter().filter(|d| d.name().ends_with("core")) {
        // 128 MiB is what every browser binds; one row more is too much.
        let why = Tensor::zeros(&device, DType::F32, [(128 << 20) / 4 + 4]).unwrap_err().to_string();
        let wanted = "a tensor of 134217744 bytes: this adapter takes at most 134217728; 16-bit operands, fewer or \
                      smaller clips, or the CPU would do";
        assert_eq!(why, format!("device {}: {wanted}", device.name()));
        // A model says which tensor it was: 2 · 128 · 256 tokens of 3 · 192 numbers.
        let model = Dit::shipped(&device).unwrap();
        let clips = generate(&model).condition(Condition::Classes(vec![0; 128])).steps(1);
        let why = block_on(clips.run()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            why,
            format!(
                "device {}: queries, keys and values: {}",
                device.name(),
                wanted.replace("134217744", "150994944")
            )
        );
        // And it goes on working.
        assert_eq!(read(&Tensor::zeros(&device, DType::F32, [4]).unwrap()), [0.0; 4]);
    }
}

#[test]
fn too_many_workgroups_are_an_error_that_says_so() {
    for device in adapters().into_iter().filter(|d| d.name().ends_with("core")) {
        let sequences = 65536;
        let qkv = Tensor::zeros(&device, DType::F32, [1, sequences, 1, 24]).unwrap();
        let mut out = Tensor::zeros(&device, DType::F32, [1, sequences, 1, 8]).unwrap();
        let why = attention(Gate::Open, &mut out, &qkv, 1, Over::Tokens).unwrap_err().to_string();
        let wanted = "attention: 65536 workgroups in a row, this adapter takes at most 65535";
        assert_eq!(why, format!("device {}: {wanted}", device.name()));
    }
}

/// Mesa's llvmpipe ends loops after 65535 turns and says nothing: what would take more is for another source, or an error.
#[test]
fn loops_that_would_be_ended_are_an_error_that_says_so() {
    for device in adapters().into_iter().filter(|d| d.describe().contains("llvmpipe")) {
        let tensor =
            |shape: &[usize]| Tensor::zeros(&device, DType::F32, Shape::try_from(shape).unwrap()).unwrap();
        // The naive one makes six turns for each of 262,144 vectors of channels.
        device.prefer(Some("naive"));
        let (x, weight, bias) = (tensor(&[1, 512, 512, 4]), tensor(&[4]), tensor(&[4]));
        group_norm(Gate::Open, &mut tensor(&[1, 512, 512, 4]), &x, (&weight, &bias), 1, 1e-6, true).unwrap();
        assert_ne!(device.ran(), Some("naive"));
        // No source of attention goes so far.
        let (mut out, qkv) = (tensor(&[1, 1, 8192, 512]), tensor(&[1, 1, 8192, 3 * 512]));
        let why = attention(Gate::Open, &mut out, &qkv, 1, Over::Tokens).unwrap_err().to_string();
        assert!(why.contains("attention: loops of ") && why.contains("ends them after 65535"), "{why}");
    }
}

/// An adapter that goes away in the middle of a run ends it with an error: no clip, old or new.
#[test]
fn a_lost_device_is_an_error() {
    let fixture = format!("{}/tests/fixtures/tiny-latte.safetensors", env!("CARGO_MANIFEST_DIR"));
    let checkpoint = Checkpoint::open(fixture).unwrap();
    for mode in [GateMode::Host, GateMode::Device] {
        // A device for each: it does not come back.
        for device in adapters() {
            let Device::Wgpu(adapter) = &device else { unreachable!("filtered") };
            let model = Dit::load(&device, &checkpoint, DType::F32).unwrap();
            let clip = generate(&model).class(2).steps(8).cache("tea:0.5".parse().unwrap()).gate(mode);
            let mut lose = |p: Progress| {
                if p.done == 3 {
                    adapter.lose();
                }
                Ok(())
            };
            let run = block_on(clip.watch(&mut lose));
            let why = run.expect_err("an error").to_string();
            assert!(why.starts_with(&format!("device {}: ", device.name())), "{why}");
            assert!(why.contains("lost"), "{why}");
            assert!(!why.contains('\n'), "{why}");
            let t = Tensor::zeros(&device, DType::F32, [4]);
            assert!(t.and_then(|t| block_on(t.read_f32())).is_err(), "stale data");
        }
    }
}

#[test]
fn names_lead_to_adapters() {
    let fails = |name: &str| block_on(Device::open(name)).err().expect(name).to_string();
    for name in ["wgpu:", "wgpu:x", "wgpu:1:cor", "wgpu:0:core:0", "wgpu:-1", "wgpu:0core", "wgpu:core:0"] {
        assert_eq!(fails(name), format!("device `{name}`: wanted wgpu, wgpu:N, wgpu:core or wgpu:N:core"));
    }
    assert!(fails("wgpux").contains(&format!("wanted {}", Device::NAMES)));
    for device in adapters() {
        assert_eq!(block_on(Device::open(&device.name())).unwrap().name(), device.name());
        assert!(fails("wgpu:99").starts_with("device wgpu:99: no such adapter: wanted 0 to "));
        assert!(device.describe().starts_with(&device.name()));
    }
}

/// No source takes long to compile, whatever the heads: nobody is told what the driver does then, and nothing stops it.
///
/// llvmpipe takes 3.5 s for heads of 160 with the `cpu` source, 8 s for 256, and at most 1 s with `tile`.
#[test]
fn long_heads_are_for_sources_that_compile_soon() {
    for device in adapters().into_iter().filter(|device| !device.is_gpu()) {
        let mut last = None;
        for head in [160, 192] {
            let qkv = Tensor::zeros(&device, DType::F32, [1, 1, 64, 3 * head]).unwrap();
            let mut out = Tensor::zeros(&device, DType::F32, [1, 1, 64, head]).unwrap();
            attention(Gate::Open, &mut out, &qkv, 1, Over::Tokens).unwrap();
            assert_eq!(read(&out), vec![0.0; 64 * head]);
            last = device.ran();
        }
        assert_eq!(last, Some("tile"), "{}", device.name());
    }
}
