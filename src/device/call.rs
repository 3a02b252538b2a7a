//! A launch of an op, and whether it does its work.

use bytemuck::NoUninit;

use super::Kernel;
use crate::{DType, Error, Result, Tensor};

/// One launch of an op: all that an executor is told.
///
/// Kernels bind, in every language, the written tensors, then those that are read, then the parameters.
pub struct Call<'a, 'w> {
    pub(crate) kernel: &'static Kernel,
    pub(crate) writes: &'a mut [&'w mut Tensor],
    pub(crate) reads: &'a [&'w Tensor],
    pub(crate) params: &'a [u8],
    pub(crate) work: [usize; 3],
    /// A power of two that divides the length of every row.
    pub(crate) multiple: usize,
    /// How far the loops of an invocation go.
    pub(crate) loops: [usize; 2],
    pub(crate) constants: &'a [(&'static str, u32)],
    pub(crate) gate: Gate<'a>,
}

/// Tensors of a call, written and read together: what WebGPU binds everywhere.
pub(super) const MOST_TENSORS: usize = 8;
/// Bytes of a call's parameters: what lies between two offsets that every adapter takes.
pub(super) const MOST_PARAMS: usize = 256;

impl<'a, 'w> Call<'a, 'w> {
    /// A call of `kernel`, which does its work if `gate` lets it.
    ///
    /// `writes` are the tensors that it may write, and read before; `reads` are those that it only reads. What they must
    /// be is for the op to check, before: [`Tensor::expect`].
    pub fn new(
        kernel: &'static Kernel,
        gate: Gate<'a>,
        writes: &'a mut [&'w mut Tensor],
        reads: &'a [&'w Tensor],
    ) -> Call<'a, 'w> {
        Call {
            kernel,
            writes,
            reads,
            params: &[],
            work: [1; 3],
            multiple: 1,
            loops: [0; 2],
            constants: &[],
            gate,
        }
    }

    /// The op's parameters: a `#[repr(C)]` struct of 32-bit numbers, at most 256 bytes. Every call has some.
    pub fn params(mut self, params: &'a impl NoUninit) -> Self {
        self.params = bytemuck::bytes_of(params);
        self
    }

    /// How much work there is, in units of the op (rows, tiles, elements), innermost dimension last. A
    /// [`Source`](super::Source) says how much of it a block takes.
    pub fn work(mut self, work: [usize; 3]) -> Self {
        self.work = work;
        self
    }

    /// The lengths of the rows that the op deals in. Sources that take only multiples of a number
    /// ([`Source::multiple`](super::Source::multiple)) run where all of these are such; without a call of this, they do
    /// not run.
    pub fn row_lengths(mut self, lengths: &[usize]) -> Self {
        self.multiple = 1 << lengths.iter().fold(64, |all, length| all | length).trailing_zeros();
        self
    }

    /// How far loops go inside of what is one unit of work, in the op's own units;
    /// [`Source::turning`](super::Source::turning) says how many turns that takes.
    pub fn loops(mut self, lengths: [usize; 2]) -> Self {
        self.loops = lengths;
        self
    }

    /// Numbers that languages which are compiled while the program runs may take as constants: all of them in WGSL, in
    /// CUDA C++ those that the source is [taking](super::Source::taking). Each combination is a compilation.
    pub fn constants(mut self, constants: &'a [(&'static str, u32)]) -> Self {
        self.constants = constants;
        self
    }

    /// Enqueues the launch on the device of its first written tensor. Never waits.
    ///
    /// It is an error if there is no tensor to write, or there are more than eight tensors, or some of another device
    /// than the rest; if the parameters are none, more than 256 bytes, or not whole words; or if the work has more than
    /// 2^64 units. What goes wrong on the device is reported by whoever reads from it next.
    pub fn run(self) -> Result<()> {
        let op = self.kernel.name;
        let tensors = self.writes.len() + self.reads.len();
        if self.writes.is_empty() || tensors > MOST_TENSORS {
            let wanted = format!("1 to {MOST_TENSORS} in all, at least one of them written");
            return Err(Error::argument(
                op,
                "tensors",
                wanted,
                format!("{} and {}", self.writes.len(), self.reads.len()),
            ));
        }
        let params = self.params.len();
        if params == 0 || params > MOST_PARAMS || !params.is_multiple_of(4) {
            let wanted = format!("4 to {MOST_PARAMS} bytes, a multiple of 4");
            return Err(Error::argument(op, "params", wanted, params));
        }
        if self.work.iter().try_fold(1usize, |all, n| all.checked_mul(*n)).is_none() {
            return Err(Error::argument(op, "work", "less than 2^64 units", format!("{:?}", self.work)));
        }
        let device = self.writes[0].device.clone();
        let flag = match self.gate {
            Gate::Open => None,
            Gate::If(flag) | Gate::Unless(flag) => Some(flag),
        };
        if let Some(flag) = flag {
            flag.expect(op, "gate", DType::U32, [1])?;
        }
        let mut tensors = self.writes.iter().map(|t| &**t).chain(self.reads.iter().copied()).chain(flag);
        if tensors.any(|t| !t.device.is(&device)) {
            let wanted = format!("all on {}", device.name());
            return Err(Error::argument(op, "tensors", wanted, "tensors of two devices"));
        }
        device.run(self)
    }

    /// The narrowest float type among the tensors.
    pub(crate) fn operands(&self) -> DType {
        let all = self.writes.iter().map(|t| t.dtype).chain(self.reads.iter().map(|t| t.dtype));
        all.filter(|&d| d != DType::U32).min_by_key(|d| d.size()).unwrap_or(DType::F32)
    }

    /// The type of the first written tensor, if it is one of the two that kernels are made for.
    pub(crate) fn output(&self) -> DType {
        let operands = self.operands();
        if self.writes[0].dtype == operands { operands } else { DType::F32 }
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
