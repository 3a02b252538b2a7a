//! The compile gate: every CUDA source, in every type, to machine code for Turing to Blackwell. No GPU is needed.
#![cfg(feature = "cuda")]

use std::sync::atomic::{AtomicUsize, Ordering};

use steep::device::cuda::UNITS;
use steep::device::cuda::modules::{Variant, variants};
use steep::device::cuda::nvrtc::{Nvrtc, Unit, Usage, capability};
use steep::device::{Kernel, Need};
use steep::ops::ALL;

/// Turing, Ampere (of the data centre, of desks), Ada, Hopper, Blackwell (of both).
const ARCHS: [&str; 7] = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"];

/// Those that are compiled for in every type, by the compiler that is found.
const EVERY_TYPE: [&str; 3] = ["sm_75", "sm_80", "sm_90a"];

/// Those that the other compiler is asked for, too.
const BY_BOTH: [&str; 3] = ["sm_75", "sm_90a", "sm_120a"];

/// The compiler that is found, and the one that `STEEP_NVRTC_OLDER` names, of another major version. A machine without one
/// skips visibly, unless `STEEP_REQUIRE` names `nvrtc`.
fn nvrtcs() -> Vec<Nvrtc> {
    let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
    // SAFETY: NVIDIA's library, by the promise of who named it.
    let older =
        std::env::var_os("STEEP_NVRTC_OLDER").map(|path| unsafe { Nvrtc::at(path.as_ref()) }.unwrap());
    match Nvrtc::open() {
        Ok(nvrtc) => [Some(nvrtc), older].into_iter().flatten().collect(),
        Err(e) if required.split(',').any(|r| r.trim() == "nvrtc") => {
            panic!("STEEP_REQUIRE={required}, but {e}")
        }
        Err(e) => {
            eprintln!("skipped: {e}");
            vec![]
        }
    }
}

/// Each architecture of those above that the compiler knows.
fn archs(nvrtc: &Nvrtc) -> Vec<&'static str> {
    let known = nvrtc.architectures().unwrap();
    let number = |arch: &str| capability(arch).map(|(major, minor)| 10 * major + minor).unwrap();
    ARCHS.into_iter().filter(|arch| known.contains(&number(arch))).collect()
}

/// A spill or a stack means that a kernel waits for memory where it was made for registers; the compiler warns where it
/// gives up on something that the source asks for.
#[test]
fn every_source_compiles_without_spills_or_warnings() {
    let nvrtcs = nvrtcs();
    let of_op = |kernel: &Kernel| {
        let op = kernel.name;
        let named = |v: Variant| (format!("{op} {} {}", v.source.label, v.label), v.source.needs, v.unit);
        variants(kernel).into_iter().map(named).collect::<Vec<_>>()
    };
    let own = UNITS.into_iter().map(|unit| (unit.file.to_string(), Need::Nothing, unit));
    let units: Vec<_> = ALL.iter().copied().flat_map(of_op).chain(own).collect();
    let mut all = vec![];
    for (of, nvrtc) in nvrtcs.iter().enumerate() {
        let mut archs = archs(nvrtc);
        assert!(archs.len() >= 5, "{archs:?}");
        archs.retain(|arch| of == 0 || BY_BOTH.contains(arch));
        println!("NVRTC {:?}: {archs:?}", nvrtc.version);
        for arch in archs {
            // Minutes are saved: what differs between the other GPUs, and compilers, shows in one type.
            let every_type = of == 0 && EVERY_TYPE.contains(&arch);
            let wanted = |name: &str, need: Need| {
                need.met_by(capability(arch).unwrap())
                    && (every_type || !name.contains("f32") && !name.contains(" f16"))
            };
            let of_arch = units.iter().filter(|(name, need, _)| wanted(name, *need));
            all.extend(of_arch.map(|unit| (nvrtc, arch, unit)));
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut bad = vec![];
        while let Some((nvrtc, arch, (name, _, unit))) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let case = format!("{name} {arch} {:?}", nvrtc.version);
            match nvrtc.compile(unit, arch) {
                Err(e) => bad.push(format!("{case}: {e}")),
                // What the driver loads is an ELF file.
                Ok(c) if !c.code.starts_with(b"\x7fELF") => bad.push(format!("{case}: no machine code")),
                Ok(compiled) => match compiled.usage() {
                    Some(Usage { spills: 0, stack: 0, .. }) if compiled.warnings().is_empty() => {}
                    usage => bad.push(format!("{case}: {usage:?} {:?}", compiled.warnings())),
                },
            }
        }
        bad
    };
    let bad: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(1, |n| n.get()))
            .map(|_| scope.spawn(work))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// A GPU gets machine code where the compiler knows it, else PTX for the newest one before it, which the driver compiles.
#[test]
fn a_gpu_that_the_compiler_does_not_know_gets_ptx() {
    for nvrtc in nvrtcs() {
        let newest = nvrtc.architectures().unwrap().into_iter().max().unwrap();
        let known = nvrtc.target((newest / 10, newest % 10)).unwrap();
        assert_eq!(known.trim_end_matches('a'), format!("sm_{newest}"));
        let target = nvrtc.target((newest / 10 + 1, 0)).unwrap();
        assert_eq!(target, format!("compute_{newest}"));
        let ptx = nvrtc.compile(&UNITS[1], &target).unwrap().code;
        let text = String::from_utf8(ptx).unwrap();
        assert!(text.contains(&format!(".target sm_{newest}")) && text.contains(".entry counted"), "{text}");
        let error = nvrtc.target((1, 0)).unwrap_err().to_string();
        assert!(error.contains("this GPU has 1.0"), "{error}");
    }
}

/// `condition.cu` calls a function that only the driver has: the machine code names it and is complete otherwise, as with
/// `vprintf`. A function that nobody has is an error.
#[test]
fn the_driver_resolves_what_a_condition_calls() {
    for (nvrtc, arch) in
        nvrtcs().iter().flat_map(|nvrtc| archs(nvrtc).into_iter().map(move |arch| (nvrtc, arch)))
    {
        let cubin = nvrtc.compile(&UNITS[0], arch).unwrap().code;
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
    let Some(nvrtc) = nvrtcs().into_iter().next() else { return };
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
