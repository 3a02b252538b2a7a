//! Every op on every device, with every source it has there: the cases of `steep::cases`, run and compared.
//!
//! Outputs start as NaN with a guard behind them, so an element that is not written or one too many that is shows.
//! `cargo test --test ops modulate` tests one op; with `-- --nocapture` every measured error is printed.

#[path = "../common/mod.rs"]
mod common;
mod golden;
mod sequences;

use std::mem::ManuallyDrop;

use golden::teacache;
use pollster::block_on;
use steep::cases::run::{Ready, Trial, mutants, sources};
use steep::cases::{ALL, Case, Finding, Op};
use steep::{Device, cases};

thread_local! {
    // Never dropped: when a thread's variables go, those that wgpu needs to drop a device may be gone already.
    static DEVICES: ManuallyDrop<Vec<Device>> = ManuallyDrop::new(common::devices());
}

fn devices() -> Vec<Device> {
    DEVICES.with(|devices| devices.to_vec())
}

include!("../common/per_op.rs");

fn test(name: &str) {
    let op = ALL.iter().find(|op| op.kernel.name == name).expect("a listed op");
    // What ran, of what there is.
    let mut ran: Vec<(Device, &str, usize)> = vec![];
    for device in devices() {
        ran.extend(sources(&device, op.kernel).into_iter().map(|label| (device.clone(), label, 0)));
    }
    assert!(!ran.is_empty(), "nothing runs {name}");
    for case in op.tests() {
        let ready = Ready::new(&case);
        for device in devices() {
            let mut trial = Trial::new(&ready, &device, true).unwrap();
            for (_, label, times) in ran.iter_mut().filter(|(on, ..)| on.name() == device.name()) {
                let found = block_on(trial.check(label));
                if let Some(found) = found.unwrap_or_else(|e| panic!("{} {label}: {e}", on(&case, &device))) {
                    *times += 1;
                    pass(&format!("{} ({label})", on(&case, &device)), &found);
                }
            }
        }
        threads(&ready);
    }
    for (device, label, times) in ran {
        println!("{name} on {} ({label}): {times} cases", device.name());
        assert!(times > 0, "no case of {name} runs with {label} on {}", device.name());
    }
    refusals(op);
}

/// What failing messages name.
fn on(case: &Case, device: &Device) -> String {
    format!("{} on {}, {} {}", case.kernel.name, device.name(), case.dtype, case.name)
}

fn pass(name: &str, found: &[Finding]) {
    for Finding { what, error, most, fault, .. } in found {
        if *most > 0.0 {
            println!("{name}: {what}: {error:.1e} of {most:.1e}");
        }
        assert!(fault.is_none(), "{name}: {}", fault.as_ref().unwrap());
    }
}

/// The bits that the CPU makes do not depend on the number of threads.
fn threads(ready: &Ready<'_>) {
    // Larger ones take long, and show nothing that these do not.
    if ready.case.work() > 1 << 24 {
        return;
    }
    for label in sources(&Device::cpu(), ready.case.kernel) {
        let [one, three] = [1, 3].map(|n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| block_on(Trial::new(ready, &Device::cpu(), false).unwrap().bits(label)).unwrap())
        });
        assert!(
            one == three,
            "{} ({label}) depends on the number of threads",
            on(ready.case, &Device::cpu())
        );
    }
}

/// Wrong calls, in the exact words.
fn refusals(op: &Op) {
    for device in devices() {
        for wrong in (op.wrong)() {
            let fault = block_on(wrong.check(&device)).unwrap();
            assert!(fault.is_none(), "{} on {}: {}", op.kernel.name, device.name(), fault.unwrap());
        }
        let case = op.tests().find(|case| case.gated).expect("a case under gates");
        let ready = Ready::new(&case);
        let faults = block_on(Trial::new(&ready, &device, true).unwrap().refuse_gates()).unwrap();
        assert!(faults.is_empty(), "{} on {}: {faults:?}", op.kernel.name, device.name());
    }
}

/// A kernel that writes zeros or nothing, or copies an operand, fails every case.
#[test]
fn every_case_can_fail() {
    for op in cases::ALL {
        for case in op.tests() {
            let ready = Ready::new(&case);
            for (mutant, after) in mutants(&ready.values) {
                let caught = ready.judge(&after).iter().any(|finding| finding.fault.is_some());
                assert!(caught, "{} {} {}: passes what {mutant}", op.kernel.name, case.dtype, case.name);
            }
        }
    }
}

/// A size that somebody chooses is as right as a listed one; what is none says what would be.
#[test]
fn any_size_can_be_timed() {
    for op in ALL {
        let names = op.sizes.names.len();
        for (dtype, number) in op.dtypes.iter().flat_map(|&dtype| [1, 3, 6].map(|n| (dtype, n))) {
            let case = op.sized(dtype, &vec![number.to_string(); names].join("x")).unwrap();
            assert_eq!(case.name, vec![number.to_string(); names].join("×"));
            assert!(case.purpose.is_timed() && (case.operations() > 0 || op.kernel.name == "take"));
            let ready = Ready::new(&case);
            for label in sources(&Device::cpu(), op.kernel) {
                let found = block_on(Trial::new(&ready, &Device::cpu(), true).unwrap().check(label)).unwrap();
                pass(&on(&case, &Device::cpu()), &found.unwrap_or_default());
            }
        }
        let wrong = ["", "0", "-1", "1.5", "3x", "x3", "1x1x1x1x1x1x1x1", "99999999999999999999"];
        for size in wrong.into_iter().map(String::from).chain([vec!["4000000"; names.max(2)].join("x")]) {
            let said = op.sized(steep::DType::F32, &size).err().expect("refused").to_string();
            assert!(said.contains(op.kernel.name) && said.contains(&op.sizes.names.join("×")), "{said}");
        }
    }
}
