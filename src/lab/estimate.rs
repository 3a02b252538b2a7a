//! How fast a counted launch can be at best on two GPUs that are known well. An estimate: what is not counted takes time, too.

use serde::Serialize;

use super::counts::{Counts, Kind, SECTOR};
use super::sass::Loop;

/// What a GPU does at best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its name.
    pub name: &'static str,
    /// What NVIDIA's compiler calls it.
    pub arch: &'static str,
    /// Multiprocessors.
    pub multiprocessors: u64,
    /// 10⁹ cycles per second.
    pub ghz: f64,
    /// 10⁹ bytes per second of memory.
    pub memory_gbps: f64,
    /// Additions and multiplications of 16-bit numbers on the tensor cores, a cycle and multiprocessor, by `mma.sync`.
    pub mma: f64,
}

/// Bytes that reach a multiprocessor's first cache in a cycle.
const FILL: f64 = 64.0;
/// Instructions of warps that a multiprocessor issues in a cycle: one in each quarter.
const ISSUE: f64 = 4.0;
/// Lanes of special functions that it computes in a cycle.
const SPECIAL: f64 = 16.0;
/// Additions and multiplications of an `mma` of 16×8×16.
const MMA: f64 = 2.0 * 16.0 * 8.0 * 16.0;

/// Ampere and Hopper.
///
/// - A100: 108 multiprocessors at 1.41 GHz, 2039 GB/s, 312 TFLOP/s, which are 2048 a cycle and multiprocessor (NVIDIA's data
///   sheet of the SXM4 with 80 GB).
/// - H100: 132 at 1.755 GHz, 3350 GB/s (NVIDIA's data sheet of the SXM5). Its tensor cores do 4096 a cycle, of which `mma.sync`
///   was measured to reach 63 % (arXiv 2402.13499).
/// - Both: 16 special functions a cycle (the table of arithmetic throughput in CUDA's programming guide), 128 bytes of shared
///   memory, four schedulers that issue an instruction each.
pub const GPUS: [Gpu; 2] = [
    Gpu { name: "A100", arch: "sm_80", multiprocessors: 108, ghz: 1.41, memory_gbps: 2039.0, mma: 2048.0 },
    Gpu {
        name: "H100",
        arch: "sm_90a",
        multiprocessors: 132,
        ghz: 1.755,
        memory_gbps: 3350.0,
        mma: 0.63 * 4096.0,
    },
];

/// The least time of a launch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bound {
    /// The GPU.
    pub gpu: &'static str,
    /// What the compiler calls it.
    pub arch: &'static str,
    /// Microseconds of the launch, without what a launch itself takes.
    pub us: f64,
    /// What takes as long.
    pub by: &'static str,
    /// Microseconds of memory: each byte once.
    pub memory_us: f64,
    /// Cycles of a multiprocessor for one block.
    pub cycles: Cycles,
}

/// Cycles of a multiprocessor for one block, by what they are spent with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cycles {
    /// Products on the tensor cores.
    pub tensor_cores: f64,
    /// Instructions: those of the main loop where it is known, else those alone that the emulator counts.
    pub issue: f64,
    /// Rounds of shared memory.
    pub shared_memory: f64,
    /// Sectors of global memory.
    pub global_memory: f64,
    /// Special functions.
    pub special: f64,
}

impl Bound {
    /// Of a launch on a GPU. `main` is the main loop as it was compiled for it.
    pub fn of(counts: &Counts, gpu: &Gpu, main: Option<&Loop>) -> Bound {
        let blocks = counts.blocks.max(1) as f64;
        let all = counts.sum(|_| true, |row| row.count) as f64;
        let issued = main.and_then(|main| main.issued(counts)).unwrap_or(all);
        let sectors = counts.sum(Kind::is_global, |row| row.moved);
        let cycles = Cycles {
            tensor_cores: counts.count(Kind::Mma) as f64 * MMA / gpu.mma / blocks,
            issue: issued / ISSUE / blocks,
            shared_memory: counts.sum(Kind::is_shared, |row| row.moved) as f64 / blocks,
            global_memory: (sectors * SECTOR) as f64 / FILL / blocks,
            special: counts.sum(|kind| kind == Kind::Special, |row| row.lanes) as f64 / SPECIAL / blocks,
        };
        let memory_us = (counts.read_bytes + counts.written_bytes) as f64 / gpu.memory_gbps / 1e3;
        // The multiprocessor with the most blocks.
        let most = counts.blocks.div_ceil(gpu.multiprocessors) as f64;
        let us = |cycles: f64| most * cycles / gpu.ghz / 1e3;
        let named = cycles.named().map(|(name, cycles)| (name, us(cycles)));
        let longest = named.into_iter().fold(("memory", memory_us), |a, b| if b.1 > a.1 { b } else { a });
        Bound { gpu: gpu.name, arch: gpu.arch, us: longest.1, by: longest.0, memory_us, cycles }
    }
}

impl Cycles {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        [
            ("tensor cores", self.tensor_cores),
            ("issue", self.issue),
            ("shared memory", self.shared_memory),
            ("global memory", self.global_memory),
            ("special functions", self.special),
        ]
    }
}
