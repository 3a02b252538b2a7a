//! Where memory runs out, that is an error and not the end of the process.
#![cfg(target_os = "linux")]

use std::process::Command;

use steep::model::Dit;
use steep::video::Video;
use steep::{DType, Device, Error, Result, Tensor, generate};

/// Says which of [`CASES`] a run of this test is, where memory is short.
const CASE: &str = "STEEP_TEST_MEMORY";

/// What is tried with a size of `n` elements.
type Case = fn(usize) -> Result<()>;

/// What there is no memory for, as the error says it; the n of the first size, 3·2^n; and what is tried.
const CASES: [(&str, u32, Case); 9] = [
    ("the values of a tensor bf16", 22, |n| {
        let data = try_zeros(n)?;
        Tensor::from_f32(&Device::cpu(), DType::BF16, [n], &data).map(drop)
    }),
    ("a tensor that is read", 22, |n| {
        let t = Tensor::zeros(&Device::cpu(), DType::F32, [n])?;
        pollster::block_on(t.read_f32()).map(drop)
    }),
    ("the values of a tensor f16", 22, |n| {
        let t = Tensor::zeros(&Device::cpu(), DType::F16, [n])?;
        pollster::block_on(t.read_f32()).map(drop)
    }),
    ("poison", 22, |n| Tensor::guarded(&Device::cpu(), DType::F32, [n]).map(drop)),
    ("a magnified video", 22, |n| video(n, 1)?.upscale(8).map(drop)),
    ("videos side by side", 22, |n| {
        let video = video(n, 1)?;
        Video::side_by_side(&[&video, &video, &video], 1).map(drop)
    }),
    ("a video under a title", 22, |n| video(n, 1)?.titled(&["a"]).map(drop)),
    ("a Y4M file", 22, |n| video(n, 1)?.picture(8)?.y4m(8).map(drop)),
    ("noise", 27, |n| {
        let model = Dit::shipped(&Device::cpu())?;
        let clips = steep::model::Condition::Classes(vec![0; n / (16 * 32 * 32)]);
        pollster::block_on(generate(&model).condition(clips).steps(1).run()).map(drop)
    }),
];

/// What the case itself needs is no part of what is tested.
fn try_zeros(n: usize) -> Result<Vec<f32>> {
    let mut all = vec![];
    let refused = |_| Error::Memory { what: "the test itself".into(), bytes: Some(4 * n as u64) };
    all.try_reserve_exact(n).map_err(refused)?;
    all.resize(n, 0.0);
    Ok(all)
}

fn video(n: usize, channels: usize) -> Result<Video> {
    Video::new(n / (64 * 64), channels, 64, 64, try_zeros(n / (64 * 64) * 64 * 64 * channels)?)
}

/// Kernels count elements in 32 bits, and past the end of a tensor before they see that it is one.
#[test]
fn a_tensor_that_kernels_cannot_count_is_refused() {
    for shape in [vec![(1 << 31) + 1], vec![1 << 16, 1 << 16], vec![usize::MAX, 2]] {
        let shape: steep::Shape = shape.as_slice().try_into().unwrap();
        match Tensor::zeros(&Device::cpu(), DType::BF16, shape) {
            Ok(t) => panic!("{}", t.shape()),
            Err(e) => assert!(e.to_string().contains("at most 2^31 elements"), "{e}"),
        }
    }
}

/// Each case runs in a process that may use 1.5 GB, with larger and larger sizes until there is no memory.
#[test]
fn every_large_buffer_can_be_refused() {
    if let Ok(name) = std::env::var(CASE) {
        let (_, first, case) = CASES.iter().find(|(known, ..)| *known == name).unwrap();
        let said =
            (*first..34).find_map(|power| case(3 << power).err()).expect("no memory in the end").to_string();
        assert!(
            said.starts_with(&format!("out of memory: {name}")) && said.contains("bytes were wanted"),
            "{said}"
        );
        return println!("{said}");
    }
    let test = std::env::current_exe().unwrap();
    for (name, ..) in CASES {
        let out = Command::new("bash")
            .args([
                "-c",
                "ulimit -v 1500000; exec \"$0\" --exact every_large_buffer_can_be_refused --nocapture",
            ])
            .arg(&test)
            .env(CASE, name)
            .env("RAYON_NUM_THREADS", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{name}: {}\n{said}", out.status);
    }
}
