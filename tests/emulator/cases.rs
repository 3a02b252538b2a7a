//! The CUDA kernels, executed: the cases of `steep::cases` through the executor on the emulated driver, with each CUDA
//! source that takes them. What travels from Rust to a kernel is what travels to a GPU: parameters, constants, tensors,
//! the gate.
//!
//! Every case runs twice, with two seeds, which must give the same bits. The driver is one GPU per process, so each op
//! has a process of its own, two at once on two cores.

use std::process::Command;

use pollster::block_on;
use steep::cases::ALL;
use steep::cases::run::{Ready, Trial, sources};
use steep::device::{Code, cuda};
use steep::{Device, ops};

use crate::harness;

/// The largest case that is worth the time; see `Case::work`.
const LARGEST: usize = 2_500_000;
/// Names the op, in the environment of a process of its own.
const OP: &str = "EMULATED_OP";

include!("../common/per_op.rs");

/// Starts [`the_cases_of_an_op`] on the emulated driver.
fn test(op: &str) {
    if !harness::available() {
        return;
    }
    let (folder, environment) = harness::driver();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cases::the_cases_of_an_op", "--nocapture"])
        .envs(environment)
        .env(OP, op)
        .env("STEEP_CACHE", folder.join("cubins"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed") && !said.contains("emulator: "), "{said}");
    println!("{said}");
}

/// For those above: does nothing by itself.
#[test]
fn the_cases_of_an_op() {
    let Ok(name) = std::env::var(OP) else { return };
    let op = ALL.iter().find(|op| op.kernel.name == name).unwrap();
    let device = block_on(Device::open("cuda")).unwrap();
    let mut ran: Vec<_> = sources(&device, op.kernel).into_iter().map(|label| (label, 0)).collect();
    for case in op.tests().filter(|case| case.emulated && case.work() <= LARGEST) {
        let ready = Ready::new(&case);
        // Without guards: the emulator knows where tensors end, and checks every access.
        let mut trial = Trial::new(&ready, &device, false).unwrap();
        for (label, times) in &mut ran {
            let at = format!("{name} ({label}), {} {}", case.dtype, case.name);
            for finding in
                block_on(trial.check(label)).unwrap_or_else(|e| panic!("{at}: {e}")).unwrap_or_default()
            {
                *times += 1;
                assert!(finding.fault.is_none(), "{at}: {}", finding.fault.unwrap());
                if finding.most > 0.0 {
                    println!("{at}: {}: {:.1e} of {:.1e}", finding.what, finding.error, finding.most);
                }
            }
        }
    }
    assert!(!ran.is_empty() && ran.iter().all(|(_, times)| *times > 0), "{name}: {ran:?}");
}

/// Every file of a kernel is an op's, or the executor's.
#[test]
fn every_source_is_executed() {
    let code = |kernel: &'static steep::device::Kernel| {
        assert!(!kernel.cuda.is_empty(), "{} has no CUDA source", kernel.name);
        kernel.cuda.iter().map(|source| match &source.code {
            Code::Cuda(code) => code.text.file,
            _ => panic!("{} {}: no CUDA source", kernel.name, source.label),
        })
    };
    // What the executor itself needs, conditions.rs executes.
    let own = cuda::UNITS.into_iter().map(|unit| unit.file);
    let files: Vec<_> = ops::ALL.iter().flat_map(|kernel| code(kernel)).chain(own).collect();
    for (folder, prefix) in [("kernels", ""), ("kernels/ladder", "ladder/")] {
        for entry in std::fs::read_dir(harness::root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = format!("{prefix}{name}");
            let listed = !name.ends_with(".cu") || files.contains(&file.as_str());
            assert!(listed, "kernels/{file} is neither an op's source nor the executor's");
        }
    }
}
