//! The CPU executor: tiles of a call's work are done on as many threads as rayon has, each by one call of the kernel, a
//! function.
//!
//! Results do not depend on the machine's size: the division into tiles comes from the source and the call's work. Only a
//! source whose bits no tile changes may also look at the number of threads ([`Source::tiled`]).

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::{AnyBitPattern, Pod, Zeroable};
use memmap2::MmapMut;
use rayon::prelude::*;

use super::simd::LANES;
use super::{Call, Choice, Code, Counters, Facts, Gate, Layout, MOST_TENSORS, Need, Source, Storage};
use crate::{DType, Error, Result, Tensor, memory};

/// The CPU as a device.
pub struct Cpu {
    pub(super) counters: Cell<Counters>,
    pub(super) choice: Choice,
    /// The last of [`ISAS`] that is used.
    widest: Need,
}

/// Instruction sets that sources know, each with those before it.
const ISAS: [(Need, &str); 4] = [
    (Need::Nothing, "portable"),
    (Need::Avx2, "avx2"),
    (Need::Avx512, "avx512"),
    (Need::Avx512Bf16, "avx512_bf16"),
];

/// The instruction set that `STEEP_ISA` names; the last one where it is not set.
pub(super) fn widest() -> Result<Need> {
    match std::env::var("STEEP_ISA") {
        Err(_) => Ok(Cpu::WIDEST),
        Ok(name) => match ISAS.iter().find(|(_, isa)| *isa == name) {
            Some((need, _)) => Ok(*need),
            None => Err(Error::setting(format!("STEEP_ISA={name}"), ISAS.map(|(_, isa)| isa).join(", "))),
        },
    }
}

impl Cpu {
    pub(super) const WIDEST: Need = Need::Avx512Bf16;

    /// With this instruction set and those before it.
    pub(super) fn new(widest: Need) -> Cpu {
        Cpu { counters: Cell::default(), choice: Choice::default(), widest }
    }

    /// The instruction sets that its sources know, best first.
    fn isas(&self) -> impl Iterator<Item = &'static str> {
        ISAS[1..].iter().rev().filter(|(need, _)| self.has(*need)).map(|(_, name)| *name)
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            hardware: crate::results::processor().unwrap_or_else(|| std::env::consts::ARCH.into()),
            backend: "cpu".into(),
            software: true,
            features: self.isas().map(str::to_string).collect(),
            clock: "host",
            ..Facts::default()
        }
    }

    pub(super) fn describe(&self) -> String {
        let isa = self.isas().find(|&isa| isa != "avx512_bf16").unwrap_or(std::env::consts::ARCH);
        let threads = rayon::current_num_threads();
        let s = if threads == 1 { "" } else { "s" };
        format!("cpu ({threads} thread{s}, {isa})")
    }

    pub(super) fn has(&self, need: Need) -> bool {
        let place = |need: Need| ISAS.iter().position(|(isa, _)| *isa == need);
        if place(need).is_none_or(|at| Some(at) > place(self.widest)) {
            return false;
        }
        #[cfg(target_arch = "x86_64")]
        match need {
            Need::Nothing => true,
            Need::Subgroups | Need::FixedSubgroups | Need::CpuAdapter | Need::Sm80 => false,
            Need::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            Need::Avx512 => {
                self.has(Need::Avx2)
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            Need::Avx512Bf16 => self.has(Need::Avx512) && is_x86_feature_detected!("avx512bf16"),
        }
        #[cfg(not(target_arch = "x86_64"))]
        matches!(need, Need::Nothing)
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub(super) fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.count(|c| c.allocations += 1);
        Buffer::new(bytes)
    }

    pub(super) fn run(&self, source: &Source, call: Call<'_, '_>) -> Result<()> {
        let open = match call.gate {
            Gate::Open => true,
            Gate::If(flag) => buffer(flag).flag(),
            Gate::Unless(flag) => !buffer(flag).flag(),
        };
        self.count(|c| if open { c.launched += 1 } else { c.gated_off += 1 });
        if !open {
            return Ok(());
        }
        let Code::Cpu(code) = source.code else { unreachable!("the CPU's sources are functions") };
        // What is written is no longer a matrix that was arranged.
        for t in call.writes.iter_mut().filter(|t| t.layout != Layout::Rows) {
            let rows = in_rows(t)?;
            t.storage = Storage::Cpu(rows);
            t.layout = Layout::Rows;
        }
        let strange = |t: &Tensor| !code.layout.takes(t.layout);
        let rows = call.reads.iter().map(|t| if strange(t) { in_rows(t).map(Some) } else { Ok(None) });
        let rows: Vec<Option<Buffer>> = rows.collect::<Result<_>>()?;
        let mut arguments = Arguments::new(call);
        for (view, rows) in arguments.reads.iter_mut().zip(&rows) {
            if let Some(rows) = rows {
                *view = View { at: rows.bytes().as_ptr().cast_mut(), layout: Layout::Rows, ..*view };
            }
        }
        let work = arguments.work;
        let arranged = arguments.reads.iter().any(|view| code.layout.as_it_is(view.layout, view.dtype));
        let threads = rayon::current_num_threads();
        let size = code.tile(work, threads, arranged);
        let grid: [usize; 3] = std::array::from_fn(|i| work[i].div_ceil(size[i]));
        let tile = |index: usize| {
            // The innermost dimension is the last one.
            let at = [index / (grid[1] * grid[2]), index / grid[2] % grid[1], index % grid[2]];
            let span = |i: usize| at[i] * size[i]..work[i].min((at[i] + 1) * size[i]);
            let tile = Tile([span(0), span(1), span(2)]);
            // SAFETY: `Device::choose` took a source whose needs are met, and tiles do not overlap.
            unsafe { (code.run)(&arguments, &tile) }
        };
        let n = grid.iter().product();
        // Alone, a thread of rayon's would only have to be woken for each call.
        if n == 1 || threads == 1 || cfg!(target_arch = "wasm32") {
            (0..n).for_each(tile);
            return Ok(());
        }
        #[cfg(not(any(target_arch = "wasm32", miri)))]
        if super::pool::share(threads, n, &tile) {
            return Ok(());
        }
        (0..n).into_par_iter().for_each(tile);
        Ok(())
    }

    pub(super) fn read(&self, from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>> {
        self.count(|c| c.reads += 1);
        let copy = |(t, n): &(&Tensor, usize)| {
            let mut bytes = memory::copied(&buffer(t).bytes()[..*n], "a tensor that is read")?;
            // Behind the elements there may be a guard.
            restore(t, &mut bytes[..t.bytes().min(*n)]);
            Ok(bytes)
        };
        from.iter().map(copy).collect()
    }

    pub(super) fn arrange(&self, t: &mut Tensor) {
        let n = t.shape.dims().first().copied().unwrap_or(0);
        if n == 0 || t.elements() == 0 || !n.is_multiple_of(LANES) || t.layout != Layout::Rows {
            return;
        }
        let even = (t.elements() / n).is_multiple_of(2);
        t.layout = match t.dtype {
            DType::BF16 if even && self.has(Need::Avx512Bf16) => Layout::PairPanels,
            _ => Layout::Panels,
        };
        let (bytes, layout, size) = (t.bytes(), t.layout, t.dtype.size());
        layout.arrange(&mut buffer_mut(t).bytes_mut()[..bytes], n, size);
    }
}

/// A cache line: buffers start on one, so vector loads of whole rows do not straddle.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

/// A tensor's memory.
pub(crate) enum Buffer {
    Lines(Vec<Line>),
    /// From `start` on; in pages of 2 MiB where the system has them: a large tensor in small pages spends more time on
    /// finding its pages than on arithmetic, and how much differs from run to run.
    Pages {
        map: MmapMut,
        start: usize,
    },
}

impl Buffer {
    fn new(bytes: usize) -> Result<Buffer> {
        if let Some(pages) = Buffer::huge(bytes) {
            return Ok(pages);
        }
        let n = bytes.div_ceil(size_of::<Line>());
        let mut lines = Vec::new();
        lines
            .try_reserve_exact(n)
            .map_err(|_| Error::device("cpu", format!("out of memory: {bytes} bytes were wanted")))?;
        lines.resize(n, Line::zeroed());
        Ok(Buffer::Lines(lines))
    }

    fn huge(bytes: usize) -> Option<Buffer> {
        const PAGE: usize = 2 << 20;
        if bytes < PAGE {
            return None;
        }
        let map = MmapMut::map_anon(bytes.checked_add(PAGE)?).ok()?;
        let start = map.as_ptr().align_offset(PAGE);
        #[cfg(target_os = "linux")]
        {
            // Whole ones: what begins another page would have all of it, a tenth of a model's memory. A kernel that was
            // built without huge pages says no, and small ones do.
            let whole = bytes / PAGE * PAGE;
            let _ = map.advise_range(memmap2::Advice::HugePage, start, whole);
            let rest = start + whole;
            let _ = map.advise_range(memmap2::Advice::NoHugePage, rest, map.len() - rest);
        }
        Some(Buffer::Pages { map, start })
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Lines(lines) => bytemuck::cast_slice(lines),
            Buffer::Pages { map, start } => &map[*start..],
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Lines(lines) => bytemuck::cast_slice_mut(lines),
            Buffer::Pages { map, start } => &mut map[*start..],
        }
    }

    fn flag(&self) -> bool {
        self.bytes()[..4] != [0; 4]
    }
}

fn buffer_mut(t: &mut Tensor) -> &mut Buffer {
    let Storage::Cpu(buffer) = &mut t.storage else { unreachable!("a tensor of this device") };
    buffer
}

/// A matrix that is arranged in another way than a kernel takes, in rows.
fn in_rows(t: &Tensor) -> Result<Buffer> {
    let bytes = t.bytes();
    let mut rows = Buffer::new(bytes)?;
    let to = &mut rows.bytes_mut()[..bytes];
    to.copy_from_slice(&buffer(t).bytes()[..bytes]);
    restore(t, to);
    Ok(rows)
}

/// Brings bytes that stand as `t` does into rows.
fn restore(t: &Tensor, bytes: &mut [u8]) {
    if t.layout != Layout::Rows {
        t.layout.restore(bytes, t.shape.dims()[0], t.dtype.size());
    }
}

fn buffer(t: &Tensor) -> &Buffer {
    let Storage::Cpu(buffer) = &t.storage else { unreachable!("a tensor of this device") };
    buffer
}

/// What one call of a kernel does of the work: a range of each dimension. The tiles of a call are disjoint.
pub struct Tile(pub [Range<usize>; 3]);

/// A tensor as a kernel sees it.
#[derive(Clone, Copy)]
struct View {
    at: *mut u8,
    bytes: usize,
    dtype: DType,
    layout: Layout,
}

/// A matrix that a kernel reads.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    /// Its elements.
    pub of: &'a [T],
    /// Elements of a row.
    pub k: usize,
    /// How they stand: in rows, or as the kernel's source [takes](Source::arranged) them.
    pub layout: Layout,
}

/// What a kernel is called with: typed access to the tensors that its call reads and writes, and to its parameters.
pub struct Arguments<'a> {
    writes: [View; MOST_TENSORS],
    reads: [View; MOST_TENSORS],
    params: &'a [u8],
    work: [usize; 3],
    tensors: PhantomData<&'a Tensor>,
}

// SAFETY: the views point into tensors that the call borrows for as long as this lives. Tiles share the read
// views, and `Arguments::write` makes its callers promise disjoint ranges of the written ones.
unsafe impl Sync for Arguments<'_> {}

impl<'a> Arguments<'a> {
    fn new(call: Call<'a, '_>) -> Arguments<'a> {
        let none = View {
            at: std::ptr::NonNull::<Line>::dangling().as_ptr().cast(),
            bytes: 0,
            dtype: DType::F32,
            layout: Layout::Rows,
        };
        let (mut writes, mut reads) = ([none; MOST_TENSORS], [none; MOST_TENSORS]);
        for (view, t) in writes.iter_mut().zip(call.writes.iter_mut()) {
            let (bytes, dtype) = (t.bytes(), t.dtype);
            let at = buffer_mut(t).bytes_mut().as_mut_ptr();
            *view = View { at, bytes, dtype, layout: Layout::Rows };
        }
        for (view, t) in reads.iter_mut().zip(call.reads) {
            // Never written through: `Arguments::read` hands it out as a shared slice only.
            let at = buffer(t).bytes().as_ptr().cast_mut();
            *view = View { at, bytes: t.bytes(), dtype: t.dtype, layout: t.layout };
        }
        Arguments { writes, reads, params: call.params, work: call.work, tensors: PhantomData }
    }

    /// The work of the whole call, in units of the op.
    pub fn work(&self) -> [usize; 3] {
        self.work
    }

    /// The op's parameters.
    pub fn params<P: AnyBitPattern>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// The dtype of the `i`-th written tensor.
    pub fn write_dtype(&self, i: usize) -> DType {
        self.writes[i].dtype
    }

    /// The dtype of the `i`-th read tensor.
    pub fn read_dtype(&self, i: usize) -> DType {
        self.reads[i].dtype
    }

    /// The `i`-th read tensor as a matrix with rows of `k` elements.
    pub fn matrix<T: Pod>(&self, i: usize, k: usize) -> Matrix<'_, T> {
        Matrix { of: self.read(i), k, layout: self.reads[i].layout }
    }

    /// All of the `i`-th read tensor, row by row.
    pub fn read<T: Pod>(&self, i: usize) -> &[T] {
        let View { at, bytes, .. } = self.reads[i];
        // SAFETY: the call borrows the tensor, whose buffer is `bytes` long, cache-line aligned and initialised.
        bytemuck::cast_slice(unsafe { std::slice::from_raw_parts(at, bytes) })
    }

    /// Elements `range` of the `i`-th written tensor. Panics if there are not as many.
    ///
    /// # Safety
    /// While the slice lives, no other call of the kernel may hold an overlapping range of the same tensor, and neither
    /// may this one.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn write<T: Pod>(&self, i: usize, range: Range<usize>) -> &mut [T] {
        let View { at, bytes, .. } = self.writes[i];
        assert!(range.start <= range.end && range.end * size_of::<T>() <= bytes);
        // SAFETY: in bounds by the assertion, aligned and initialised as in `read`, unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(at.cast::<T>().add(range.start), range.len()) }
    }

    /// A pointer to element `at` of the `i`-th written tensor, for tiles that are not contiguous.
    ///
    /// # Safety
    /// As for [`write`](Self::write), for every element that is accessed through the pointer; and those must be in
    /// bounds.
    pub unsafe fn write_ptr<T: Pod>(&self, i: usize, at: usize) -> *mut T {
        debug_assert!(at * size_of::<T>() < self.writes[i].bytes);
        // SAFETY: in bounds by the caller's promise.
        unsafe { self.writes[i].at.cast::<T>().add(at) }
    }
}
