//! The whole contract between ops and executors.
//!
//! An op is data: a [`Kernel`] names it and lists its [`Source`]s, a [`Call`] says what one launch reads, writes and
//! how much work there is. A [`Device`] has six verbs (`open`, `alloc`, `upload`, `run`, `read`, `mark`), and none of
//! them knows an op. Adding an op therefore changes no executor, and adding an executor changes no op signature.

pub mod cpu;
pub(crate) mod matmul;
pub(crate) mod simd;

pub(crate) use simd::cpu_sources;

use std::rc::Rc;

use crate::{Error, Result, Tensor};

/// An op: its name (file stem and entry point in every language) and every implementation there is of it.
pub struct Kernel {
    /// The op's one name.
    pub name: &'static str,
    /// Best first. A device takes the first that fits it; tests and benches take all that fit.
    pub sources: &'static [Source],
}

/// One implementation of an op in one language.
pub struct Source {
    /// What tells it from its neighbours, such as `avx512` or `naive`.
    pub label: &'static str,
    /// What it cannot run without.
    pub needs: Need,
    /// The code, and how much work one block of it takes.
    pub code: Code,
}

/// What a source asks of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Runs anywhere its language does.
    Nothing,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
}

/// The languages.
pub enum Code {
    /// A function over one block of the work.
    Cpu {
        /// Runs the block.
        run: fn(&cpu::Launch<'_>, &cpu::Block),
        /// How much work a block takes, in the op's units; the last block of a row may be smaller.
        tile: [usize; 3],
    },
}

/// One launch of an op: all that an executor is told. Binding order is writes, reads, params in every language.
pub struct Call<'a, 'w> {
    pub(crate) kernel: &'static Kernel,
    /// Tensors the op may write; in-place ops also read them.
    pub(crate) writes: &'a mut [&'w mut Tensor],
    pub(crate) reads: &'a [&'w Tensor],
    /// One `#[repr(C)]` Pod struct.
    pub(crate) params: &'a [u8],
    /// In units of the op: rows, tiles, elements.
    pub(crate) work: [usize; 3],
    pub(crate) gate: Gate<'a>,
}

impl Call<'_, '_> {
    /// Enqueues the launch on the device of its first written tensor. Never waits.
    pub(crate) fn run(self) -> Result<()> {
        let device = self.writes[0].device.clone();
        let elsewhere = |t: &Tensor| !t.device.is(&device);
        if self.writes.iter().any(|t| elsewhere(t)) || self.reads.iter().any(|t| elsewhere(t)) {
            return Err(Error::argument(
                self.kernel.name,
                "tensors",
                format!("all on {}", device.name()),
                "tensors of two devices",
            ));
        }
        device.run(self)
    }
}

/// Whether a call does its work: always, or as a flag on the device says.
///
/// This is how caching reaches the kernels. The flag is a `u32 [1]` tensor that [`tea_gate`](crate::ops::tea_gate)
/// writes: 1 = compute this step, 0 = reuse. Nobody waits for it: the CPU executor tests it before it runs the call.
#[derive(Clone, Copy)]
pub enum Gate<'a> {
    /// Always.
    Open,
    /// Only if the flag is not zero.
    If(&'a Tensor),
    /// Only if the flag is zero.
    Unless(&'a Tensor),
}

/// What a device has done so far. The difference of two snapshots is what happened in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that did their work.
    pub launched: u64,
    /// Calls that their gate turned away.
    pub gated_off: u64,
    /// Times the host waited for data.
    pub reads: u64,
    /// Tensors made.
    pub allocations: u64,
}

/// Where tensors live and ops run. Cheap to clone; belongs to one thread.
#[derive(Clone)]
pub enum Device {
    /// Multi-threaded, vectorised; the default where there is no GPU.
    Cpu(Rc<cpu::Cpu>),
}

/// A moment in a device's queue; see [`Device::mark`].
pub enum Mark {
    /// The CPU runs a call as it is enqueued, so its moments are the host's.
    Cpu(std::time::Instant),
}

/// The memory behind a tensor.
pub(crate) enum Storage {
    Cpu(cpu::Buffer),
}

impl Device {
    /// Opens a device by name: `auto` (the best there is) or `cpu`.
    pub async fn open(name: &str) -> Result<Device> {
        match name {
            "auto" | "cpu" => Ok(Device::cpu()),
            _ => Err(Error::device(format!("`{name}`"), "unknown or not built in; wanted auto or cpu")),
        }
    }

    /// Every device of this machine, best first.
    pub async fn all() -> Vec<Device> {
        vec![Device::cpu()]
    }

    /// The CPU. Always there.
    pub fn cpu() -> Device {
        Device::Cpu(Rc::new(cpu::Cpu::new()))
    }

    /// Memory, all zero.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Storage> {
        match self {
            Device::Cpu(cpu) => Ok(Storage::Cpu(cpu.alloc(bytes)?)),
        }
    }

    /// Copies bytes to the device; they fit, [`Tensor::write`] checked it.
    pub(crate) fn upload(&self, to: &mut Tensor, bytes: &[u8]) -> Result<()> {
        match &mut to.storage {
            Storage::Cpu(buffer) => buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes),
        }
        Ok(())
    }

    fn run(&self, call: Call<'_, '_>) -> Result<()> {
        match self {
            Device::Cpu(cpu) => cpu.run(call),
        }
    }

    /// Waits for all that was enqueued and copies back the first bytes of each tensor, as many as stand beside it.
    /// The only verb that waits.
    pub(crate) async fn read(&self, from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.read(from)),
        }
    }

    /// Enqueues a time stamp between the calls before and after it.
    pub fn mark(&self) -> Mark {
        match self {
            Device::Cpu(_) => Mark::Cpu(std::time::Instant::now()),
        }
    }

    /// Seconds from each mark to the next, on the device's own clock. Waits for the last one.
    pub async fn seconds(&self, marks: &[Mark]) -> Result<Vec<f64>> {
        let between = |pair: &[Mark]| {
            let (Mark::Cpu(from), Mark::Cpu(to)) = (&pair[0], &pair[1]);
            to.duration_since(*from).as_secs_f64()
        };
        Ok(marks.windows(2).map(between).collect())
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        match self {
            Device::Cpu(cpu) => cpu.counters.get(),
        }
    }

    /// The name that opens it.
    pub fn name(&self) -> String {
        match self {
            Device::Cpu(_) => "cpu".into(),
        }
    }

    /// What it is, for people: `cpu (2 threads, avx512)`.
    pub fn describe(&self) -> String {
        match self {
            Device::Cpu(cpu) => cpu.describe(),
        }
    }

    /// The sources of `kernel` that this device can run, best first.
    pub fn sources<'k>(&self, kernel: &'k Kernel) -> impl Iterator<Item = &'k Source> {
        let device = self.clone();
        kernel.sources.iter().filter(move |s| match &device {
            Device::Cpu(cpu) => matches!(s.code, Code::Cpu { .. }) && cpu.has(s.needs),
        })
    }

    /// From now on prefers sources with this label, for every op that has one; `None` goes back to the best.
    /// For tests and benches, which go through all of them.
    pub fn prefer(&self, label: Option<&'static str>) {
        match self {
            Device::Cpu(cpu) => cpu.preferred.set(label),
        }
    }

    /// The source of `kernel` that a call would run now.
    pub fn source<'k>(&self, kernel: &'k Kernel) -> Result<&'k Source> {
        let preferred = match self {
            Device::Cpu(cpu) => cpu.preferred.get(),
        };
        let mut fitting = self.sources(kernel);
        let first = fitting
            .next()
            .ok_or_else(|| Error::device(self.name(), format!("no source of `{}` runs here", kernel.name)))?;
        let mut rest = std::iter::once(first).chain(fitting);
        Ok(rest.find(|s| Some(s.label) == preferred).unwrap_or(first))
    }

    fn is(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu(a), Device::Cpu(b)) => Rc::ptr_eq(a, b),
        }
    }
}
