//! GPUs, drivers and compilers that steep may meet first, which the emulated driver poses as: what runs on them, and what
//! is said where nothing does.

use std::path::Path;
use std::process::Command;

use pollster::block_on;
use steep::device::Gate;
use steep::ops::{Epilogue, Over, attention, linear};
use steep::{DType, Device, Tensor};

use crate::executor::{apart, fine, refused, tensor};
use crate::harness;

type Settings<'a> = &'a [(&'a str, &'a str)];

fn forward(out: &Path, device: &str, dtype: &str) -> String {
    let fixtures = "tests/fixtures/tiny-dit";
    format!(
        "forward --model {fixtures}.safetensors {fixtures}.fixture.safetensors --device {device} --dtype {dtype} \
         --out {}",
        out.display()
    )
}

/// A driver loads what a compiler of its own major version makes, or an older one. Where the compiler is newer, the GPU is
/// not opened, the error says what to install, and `auto` goes on to the next device.
#[test]
fn a_compiler_newer_than_the_driver() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let newer: Settings = &[("EMULATOR_NVRTC", "13.2"), ("EMULATOR_DRIVER", "12060")];
    let line = refused(&forward(&out, "cuda", "f32"), newer);
    for part in
        ["no kernel runs here", "image is invalid", "NVRTC 13.2", "CUDA 12.6", "nvidia-cuda-nvrtc-cu12"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!out.exists());
    fine(&forward(&out, "auto", "f32"), newer);
    assert!(out.exists());
    let devices = fine("devices", newer);
    assert!(devices.contains("no kernel runs here") && devices.contains("cpu"), "{devices}");
    // A module that cannot be loaded for another reason is not blamed on the compiler's version.
    let line = refused(&forward(&out, "cuda", "f32"), &[("EMULATOR_LOADS", "none")]);
    assert!(line.contains("no kernel runs here") && !line.contains("install"), "{line}");
    for settings in [
        [("EMULATOR_NVRTC", "13.2"), ("EMULATOR_DRIVER", "13000")],
        [("EMULATOR_NVRTC", "12.4"), ("EMULATOR_DRIVER", "13000")],
    ] {
        fine(&forward(&out, "cuda", "f32"), &settings);
    }
}

/// A GPU that is newer than the compiler runs what its driver makes of PTX; one that is older than all the compiler knows
/// is refused.
#[test]
fn a_gpu_newer_than_the_compiler() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let blackwell: Settings = &[("EMULATOR_CAPABILITY", "120"), ("EMULATOR_ARCHS", "75 80 90")];
    fine(&forward(&out("ptx"), "cuda", "f32"), blackwell);
    fine(&forward(&out("machine-code"), "cuda", "f32"), &[]);
    assert!(tensor(&out("ptx"), "out") == tensor(&out("machine-code"), "out"));
    let devices = fine("devices", blackwell);
    assert!(devices.contains("compute_90"), "{devices}");
    let line = refused(
        &forward(&out("no"), "cuda", "f32"),
        &[("EMULATOR_CAPABILITY", "75"), ("EMULATOR_ARCHS", "80 90")],
    );
    assert!(line.contains("8.0 and later") && line.contains("7.5"), "{line}");
}

/// Turing has neither `cp.async` nor tensor cores for these kernels; every type runs all the same.
#[test]
fn turing_runs_every_type() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (dtype, bound) in [("f32", 1e-5), ("f16", 4e-3), ("bf16", 3e-2)] {
        let out = |device: &str| {
            let path = folder.path().join(format!("{dtype}-{device}"));
            let turing = [("EMULATOR_CAPABILITY", "75"), ("EMULATOR_SHARED", "65536")];
            fine(&forward(&path, device, dtype), &turing);
            tensor(&path, "out")
        };
        let error = apart(&out("cuda"), &out("cpu"));
        assert!(error <= bound, "{dtype}: {error:.2e}, bound {bound:.1e}");
    }
}

/// What STEEP_REQUIRE says where the emulator is CUDA.
const ON: &str = "emulated-cuda";

/// For the one below, which starts it on the emulated driver: attention as on the CPU, and the source that ran.
#[test]
fn attention_here() {
    if std::env::var("STEEP_REQUIRE").as_deref() != Ok(ON) {
        return;
    }
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let dtype: DType = std::env::var("DTYPE").unwrap().parse().unwrap();
    let [batch, frames, tokens, heads, head] = [1, number("FRAMES"), 5, 2, number("HEAD")];
    let numbers: Vec<f32> =
        (0..frames * tokens * 3 * heads * head).map(|i| (i as f32 * 0.37).sin()).collect();
    let run = |device: &Device| {
        let qkv =
            Tensor::from_f32(device, dtype, [batch, frames, tokens, 3 * heads * head], &numbers).unwrap();
        let mut out = Tensor::zeros(device, dtype, [batch, frames, tokens, heads * head]).unwrap();
        attention(Gate::Open, &mut out, &qkv, heads, Over::Frames).unwrap();
        (block_on(out.read_f32()).unwrap(), device.ran().unwrap())
    };
    let [(wanted, _), (found, ran)] = ["cpu", "cuda"].map(|name| run(&block_on(Device::open(name)).unwrap()));
    assert!(apart(&found, &wanted) < if dtype == DType::F32 { 1e-5 } else { 2e-3 });
    println!("ran {ran}.");
}

/// The same for `linear`, of which all tiles make the same bits.
#[test]
fn linear_here() {
    if std::env::var("STEEP_REQUIRE").as_deref() != Ok(ON) {
        return;
    }
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let [rows, columns, depth] = [number("ROWS"), number("COLUMNS"), 40];
    let run = |device: &Device| {
        let numbers = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
        let tensor = |dtype, shape: [usize; 2]| {
            Tensor::from_f32(device, dtype, shape, &numbers(shape[0] * shape[1])).unwrap()
        };
        let (x, w) = (tensor(DType::F16, [rows, depth]), tensor(DType::F16, [columns, depth]));
        let bias = Tensor::from_f32(device, DType::F32, [columns], &numbers(columns)).unwrap();
        let mut out = Tensor::zeros(device, DType::F32, [rows, columns]).unwrap();
        let mut made = |label| {
            device.prefer(label);
            linear(Gate::Open, &mut out, &x, &w, &bias, Epilogue::Bias).unwrap();
            (block_on(out.read_f32()).unwrap(), device.ran().unwrap())
        };
        let (chosen, ran) = made(None);
        for label in ["mma", "mma_half", "mma_small", "mma_tiny"].into_iter().filter(|_| device.is_emulated())
        {
            assert!(made(Some(label)) == (chosen.clone(), label));
        }
        (chosen, ran)
    };
    let [(wanted, _), (found, ran)] = ["cpu", "cuda"].map(|name| run(&block_on(Device::open(name)).unwrap()));
    assert!(apart(&found, &wanted) < 1e-5);
    println!("ran {ran}.");
}

/// A test of this file on the emulated driver as `settings` say, and the source that it tells.
fn ran(test: &str, settings: Settings) -> String {
    let (_, environment) = harness::driver();
    let folder = tempfile::tempdir().unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .envs(environment)
        .env("STEEP_REQUIRE", ON)
        .env("STEEP_CACHE", folder.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed") && !said.contains("emulator: "), "{said}");
    said.split_once("ran ").unwrap().1.split_once('.').unwrap().0.to_string()
}

/// A product is divided into tiles with which the busiest multiprocessor is done first: small ones where there are many
/// multiprocessors, large ones where there are few.
#[test]
fn multiprocessors_choose_the_tile() {
    if !harness::available() {
        return;
    }
    let ran = |rows, columns, multiprocessors| {
        let of = [("ROWS", rows), ("COLUMNS", columns), ("EMULATOR_MULTIPROCESSORS", multiprocessors)];
        ran("gpus::linear_here", &of)
    };
    assert_eq!(ran("65", "64", "132"), "mma_tiny");
    assert_eq!(ran("65", "64", "1"), "mma_small");
    assert_eq!(ran("128", "128", "2"), "mma_half");
    assert_eq!(ran("128", "128", "1"), "mma");
}

/// A block of sm_86 has less shared memory than heads of 192 want, and a grid ends at 65,535 along y and z: another source
/// runs, or blocks count along x.
#[test]
fn limits_of_a_gpu_choose_the_source() {
    if !harness::available() {
        return;
    }
    let ran = |settings: Settings| ran("gpus::attention_here", settings);
    let of = |dtype, head| [("DTYPE", dtype), ("FRAMES", "33"), ("HEAD", head)];
    let ada = [("EMULATOR_CAPABILITY", "89"), ("EMULATOR_SHARED", "101376")];
    let on_ada = |dtype, head| ran(&[&ada[..], &of(dtype, head)].concat());
    assert_eq!(ran(&of("f16", "192")), "mma");
    assert_eq!(on_ada("f16", "176"), "mma");
    assert_eq!(on_ada("f16", "192"), "mma_short");
    assert_eq!(ran(&of("f32", "240")), "tile");
    assert_eq!(on_ada("f32", "240"), "online");
    // Five sequences of two heads, where no more than four blocks go along y and z.
    let narrow = [("EMULATOR_GRID", "4"), ("DTYPE", "f32"), ("FRAMES", "3"), ("HEAD", "8")];
    assert_eq!(ran(&narrow), "tile");
    assert_eq!(ran(&[&narrow[..], &[("EMULATOR_SHARED", "0")]].concat()), "online");
}

/// Whoever has nowhere to keep what is compiled, compiles it each time.
#[test]
fn without_a_place_to_keep_code() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("file"));
    std::fs::write(&file, "no folder").unwrap();
    for nowhere in ["", "/proc/nowhere", file.to_str().unwrap()] {
        let _ = std::fs::remove_file(&out);
        fine(&forward(&out, "cuda", "f32"), &[("STEEP_CACHE", nowhere)]);
        assert!(out.exists());
    }
}
