//! The sources of each op and how they are launched.

use std::path::PathBuf;
use std::sync::Mutex;

use steep::DType;

use crate::harness::{self, Launch, type_name};
use crate::{FLOATS, HALVES};

/// One implementation of an op: the file, and what an executor must know to launch it.
pub struct Source {
    pub op: &'static str,
    /// Below kernels/.
    pub file: &'static str,
    pub threads: u32,
    /// How much of the op's work a block takes.
    pub tile: [u32; 3],
    /// Bytes of dynamic shared memory, given T and the constants of the call.
    pub shared: fn(head: u32) -> u32,
    /// What T may be.
    pub dtypes: &'static [DType],
    /// What the call's row lengths must be multiples of.
    pub multiple: usize,
    pub defines: &'static [(&'static str, u32)],
}

const fn source(op: &'static str, file: &'static str, threads: u32, tile: [u32; 3]) -> Source {
    Source { op, file, threads, tile, shared: |_| 0, dtypes: &FLOATS, multiple: 1, defines: &[] }
}

/// Elements from row to row in the shared memory of attention.cu.
const fn pitch(head: u32) -> u32 {
    head.div_ceil(16) * 16 + 8
}

pub static SOURCES: &[Source] = &[
    source("patch_embed", "patch_embed.cu", 256, [1, 32, 64]),
    source("time_embed", "time_embed.cu", 128, [1, 1, 1]),
    source("label_embed", "label_embed.cu", 128, [1, 1, 1]),
    source("temporal_embed", "temporal_embed.cu", 128, [1, 1, 1]),
    Source {
        shared: |_| 4 * 2 * (128 + 128) * 40,
        dtypes: &HALVES,
        multiple: 8,
        ..source("linear", "linear.cu", 256, [1, 128, 128])
    },
    // For products of few tiles.
    Source {
        shared: |_| 4 * 2 * (64 + 64) * 40,
        dtypes: &HALVES,
        multiple: 8,
        defines: &[("TILE_ROWS", 64), ("TILE_COLUMNS", 64), ("WARPS_DOWN", 2), ("WARPS_ACROSS", 2)],
        ..source("linear", "linear.cu", 128, [1, 64, 64])
    },
    source("linear", "ladder/linear_tile.cu", 256, [1, 64, 128]),
    source("linear", "ladder/linear_naive.cu", 256, [1, 1, 256]),
    Source {
        shared: |head| 2 * (128 + 4 * if head > 80 { 32 } else { 64 }) * pitch(head),
        dtypes: &HALVES,
        multiple: 8,
        ..source("attention", "attention.cu", 128, [1, 1, 128])
    },
    // For short sequences.
    Source {
        shared: |head| 2 * (16 + 4 * 16) * pitch(head),
        dtypes: &HALVES,
        multiple: 8,
        defines: &[("WARPS", 1), ("ROW_TILES", 1), ("KEYS", 16)],
        ..source("attention", "attention.cu", 32, [1, 1, 16])
    },
    Source {
        shared: |head| 4 * ((64 + 32) * (head.next_multiple_of(4) + 4) + 64 * (32 + 4)),
        ..source("attention", "ladder/attention_tile.cu", 256, [1, 1, 64])
    },
    source("attention", "ladder/attention_online.cu", 128, [1, 1, 4]),
    source("attention", "ladder/attention_naive.cu", 32, [1, 1, 1]),
    source("modulate", "modulate.cu", 256, [1, 1, 8]),
    source("rel_l1", "rel_l1.cu", 512, [1, 1, 1]),
    source("modulate_rel_l1", "modulate_rel_l1.cu", 256, [1, 1, 1]),
    source("tea_gate", "tea_gate.cu", 1024, [1, 1, 1]),
    source("residual_store", "residual_store.cu", 256, [1, 1, 2048]),
    source("residual_reuse", "residual_reuse.cu", 256, [1, 1, 2048]),
    source("denoise", "denoise.cu", 256, [1, 1, 1]),
];

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

impl Source {
    /// For messages.
    pub fn name(&self) -> String {
        let defines: String = self.defines.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}{defines}", self.file)
    }

    fn build(&self, t: DType, o: DType, head: usize) -> PathBuf {
        let mut defines = vec![("T", type_name(t).to_string()), ("O", type_name(o).to_string())];
        if head > 0 {
            defines.push(("HEAD", head.to_string()));
        }
        defines.extend(self.defines.iter().map(|(name, value)| (*name, value.to_string())));
        harness::build(&format!("kernels/{}", self.file), self.op, &defines)
    }

    /// Executes a call with each seed; all must give the same bits. The first call of a source is also tried
    /// with gates.
    fn run(&self, t: DType, o: DType, call: &Call, seeds: &[u32]) -> Vec<Vec<u8>> {
        let program = self.build(t, o, call.head);
        let [a, b, c] = [0, 1, 2].map(|i| (call.work[i] as u32).div_ceil(self.tile[i]));
        let writes = call.writes.iter().map(|w| (w.clone(), true));
        let reads = call.reads.iter().map(|r| (r.clone(), false));
        let launch = Launch {
            grid: [c, b, a],
            threads: self.threads,
            shared: (self.shared)(call.head as u32),
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
                let expected = if open { &result } else { &call.writes };
                let same = run(&gated, seeds[0]) == *expected;
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
    let fits =
        |s: &&Source| s.op == op && s.dtypes.contains(&t) && call.multiple.max(1).is_multiple_of(s.multiple);
    for source in SOURCES.iter().filter(fits) {
        let case = format!("{}, {t} to {o}, {:?}", source.name(), call.work);
        check(&case, &source.run(t, o, call, seeds));
    }
}

/// Every op has a source, and every source is here: what is shipped is tested.
#[test]
fn every_source_is_listed() {
    for kernel in steep::ops::ALL {
        let file = format!("{}.cu", kernel.name);
        let found = SOURCES.iter().any(|s| s.op == kernel.name && s.file == file);
        assert!(found, "kernels/{file} is missing or not listed");
    }
    for (folder, prefix) in [("kernels", ""), ("kernels/ladder", "ladder/")] {
        for entry in std::fs::read_dir(harness::root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = format!("{prefix}{name}");
            let listed = !name.ends_with(".cu") || SOURCES.iter().any(|s| s.file == file);
            assert!(listed, "kernels/{file} is not listed");
        }
    }
}
