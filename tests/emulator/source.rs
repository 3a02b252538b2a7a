//! Launches a call of an op with every source that takes it.

use std::path::PathBuf;
use std::sync::Mutex;

use steep::DType;
use steep::device::{Code, CudaCode, cuda};
use steep::ops::ALL;

use crate::harness::{self, Launch};

/// One call of an op.
#[derive(Default)]
pub struct Call {
    pub work: [usize; 3],
    /// Divides the length of every row that the op deals in.
    pub multiple: usize,
    /// In: what the written tensors hold.
    pub writes: Vec<Vec<u8>>,
    pub reads: Vec<Vec<u8>>,
    pub params: Vec<u8>,
    /// Of the head, for attention.
    pub head: usize,
}

/// A source of an op.
struct Source {
    op: &'static str,
    label: &'static str,
    code: &'static CudaCode,
}

/// All that there are.
fn sources() -> impl Iterator<Item = Source> {
    ALL.iter().flat_map(|kernel| {
        kernel.cuda.iter().map(|source| match &source.code {
            Code::Cuda(code) => Source { op: kernel.name, label: source.label, code },
            _ => panic!("{} {}: no CUDA source", kernel.name, source.label),
        })
    })
}

impl Source {
    /// For messages.
    fn name(&self) -> String {
        format!("{} {}", self.op, self.label)
    }

    fn build(&self, t: DType, o: DType, taken: &[u32]) -> PathBuf {
        let unit = cuda::modules::unit(self.code, t, o, taken);
        harness::build(&format!("kernels/{}", unit.file), self.op, &unit.defines)
    }

    /// Executes a call with each seed; all must give the same bits. The first call of a source is also tried
    /// with gates.
    fn run(&self, t: DType, o: DType, call: &Call, seeds: &[u32]) -> Vec<Vec<u8>> {
        let taken: Vec<u32> = self.code.takes.iter().map(|_| call.head as u32).collect();
        let program = self.build(t, o, &taken);
        let [a, b, c] = [0, 1, 2].map(|i| call.work[i].div_ceil(self.code.tile[i]) as u32);
        let writes = call.writes.iter().map(|w| (w.clone(), true));
        let reads = call.reads.iter().map(|r| (r.clone(), false));
        let launch = Launch {
            grid: [c, b, a],
            threads: self.code.threads,
            shared: (self.code.shared)(&taken) as u32,
            tensors: writes.chain(reads).collect(),
            params: call.params.clone(),
            gate: None,
        };
        let run = |launch: &Launch, seed| match launch.run(&program, seed) {
            Ok(written) => written,
            Err(fault) => panic!("{}, {t}, {:?}, seed {seed}: {fault}", self.name(), call.work),
        };
        let result = run(&launch, seeds[0]);
        for &seed in &seeds[1..] {
            let same = run(&launch, seed) == result;
            assert!(same, "{}, {t}, {:?}: seeds {} and {seed} differ", self.name(), call.work, seeds[0]);
        }
        static TRIED: Mutex<Vec<String>> = Mutex::new(vec![]);
        let first = {
            let mut tried = TRIED.lock().unwrap();
            let first = !tried.contains(&self.name());
            tried.push(self.name());
            first
        };
        if first {
            for (flag, want) in [(0, 0), (1, 1), (7, 1), (0, 1), (1, 0), (7, 0)] {
                let gated = Launch { gate: Some((flag, want)), ..launch.clone() };
                let open = (flag != 0) == (want != 0);
                let tally: [u32; 2] = if open { [1, 0] } else { [0, 1] };
                let mut expected = if open { result.clone() } else { call.writes.clone() };
                expected.push(tally.iter().flat_map(|n| n.to_le_bytes()).collect());
                let same = run(&gated, seeds[0]) == expected;
                assert!(same, "{}: flag {flag}, want {want}", self.name());
            }
        }
        result
    }
}

/// Executes a call with every source that takes it, and hands each one's name and results to `check`.
pub fn each(
    op: &str,
    (t, o): (DType, DType),
    call: &Call,
    seeds: &[u32],
    mut check: impl FnMut(&str, &[Vec<u8>]),
) {
    if !harness::available() {
        return;
    }
    let fits = |s: &Source| {
        s.op == op
            && (!s.code.halves || t.size() == 2)
            && call.multiple.max(1).is_multiple_of(s.code.multiple)
    };
    for source in sources().filter(fits) {
        let case = format!("{}, {t} to {o}, {:?}", source.name(), call.work);
        check(&case, &source.run(t, o, call, seeds));
    }
}

/// Every op has a source and a test of it here, and every file is an op's.
#[test]
fn every_source_is_executed() {
    let tests = ["kernels", "matrices", "rivals"].map(|file| {
        std::fs::read_to_string(harness::root().join(format!("tests/emulator/{file}.rs"))).unwrap()
    });
    for kernel in ALL {
        assert!(!kernel.cuda.is_empty(), "{} has no CUDA source", kernel.name);
        let call = format!("each(\"{}\"", kernel.name);
        assert!(tests.iter().any(|text| text.contains(&call)), "{} is not executed", kernel.name);
    }
    // What the executor itself needs, conditions.rs executes.
    let own = cuda::UNITS.into_iter().map(|unit| unit.file);
    let files: Vec<_> = sources().map(|s| s.code.text.file).chain(own).collect();
    for (folder, prefix) in [("kernels", ""), ("kernels/ladder", "ladder/")] {
        for entry in std::fs::read_dir(harness::root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = format!("{prefix}{name}");
            let listed = !name.ends_with(".cu") || files.contains(&file.as_str());
            assert!(listed, "kernels/{file} is neither an op's source nor the executor's");
        }
    }
}
