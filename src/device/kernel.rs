//! What an op is to the executors: its sources in every language, and what each needs.

use super::Call;
use super::cpu::{Arguments, Tile};
use super::layout::Layout;
use super::sum::evaluate;
use crate::{DType, Error, Result};

/// An op: its name (file stem and entry point in every language) and every implementation there is of it.
pub struct Kernel {
    /// The op's one name.
    pub name: &'static str,
    /// In Rust. Best first, in every language: a device takes the first that fits it and the call; tests and benches
    /// take all that fit.
    pub cpu: &'static [Source],
    /// In WGSL.
    pub wgsl: &'static [Source],
    /// In CUDA C++.
    pub cuda: &'static [Source],
}

impl Kernel {
    /// All sources, in all languages.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.cpu.iter().chain(self.wgsl).chain(self.cuda)
    }
}

/// One implementation of an op in one language. [`cpu_sources!`](crate::cpu_sources), [`wgsl`](Self::wgsl) and
/// [`cuda`](Self::cuda) make one; the other functions change what it says about itself.
#[non_exhaustive]
pub struct Source {
    /// What tells it from its neighbours, such as `avx512` or `naive`.
    pub label: &'static str,
    /// What it cannot run without.
    pub needs: Need,
    /// The code, and how much work one block of it takes.
    pub code: Code,
}

impl Source {
    /// A function over a tile of the work, for processors that have what it needs; see
    /// [`cpu_sources!`](crate::cpu_sources).
    ///
    /// # Safety
    /// A processor that has `needs` can run the function on any tile of any call that the op makes, and on several
    /// disjoint tiles at a time.
    pub const unsafe fn cpu(
        label: &'static str,
        needs: Need,
        run: unsafe fn(&Arguments<'_>, &Tile),
        tile: [usize; 3],
    ) -> Source {
        not_empty(tile);
        let code =
            CpuCode { run, tile, tiles: None, only: None, multiple: 1, layout: Layout::Rows, pays: || true };
        Source { label, needs, code: Code::Cpu(code) }
    }

    /// The same function, with tiles of this size for a call's work on this many threads. For kernels that give each element
    /// the same bits whatever tile it is in.
    pub const fn tiled(self, tiles: Tiles) -> Source {
        match self.code {
            Code::Cpu(code) => Source { code: Code::Cpu(CpuCode { tiles: Some(tiles), ..code }), ..self },
            _ => panic!("a function"),
        }
    }

    /// The same function, which takes matrices in this layout, too; [`Layout::Panels`] are any. Others are brought into rows
    /// before it is called.
    pub const fn arranged(self, layout: Layout) -> Source {
        match self.code {
            Code::Cpu(code) => Source { code: Code::Cpu(CpuCode { layout, ..code }), ..self },
            _ => panic!("a function"),
        }
    }

    /// The same function, taken by itself only on processors of which `pays` says that it is the faster one.
    pub const fn where_it_pays(self, pays: fn() -> bool) -> Source {
        match self.code {
            Code::Cpu(code) => Source { code: Code::Cpu(CpuCode { pays, ..code }), ..self },
            _ => panic!("a function"),
        }
    }

    /// The same function, for operands of one type.
    pub const fn only(self, dtype: DType) -> Source {
        match self.code {
            Code::Cpu(code) => Source { code: Code::Cpu(CpuCode { only: Some(dtype), ..code }), ..self },
            _ => panic!("a function"),
        }
    }

    /// A WGSL source that runs on any adapter and takes any shape, in workgroups that take a tile each.
    pub const fn wgsl(label: &'static str, text: Text, tile: [usize; 3]) -> Source {
        not_empty(tile);
        let code = Code::Wgsl { text, tile, constants: &[], multiple: 1, most: None, turns: |_| 0 };
        Source { label, needs: Need::Nothing, code }
    }

    /// A CUDA source that runs on any GPU and takes any shape, in blocks of `threads` threads that take a tile each.
    ///
    /// No GPU checks what a kernel does, so its text must be [trusted](Text::trusted): another one is a panic, or an
    /// error of the compiler where the source is a constant.
    pub const fn cuda(label: &'static str, text: Text, threads: u32, tile: [usize; 3]) -> Source {
        assert!(text.trusted, "CUDA kernels run unchecked: their text must be trusted");
        Source::unproven_cuda(label, text, threads, tile)
    }

    /// The same of a text that may not be trusted: a GPU refuses to run it then, and an emulated one checks it.
    pub(crate) const fn unproven_cuda(
        label: &'static str,
        text: Text,
        threads: u32,
        tile: [usize; 3],
    ) -> Source {
        not_empty(tile);
        let code = CudaCode {
            text,
            threads,
            tile,
            shared: "0",
            halves: false,
            constants: &[],
            takes: &[],
            multiple: 1,
            folded: false,
            suits: |_| true,
            cycles: None,
        };
        Source { label, needs: Need::Nothing, code: Code::Cuda(code) }
    }

    /// The same WGSL or CUDA source, for devices that have `needs`.
    pub const fn needs(mut self, needs: Need) -> Source {
        assert!(!matches!(self.code, Code::Cpu(_)), "a function's needs are fixed");
        self.needs = needs;
        self
    }

    /// The same, with constants in front of the text.
    pub const fn with(mut self, with: &'static [(&'static str, u32)]) -> Source {
        match &mut self.code {
            Code::Wgsl { constants, .. } => *constants = with,
            Code::Cuda(code) => code.constants = with,
            Code::Cpu(_) => {}
        }
        self
    }

    /// The same, for calls whose row lengths are multiples of `of`, a power of two up to 64.
    pub const fn multiple(mut self, of: usize) -> Source {
        assert!(of.is_power_of_two() && of <= 64);
        match &mut self.code {
            Code::Wgsl { multiple, .. } => *multiple = of,
            Code::Cuda(code) => code.multiple = of,
            Code::Cpu(code) => code.multiple = of,
        }
        self
    }

    /// The same WGSL source, for calls in which this constant is at most so large: what is unrolled for longer than that
    /// takes a driver too long to compile.
    pub const fn at_most(mut self, name: &'static str, value: u32) -> Source {
        match &mut self.code {
            Code::Wgsl { most, .. } => *most = Some((name, value)),
            _ => panic!("a WGSL source"),
        }
        self
    }

    /// The same WGSL source, whose loops together make at most so many turns in an invocation, for the call's
    /// [`loops`](Call::loops): some adapters end them after a number of turns, whatever is left to do.
    pub const fn turning(mut self, count: fn([usize; 2]) -> usize) -> Source {
        match &mut self.code {
            Code::Wgsl { turns, .. } => *turns = count,
            _ => panic!("a WGSL source"),
        }
        self
    }

    const fn cuda_code(mut self, change: CudaCode) -> Source {
        self.code = Code::Cuda(change);
        self
    }

    const fn as_cuda(&self) -> CudaCode {
        match self.code {
            Code::Cuda(code) => code,
            _ => panic!("a CUDA source"),
        }
    }

    /// The same CUDA source, for 16-bit operands only.
    pub const fn halves(self) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { halves: true, ..code })
    }

    /// The same CUDA source, with bytes of dynamic shared memory: a sum in the words of C, of numbers and of the constants
    /// that it takes and has; see [`CudaCode::shared_bytes`].
    pub const fn shared(self, shared: &'static str) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { shared, ..code })
    }

    /// The same CUDA source, with some of the call's constants as macros.
    pub const fn taking(self, takes: &'static [&'static str]) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { takes, ..code })
    }

    /// The same CUDA source, whose blocks all count along x.
    pub const fn folded(self) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { folded: true, ..code })
    }

    /// The same CUDA source, meant for so much work only.
    pub const fn suited_to(self, suits: fn([usize; 3]) -> bool) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { suits, ..code })
    }

    /// The same CUDA source, which keeps a multiprocessor busy for so many cycles with each tile, in a unit that the kernel's
    /// sources share: of those with such a number, the one is taken with which the busiest multiprocessor is done first.
    pub const fn taking_cycles(self, cycles: usize) -> Source {
        let code = self.as_cuda();
        self.cuda_code(CudaCode { cycles: Some(cycles), ..code })
    }

    /// The same, of a text that may run unchecked.
    ///
    /// # Safety
    /// As of [`Text::trusted`].
    pub(crate) const unsafe fn trusted(&self) -> Source {
        let Source { label, needs, .. } = *self;
        let code = match self.code {
            Code::Cpu(code) => Code::Cpu(code),
            Code::Wgsl { text, tile, constants, multiple, most, turns } => {
                Code::Wgsl { text: Text { trusted: true, ..text }, tile, constants, multiple, most, turns }
            }
            Code::Cuda(code) => Code::Cuda(CudaCode { text: Text { trusted: true, ..code.text }, ..code }),
        };
        Source { label, needs, code }
    }

    /// The shape of row lengths and of element types that it takes.
    pub(super) fn takes(&self, call: &Call<'_, '_>) -> bool {
        match &self.code {
            Code::Cpu(code) => {
                let fits = |dtype| call.operands() == dtype;
                call.multiple.is_multiple_of(code.multiple) && code.only.is_none_or(fits)
            }
            Code::Wgsl { multiple, most, .. } => {
                let few = |(name, most)| call.constants.iter().all(|(n, value)| *n != name || *value <= most);
                call.multiple.is_multiple_of(*multiple) && most.is_none_or(few)
            }
            Code::Cuda(code) => {
                call.multiple.is_multiple_of(code.multiple) && (!code.halves || call.operands().size() == 2)
            }
        }
    }

    /// Whether it is meant for this much work; only a matter of speed.
    pub(super) fn suits(&self, call: &Call<'_, '_>) -> bool {
        match &self.code {
            Code::Cuda(code) => (code.suits)(call.work),
            Code::Cpu(code) => (code.pays)(),
            Code::Wgsl { .. } => true,
        }
    }

    /// Cycles of the busiest of so many multiprocessors, if it is known how many a tile [takes](Source::taking_cycles);
    /// otherwise more than any that are known.
    pub(super) fn cycles(&self, work: [usize; 3], multiprocessors: usize) -> usize {
        let Code::Cuda(CudaCode { cycles: Some(cycles), tile, .. }) = self.code else { return usize::MAX };
        let tiles: usize = work.iter().zip(tile).map(|(work, tile)| work.div_ceil(tile)).product();
        tiles.div_ceil(multiprocessors) * cycles
    }
}

const fn not_empty(tile: [usize; 3]) {
    assert!(tile[0] > 0 && tile[1] > 0 && tile[2] > 0, "a tile of nothing");
}

/// The text of a file that a kernel is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// The file's name, for messages: of the crate's own files the path below `wgsl/` or `kernels/`.
    pub file: &'static str,
    /// What it says.
    pub text: &'static str,
    /// Whether it may run unchecked.
    pub(super) trusted: bool,
    /// The entry point, where its name is not the op's.
    pub(crate) entry: Option<&'static str>,
}

impl Text {
    /// A shader that runs with all of WGSL's checks, as in a browser: accesses out of bounds touch nothing else, and
    /// loops end.
    pub const fn new(file: &'static str, text: &'static str) -> Text {
        Text { file, text, trusted: false, entry: None }
    }

    /// The same, with an entry point of this name.
    pub const fn entry(self, name: &'static str) -> Text {
        Text { entry: Some(name), ..self }
    }

    /// A shader or a kernel that runs unchecked.
    ///
    /// # Safety
    /// In every call that the op makes, it stays inside of the tensors and of its own memory, its loops end, and its
    /// threads do not race. A CUDA kernel takes the arguments that [`CudaCode`] lists.
    pub const unsafe fn trusted(file: &'static str, text: &'static str) -> Text {
        Text { file, text, trusted: true, entry: None }
    }
}

/// The text of `wgsl/NAME.wgsl`.
macro_rules! wgsl {
    ($name:literal) => {
        // SAFETY: one of the crate's own shaders. They stay inside of their buffers and their loops end, which tests look
        // at with guards around every output and, on `wgpu:core`, with the checks in place.
        unsafe {
            $crate::device::Text::trusted(
                concat!($name, ".wgsl"),
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wgsl/", $name, ".wgsl")),
            )
        }
    };
}
pub(crate) use wgsl;

/// The text of `kernels/NAME.cu`.
macro_rules! cu {
    ($name:literal) => {
        // SAFETY: one of the crate's own kernels, which tests execute with every access checked.
        unsafe {
            $crate::device::Text::trusted(
                concat!($name, ".cu"),
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/", $name, ".cu")),
            )
        }
    };
}
pub(crate) use cu;

/// What a source asks of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Runs anywhere its language does.
    Nothing,
    /// A GPU with subgroup operations, of whatever size.
    Subgroups,
    /// The same, of one size (the constant `LANES`), which is 8 or more.
    FixedSubgroups,
    /// A software adapter, which runs shaders on the processor, with subgroups of one size (the constant `LANES`): its lanes are those of a
    /// vector register, and memory and barriers cost what they cost on a processor.
    CpuAdapter,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
    /// The same, with products of bf16 (AVX512_BF16).
    Avx512Bf16,
    /// An NVIDIA GPU of compute capability 8.0 (Ampere) or later: `mma.sync` on bf16, `cp.async`.
    Sm80,
}

impl Need {
    /// Whether an NVIDIA GPU of this compute capability, such as (9, 0), has it.
    pub fn met_by(self, capability: (i32, i32)) -> bool {
        match self {
            Need::Nothing => true,
            Need::Sm80 => capability >= (8, 0),
            Need::Subgroups | Need::FixedSubgroups | Need::CpuAdapter => false,
            Need::Avx2 | Need::Avx512 | Need::Avx512Bf16 => false,
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Need::Nothing => "nothing",
            Need::Subgroups => "subgroups on a GPU",
            Need::FixedSubgroups => "subgroups of one size, of at least 8",
            Need::CpuAdapter => "a software adapter with subgroups of one size",
            Need::Avx2 => "AVX2, FMA and F16C",
            Need::Avx512 => "AVX-512",
            Need::Avx512Bf16 => "AVX-512 with bf16",
            Need::Sm80 => "compute capability 8.0",
        })
    }
}

/// The languages.
pub enum Code {
    /// A function over one tile of the work.
    Cpu(CpuCode),
    /// A compute shader whose entry point has the op's name.
    Wgsl {
        /// The file that has the entry point; [`Module`](super::wgpu::prelude::Module) makes a module of it.
        text: Text,
        /// How much work a workgroup takes; `workgroup_id.x` counts along the last dimension.
        tile: [usize; 3],
        /// `const NAME = VALUEu;`
        constants: &'static [(&'static str, u32)],
        /// What the call's row lengths must be multiples of.
        multiple: usize,
        /// The largest value of one of the call's constants.
        most: Option<(&'static str, u32)>,
        /// How many turns its loops make; see [`Source::turning`].
        turns: fn([usize; 2]) -> usize,
    },
    /// A CUDA C++ kernel whose entry point has the op's name.
    Cuda(CudaCode),
}

/// The size of a tile, for the work of a call and a number of threads, and whether its matrix is
/// [arranged](crate::Tensor::for_products) as it is multiplied.
pub type Tiles = fn([usize; 3], usize, bool) -> [usize; 3];

/// A function, and which calls it takes.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CpuCode {
    /// Does a tile. See [`Source::cpu`] for when it may be called.
    pub run: unsafe fn(&Arguments<'_>, &Tile),
    /// How much work a tile is, in the op's units; the last one of a row may be smaller.
    pub tile: [usize; 3],
    /// The same for the work of one call on so many threads, where it differs.
    pub tiles: Option<Tiles>,
    /// What type the operands must be of, where not all will do.
    pub only: Option<DType>,
    /// What the call's row lengths must be multiples of.
    pub multiple: usize,
    /// How matrices may stand in memory, beside rows.
    pub layout: Layout,
    /// Whether this processor should take it before those behind it; only a matter of speed.
    pub pays: fn() -> bool,
}

impl CpuCode {
    /// How much work a tile is when `threads` share in `work`.
    pub(super) fn tile(&self, work: [usize; 3], threads: usize, arranged: bool) -> [usize; 3] {
        self.tiles.map_or(self.tile, |tiles| tiles(work, threads, arranged))
    }
}

/// How a CUDA source is compiled and launched.
///
/// Its arguments are the written tensors, the tensors that are read, the op's parameters, and the gate. The executor
/// defines `T`, the narrowest float type among the tensors, and `O`, the type of the first written one.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CudaCode {
    /// The file that has the entry point.
    pub text: Text,
    /// Threads of a block.
    pub threads: u32,
    /// How much work a block takes; `blockIdx.x` counts along the last dimension.
    pub tile: [usize; 3],
    /// Bytes of dynamic shared memory, as C would work them out of `constants` and `takes`. The kernel knows the result as
    /// the macro `SHARED_BYTES`, and does not compile where its layout has another size.
    pub shared: &'static str,
    /// Whether T must have 16 bits.
    pub halves: bool,
    /// Macros.
    pub constants: &'static [(&'static str, u32)],
    /// Which of the call's constants it takes as macros.
    pub takes: &'static [&'static str],
    /// What the call's row lengths must be multiples of.
    pub multiple: usize,
    /// Whether `blockIdx.x` counts along all three dimensions, the last one first: the others end at 65,535.
    pub folded: bool,
    /// Whether the source is meant for this much work. Where it is not, a later one is taken, if there is one.
    pub suits: fn([usize; 3]) -> bool,
    /// Cycles that a tile keeps a multiprocessor busy, where the kernel has sources with tiles of several sizes.
    pub cycles: Option<usize>,
}

impl CudaCode {
    /// Bytes of dynamic shared memory, given the values of `takes`.
    ///
    /// # Errors
    ///
    /// If the sum is none, or names a constant that the source does not have.
    pub fn shared_bytes(&self, values: &[u32]) -> Result<usize> {
        let taken = self.takes.iter().copied().zip(values.iter().copied());
        let names: Vec<_> = taken.chain(self.constants.iter().copied()).collect();
        let wrong = |wanted| Error::setting(format!("{}: shared = {}", self.text.file, self.shared), wanted);
        let bytes = evaluate(self.shared, &names).map_err(wrong)?;
        usize::try_from(bytes).map_err(|_| wrong("no less than 0 bytes".into()))
    }
}
