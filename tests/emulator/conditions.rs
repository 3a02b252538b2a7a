//! Conditional nodes of CUDA graphs on the emulated driver, which allows what the documentation does and no more
//! (`driver/graphs.cpp`): against plain graphs and the CPU executor, and where the driver has none that work.

use std::process::Command;

use pollster::block_on;
use steep::device::Gate;
use steep::ops::axpby;
use steep::{DType, Device, Tensor};

use crate::executor::{executed_by_graphs, refused};
use crate::harness;

const PLAIN: (&str, &str) = ("STEEP_GRAPH", "plain");
const CONDITIONAL: (&str, &str) = ("STEEP_GRAPH", "conditional");

/// Never gets as far as to write.
const FORWARD: &str = "forward --model tests/fixtures/tiny-dit.safetensors \
    tests/fixtures/tiny-dit.fixture.safetensors --device cuda --out /tmp/never-written.safetensors";

/// What STEEP_REQUIRE says where the emulator is CUDA.
const ON: &str = "emulated-cuda";
/// The flag in each.
const ROUNDS: [u32; 5] = [1, 0, 0, 1, 1];

/// For those below, which start it on the emulated driver: gated calls whose flag, parameters and tensors change. What
/// they leave and what is counted is the same on both executors.
#[test]
fn the_same_calls_on_two_executors() {
    if std::env::var("STEEP_REQUIRE").as_deref() != Ok(ON) {
        return;
    }
    let run = |device: &Device| {
        let tensor = |x: f32| Tensor::from_f32(device, DType::F32, [5], &[x; 5]).unwrap();
        let mut flag = Tensor::from_u32(device, [1], &[0]).unwrap();
        let v = tensor(1.0);
        let mut seen = vec![];
        // Made at once: memory that comes back would be the same.
        let sets = [0.0, 100.0].map(|first| [0.0, 10.0, 20.0].map(|x| tensor(first + x)));
        for [mut a, mut b, mut c] in sets {
            for (round, set) in ROUNDS.into_iter().enumerate() {
                flag.write(&u32::to_le_bytes(set)).unwrap();
                let add = |gate, z: &mut Tensor, add: f32| {
                    axpby(gate, z, (0.5, None), (add, &v)).unwrap();
                };
                (0..6).for_each(|_| add(Gate::If(&flag), &mut a, 1.0));
                add(Gate::If(&flag), &mut b, round as f32);
                (0..5).for_each(|_| add(Gate::If(&flag), &mut a, 2.0));
                (0..4).for_each(|_| add(Gate::Unless(&flag), &mut c, 1.0));
                add(Gate::Open, &mut c, round as f32);
                let values = [&a, &b, &c].map(|t| block_on(t.read_f32()).unwrap());
                let counted = block_on(device.counters()).unwrap();
                seen.push((values, counted.launched, counted.gated_off));
            }
        }
        seen
    };
    let [cpu, cuda] = ["cpu", "cuda"].map(|name| run(&block_on(Device::open(name)).unwrap()));
    assert_eq!(cpu, cuda);
}

/// Runs the above with these settings; the kernels that each graph executed.
fn graphs(settings: &[(&str, &str)]) -> Vec<Vec<String>> {
    let (_, environment) = harness::driver();
    let folder = tempfile::tempdir().unwrap();
    let executed = folder.path().join("executed");
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "conditions::the_same_calls_on_two_executors"])
        .envs(environment)
        .envs([("STEEP_REQUIRE", ON), ("EMULATOR_EXECUTED", executed.to_str().unwrap())])
        .env("STEEP_CACHE", folder.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed") && !said.contains("emulator: "), "{said}");
    executed_by_graphs(&executed)
}

/// A call whose parameters change stays outside of bodies and is told; tensors that change make the graph anew.
#[test]
fn bodies_run_when_they_are_wanted() {
    if !harness::available() {
        return;
    }
    let counts = |graphs: &[Vec<String>], name: &str| -> Vec<usize> {
        let rounds = &graphs[graphs.len() - ROUNDS.len()..];
        rounds.iter().map(|names| names.iter().filter(|n| *n == name).count()).collect()
    };
    let plain = graphs(&[PLAIN]);
    assert_eq!(counts(&plain, "condition"), [0; 5]);
    assert_eq!(counts(&plain, "axpby"), [17; 5]);
    // The flag is 1, 0, 0, 1, 1: a set one runs two bodies, of six calls and of five, and one that is not set runs the
    // third, of four. The call between them looks for itself, and the last has no gate.
    let conditional = graphs(&[CONDITIONAL]);
    assert_eq!(counts(&conditional, "condition"), [3; 5]);
    assert_eq!(counts(&conditional, "axpby"), [13, 6, 6, 13, 13]);
}

/// Without conditional nodes, or with some that do not do what they should, graphs are plain, unless that is not wanted.
#[test]
fn a_failed_trial_falls_back() {
    if !harness::available() {
        return;
    }
    for (pose, why) in
        [("absent", "CUDA_ERROR_NOT_SUPPORTED"), ("never", "calls ran"), ("always", "calls ran")]
    {
        let pose = ("EMULATOR_CONDITIONAL", pose);
        let last = graphs(&[pose]).pop().unwrap();
        assert_eq!(last, ["axpby"; 17], "{pose:?}");
        let line = refused(FORWARD, &[pose, CONDITIONAL]);
        assert!(line.contains(why) && line.contains("STEEP_GRAPH=plain"), "{line}");
    }
    // What a fault leaves of the driver is of no use.
    let fault = ("EMULATOR_FAULT", "condition");
    let line = refused(FORWARD, &[fault]);
    assert!(line.contains("illegal memory access") && line.contains("STEEP_GRAPH=plain"), "{line}");
    graphs(&[fault, PLAIN]);
    let line = refused(FORWARD, &[("STEEP_GRAPH", "fast")]);
    assert!(line.contains("STEEP_GRAPH=fast") && line.contains("plain or conditional"), "{line}");
}
