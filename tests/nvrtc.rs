//! The compile gate: every CUDA source, in every type, to machine code for Ampere and Hopper. No GPU is needed.
#![cfg(feature = "cuda")]

use steep::device::Kernel;
use steep::device::cuda::UNITS;
use steep::device::cuda::modules::variants;
use steep::device::cuda::nvrtc::{Nvrtc, Unit};
use steep::ops::ALL;

const ARCHS: [&str; 2] = ["sm_80", "sm_90a"];

/// A machine without NVRTC skips visibly, unless `STEEP_REQUIRE` names `nvrtc`.
fn nvrtc() -> Option<Nvrtc> {
    let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
    match Nvrtc::open() {
        Ok(nvrtc) => Some(nvrtc),
        Err(e) if required.split(',').any(|r| r.trim() == "nvrtc") => {
            panic!("STEEP_REQUIRE={required}, but {e}")
        }
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

/// A spill or a stack means that a kernel waits for memory where it was made for registers; the compiler warns where it
/// gives up on something that the source asks for.
#[test]
fn every_source_compiles_without_spills_or_warnings() {
    let Some(nvrtc) = nvrtc() else { return };
    let mut bad = vec![];
    let of_op = |kernel: &Kernel| {
        let op = kernel.name;
        variants(kernel).into_iter().map(move |v| (format!("{op} {} {}", v.source.label, v.label), v.unit))
    };
    let own = UNITS.into_iter().map(|unit| (unit.file.to_string(), unit));
    for (name, unit) in ALL.iter().copied().flat_map(of_op).chain(own) {
        for arch in ARCHS {
            let case = format!("{name} {arch}");
            let compiled = nvrtc.compile(&unit, arch).unwrap_or_else(|e| panic!("{case}: {e}"));
            // What the driver loads is an ELF file.
            assert!(compiled.cubin.starts_with(b"\x7fELF"), "{case}: no machine code");
            let usage = compiled.usage().unwrap_or_else(|| panic!("{case}: {}", compiled.log));
            if usage.spills > 0 || usage.stack > 0 || !compiled.warnings().is_empty() {
                bad.push(format!("{case}: {usage:?} {:?}", compiled.warnings()));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// `condition.cu` calls a function that only the driver has: the machine code names it and is complete otherwise, as with
/// `vprintf`. A function that nobody has is an error.
#[test]
fn the_driver_resolves_what_a_condition_calls() {
    let Some(nvrtc) = nvrtc() else { return };
    for arch in ARCHS {
        let cubin = nvrtc.compile(&UNITS[0], arch).unwrap().cubin;
        let name = b"cudaGraphSetConditional\0";
        assert!(cubin.windows(name.len()).any(|at| at == name), "{arch}: no symbol");
        // ELF: executable, not an object that is still to be linked.
        assert_eq!(cubin[16..18], [2, 0], "{arch}");
        let text = UNITS[0].text.replace("cudaGraphSetConditional", "nobodyHasThis").leak();
        let error = nvrtc
            .compile(&Unit { file: "planted.cu", text, defines: vec![] }, arch)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("nobodyHasThis"), "{error}");
    }
}

/// The gate sees what it is there to see.
#[test]
fn spills_and_errors_are_noticed() {
    let Some(nvrtc) = nvrtc() else { return };
    let unit = |text| Unit { file: "planted.cu", text, defines: vec![] };
    // More live values than the registers that the launch bounds leave.
    let spilling = "extern \"C\" __global__ void __launch_bounds__(1024, 2) planted(float *x) {
        float v[256];
        for (int i = 0; i < 256; i++) v[i] = x[i * 1024 + threadIdx.x];
        for (int j = 0; j < 8; j++)
            #pragma unroll
            for (int i = 0; i < 256; i++) v[i] = v[i] * v[(i * 7 + 3) % 256] + x[j];
        #pragma unroll
        for (int i = 0; i < 256; i++) x[i * 1024 + threadIdx.x] = v[i];
    }";
    let usage = nvrtc.compile(&unit(spilling), "sm_80").unwrap().usage().unwrap();
    assert!(usage.spills > 0 && usage.registers <= 32, "{usage:?}");
    let error = nvrtc
        .compile(&unit("extern \"C\" __global__ void planted(float *x) { x[0] = nothing; }"), "sm_80")
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(error.contains("planted.cu for sm_80") && error.contains("nothing"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    let error = nvrtc.compile(&unit(""), "sm_1").err().unwrap().to_string();
    assert!(error.contains("sm_1"), "{error}");
}
