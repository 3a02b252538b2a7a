//! Devices, and what they run: the whole contract between ops and executors.
//!
//! An op is data. A [`Kernel`] names it and lists its [`Source`]s, which are its implementations in Rust, WGSL and CUDA
//! C++; a [`Call`] says what one launch reads and writes and how much work there is. A [`Device`] picks the best source
//! that fits it and the call. No executor knows an op, so a new op changes no executor, and a new executor no op.
//!
//! Calls are enqueued and nobody waits for them. Only what hands numbers to the host waits: reading a tensor,
//! [`Device::seconds`] and [`Device::counters`].
//!
//! # An op of your own
//!
//! This one has a source for the CPU and one for every GPU that wgpu reaches. `examples/own_op` has a third, in CUDA C++,
//! keeps its texts in files, and is checked and timed.
//!
//! ```
//! use steep::device::cpu::{Arguments, Tile};
//! use steep::device::simd::Isa;
//! use steep::device::{Call, Gate, Kernel, Source, Text, cpu_sources};
//! use steep::{DType, Device, Result, Tensor};
//!
//! static SQUARE: Kernel = Kernel {
//!     name: "square",
//!     cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
//!     wgsl: &[Source::wgsl("naive", Text::new("square.wgsl", SHADER), [1, 1, 64])],
//!     cuda: &[],
//! };
//!
//! /// Tensors in the order of the call, then the parameters; the entry point is named as the kernel.
//! const SHADER: &str = "
//! @group(0) @binding(0) var<storage, read_write> y: array<f32>;
//! @group(0) @binding(1) var<storage, read> x: array<f32>;
//! @group(0) @binding(2) var<uniform> elements: u32;
//!
//! @compute @workgroup_size(64)
//! fn square(@builtin(global_invocation_id) id: vec3<u32>) {
//!   if id.x < elements { y[id.x] = x[id.x] * x[id.x]; }
//! }";
//!
//! #[inline(always)]
//! fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
//!     // SAFETY: tiles are disjoint ranges of y.
//!     let y = unsafe { args.write::<f32>(0, span.clone()) };
//!     y.iter_mut().zip(&args.read::<f32>(0)[span.clone()]).for_each(|(y, x)| *y = x * x);
//! }
//!
//! fn square(gate: Gate<'_>, y: &mut Tensor, x: &Tensor) -> Result<()> {
//!     x.expect("square", "x", DType::F32, *x.shape())?;
//!     y.expect("square", "y", DType::F32, *x.shape())?;
//!     let n = x.elements();
//!     Call::new(&SQUARE, gate, &mut [y], &[x]).params(&(n as u32)).work([1, 1, n]).run()
//! }
//!
//! # fn main() -> Result<()> {
//! for device in pollster::block_on(Device::all()) {
//!     # if matches!(device, Device::Cuda(_)) { continue }
//!     let x = Tensor::from_f32(&device, DType::F32, [3], &[1.0, 2.0, 3.0])?;
//!     let mut y = Tensor::zeros(&device, DType::F32, [3])?;
//!     square(Gate::Open, &mut y, &x)?;
//!     assert_eq!(pollster::block_on(y.read_f32())?, [1.0, 4.0, 9.0]);
//! }
//! # Ok(())
//! # }
//! ```

mod call;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda/absent.rs"]
pub mod cuda;
mod facts;
mod kernel;
mod layout;
#[cfg(not(any(target_arch = "wasm32", miri)))]
mod pool;
pub mod simd;
mod sum;
pub mod wgpu;

pub use call::{Call, Gate};
use call::{MOST_PARAMS, MOST_TENSORS};
pub use facts::Facts;
pub use kernel::{Code, CpuCode, CudaCode, Kernel, Need, Source, Text, Tiles};
pub(crate) use kernel::{cu, wgsl};
pub use layout::Layout;
pub use simd::cpu_sources;
pub(crate) use sum::evaluate;

use std::cell::Cell;
use std::rc::Rc;

use web_time::Instant;

use crate::{Error, Result, Tensor};

/// What browsers round their clocks to, in seconds.
pub(crate) const COARSE: f64 = 1e-4;

/// What a device has done so far.
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

impl Counters {
    /// What happened after `earlier`.
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            launched: self.launched - earlier.launched,
            gated_off: self.gated_off - earlier.gated_off,
            reads: self.reads - earlier.reads,
            allocations: self.allocations - earlier.allocations,
        }
    }
}

/// Where tensors live and ops run. Cheap to clone; belongs to one thread.
#[derive(Clone)]
pub enum Device {
    /// Multi-threaded, vectorised; the default where there is no GPU.
    Cpu(Rc<cpu::Cpu>),
    /// Any GPU, through Vulkan, Metal, DirectX 12 or a browser.
    Wgpu(Rc<wgpu::Wgpu>),
    /// An NVIDIA GPU.
    Cuda(Rc<cuda::Cuda>),
}

/// A moment in a device's queue; see [`Device::mark`].
pub enum Mark {
    /// The CPU runs a call as it is enqueued, so its moments are the host's.
    Cpu(Instant),
    /// A time stamp that the GPU writes when it gets there.
    Wgpu(wgpu::Stamp),
    /// An event in the stream.
    Cuda(cuda::Stamp),
}

/// The memory behind a tensor.
pub(crate) enum Storage {
    Cpu(cpu::Buffer),
    Wgpu(wgpu::Buffer),
    Cuda(cuda::Buffer),
}

impl Device {
    /// What [`open`](Self::open) takes, in words.
    pub const NAMES: &str = "auto, cpu, wgpu, wgpu:N, wgpu:core, wgpu:N:core, cuda or cuda:N";

    /// Opens a device by name:
    ///
    /// - `auto`: the best there is, a GPU if there is one (by CUDA, else by wgpu), else the CPU (a software renderer is
    ///   no GPU)
    /// - `cpu`; of its instruction sets no more than the environment's `STEEP_ISA` are used: portable, avx2, avx512 or
    ///   avx512_bf16
    /// - `cuda`, `cuda:N`: the first NVIDIA GPU, or the N-th as the driver counts them
    /// - `wgpu`, `wgpu:N`: the best adapter, or the N-th of [`all`](Self::all)
    /// - `wgpu:core`, `wgpu:N:core`: the same with no more than what WebGPU promises everywhere, so that what runs
    ///   there runs in a browser: no optional feature, the default limits, checked shaders
    pub async fn open(name: &str) -> Result<Device> {
        match name {
            "auto" => match cuda::Cuda::all().find_map(Result::ok) {
                Some(gpu) => Ok(Device::Cuda(Rc::new(gpu))),
                None => match wgpu::Wgpu::open_gpu().await {
                    Some(gpu) => Ok(Device::Wgpu(Rc::new(gpu))),
                    None => Device::open_cpu(),
                },
            },
            "cpu" => Device::open_cpu(),
            name if name.split(':').next() == Some("cuda") => {
                Ok(Device::Cuda(Rc::new(cuda::Cuda::open(name)?)))
            }
            name if name.split(':').next() == Some("wgpu") => {
                Ok(Device::Wgpu(Rc::new(wgpu::Wgpu::open(name).await?)))
            }
            _ => {
                let why = format!("unknown; wanted {}", Device::NAMES);
                Err(Error::device(format!("`{name}`"), why))
            }
        }
    }

    /// Every device of this machine that can be opened, best first.
    pub async fn all() -> Vec<Device> {
        Device::survey().await.into_iter().flatten().collect()
    }

    /// Every device of this machine, best first. One that cannot be opened is an [`Error::Device`] that says why, in its
    /// place.
    pub async fn survey() -> Vec<Result<Device>> {
        let wgpu = wgpu::Wgpu::all().await.into_iter().map(|w| Ok(Device::Wgpu(Rc::new(w?))));
        let mut all: Vec<Result<Device>> = wgpu.collect();
        let last_gpu = all.iter().rposition(|d| d.as_ref().is_ok_and(Device::is_gpu));
        all.insert(last_gpu.map_or(0, |last| last + 1), Device::open_cpu());
        all.splice(0..0, cuda::Cuda::all().map(|c| Ok(Device::Cuda(Rc::new(c?)))));
        all
    }

    /// The CPU. Always there. A wrong `STEEP_ISA`, of which [`open`](Self::open) makes an error, counts as not set.
    pub fn cpu() -> Device {
        Device::open_cpu().unwrap_or_else(|_| Device::Cpu(Rc::new(cpu::Cpu::new(cpu::Cpu::WIDEST))))
    }

    fn open_cpu() -> Result<Device> {
        Ok(Device::Cpu(Rc::new(cpu::Cpu::new(cpu::widest()?))))
    }

    /// Memory, all zero.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Storage> {
        match self {
            Device::Cpu(cpu) => Ok(Storage::Cpu(cpu.alloc(bytes)?)),
            Device::Wgpu(wgpu) => Ok(Storage::Wgpu(wgpu.alloc(bytes)?)),
            Device::Cuda(cuda) => Ok(Storage::Cuda(cuda.alloc(bytes)?)),
        }
    }

    /// Copies bytes to the device, `at` bytes into the tensor; they fit, the tensor's methods checked it. `at` is a
    /// multiple of 4.
    pub(crate) fn upload(&self, to: &mut Tensor, at: usize, bytes: &[u8]) -> Result<()> {
        match (self, &mut to.storage) {
            (_, Storage::Cpu(buffer)) => buffer.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes),
            (Device::Wgpu(wgpu), Storage::Wgpu(buffer)) => wgpu.upload(buffer, at, bytes),
            (Device::Cuda(cuda), Storage::Cuda(buffer)) => cuda.upload(buffer, at, bytes)?,
            _ => unreachable!("a tensor's storage is its device's"),
        }
        Ok(())
    }

    /// See [`Tensor::for_products`].
    pub(crate) fn arrange(&self, t: &mut Tensor) {
        if let Device::Cpu(cpu) = self {
            cpu.arrange(t);
        }
    }

    fn run(&self, call: Call<'_, '_>) -> Result<()> {
        let source = self.choose(&call)?;
        match self {
            Device::Cpu(cpu) => cpu.run(source, call),
            Device::Wgpu(wgpu) => wgpu.run(source, call),
            Device::Cuda(cuda) => cuda.run(source, call),
        }
    }

    /// Waits for all that was enqueued and copies back the first bytes of each tensor, as many as stand beside it.
    /// What went wrong on the device since the last read is this read's error.
    pub(crate) async fn read(&self, from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>> {
        match self {
            Device::Cpu(cpu) => cpu.read(from),
            Device::Wgpu(wgpu) => wgpu.read(from).await,
            Device::Cuda(cuda) => cuda.read(from),
        }
    }

    /// Enqueues a time stamp between the calls before and after it.
    pub fn mark(&self) -> Mark {
        match self {
            Device::Cpu(_) => Mark::Cpu(Instant::now()),
            Device::Wgpu(wgpu) => Mark::Wgpu(wgpu.mark()),
            Device::Cuda(cuda) => Mark::Cuda(cuda.mark()),
        }
    }

    /// The shortest time that [`marks`](Self::mark) can tell from none, in seconds: 0.1 ms in a browser, which rounds its
    /// clocks so that no page learns too much.
    pub fn clock(&self) -> f64 {
        match self {
            Device::Cpu(_) if cfg!(target_arch = "wasm32") => COARSE,
            Device::Cpu(_) => 1e-7,
            Device::Wgpu(wgpu) => wgpu.clock(),
            // As the driver's documentation of events has it.
            Device::Cuda(_) => 0.5e-6,
        }
    }

    /// Seconds from each mark to the next, on the device's own clock. Waits for the last one.
    pub async fn seconds(&self, marks: &[Mark]) -> Result<Vec<f64>> {
        match self {
            Device::Cpu(_) => {
                let between = |pair: &[Mark]| match (&pair[0], &pair[1]) {
                    (Mark::Cpu(from), Mark::Cpu(to)) => to.duration_since(*from).as_secs_f64(),
                    _ => f64::NAN,
                };
                Ok(marks.windows(2).map(between).collect())
            }
            Device::Wgpu(wgpu) => wgpu.seconds(marks).await,
            Device::Cuda(cuda) => cuda.seconds(marks),
        }
    }

    /// What the device has done so far. Waits for what was enqueued: only then is it known which gated calls ran.
    pub async fn counters(&self) -> Result<Counters> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.counters.get()),
            Device::Wgpu(wgpu) => wgpu.counters().await,
            Device::Cuda(cuda) => cuda.counters(),
        }
    }

    /// The name that opens it.
    pub fn name(&self) -> String {
        match self {
            Device::Cpu(_) => "cpu".into(),
            Device::Wgpu(wgpu) => wgpu.name().into(),
            Device::Cuda(cuda) => cuda.name().into(),
        }
    }

    /// What it is, for people: `cpu (2 threads, avx512)`.
    pub fn describe(&self) -> String {
        match self {
            Device::Cpu(cpu) => cpu.describe(),
            Device::Wgpu(wgpu) => wgpu.describe(),
            Device::Cuda(cuda) => cuda.describe(),
        }
    }

    /// What results say about it.
    pub fn facts(&self) -> Facts {
        match self {
            Device::Cpu(cpu) => cpu.facts(),
            Device::Wgpu(wgpu) => wgpu.facts(),
            Device::Cuda(cuda) => cuda.facts(),
        }
    }

    /// Goes on after a fault that left the device intact, such as a shader that it refused. What was enqueued since may
    /// not have run. A device that is lost stays so.
    pub fn forgive(&self) {
        if let Device::Wgpu(wgpu) = self {
            wgpu.forgive();
        }
    }

    /// Whether it is a GPU. A software adapter, which runs shaders on the processor, is none.
    pub fn is_gpu(&self) -> bool {
        match self {
            Device::Cpu(_) => false,
            Device::Wgpu(wgpu) => wgpu.is_gpu(),
            Device::Cuda(_) => true,
        }
    }

    /// The sources of `kernel` that this device can run, best first.
    pub fn sources(&self, kernel: &'static Kernel) -> impl Iterator<Item = &'static Source> {
        let device = self.clone();
        let all = match self {
            Device::Cpu(_) => kernel.cpu,
            Device::Wgpu(_) => kernel.wgsl,
            Device::Cuda(_) => kernel.cuda,
        };
        let more = self.choice().substitute.get().filter(|(of, _)| of.name == kernel.name);
        more.map(|(_, source)| source).into_iter().chain(all).filter(move |s| device.has(s.needs))
    }

    /// Whether sources with this need can run here.
    pub fn has(&self, need: Need) -> bool {
        match self {
            Device::Cpu(cpu) => cpu.has(need),
            Device::Wgpu(wgpu) => wgpu.has(need),
            Device::Cuda(cuda) => cuda.has(need),
        }
    }

    /// From now on one more source of an op, in the device's language, stands before its others, so that calls which it
    /// takes run it; `None` goes back to the crate's own.
    pub fn substitute(&self, source: Option<(&'static Kernel, &'static Source)>) {
        self.choice().substitute.set(source);
    }

    /// Forgets what went wrong on the device, as a kernel of somebody's that does not compile.
    ///
    /// # Errors
    ///
    /// If the device is gone, or can do no more in this process.
    pub fn recover(&self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Wgpu(wgpu) => wgpu.recover(),
            Device::Cuda(cuda) => cuda.recover(),
        }
    }

    /// Whether what it runs is checked access by access: an NVIDIA GPU that the crate's emulator poses as.
    pub fn is_emulated(&self) -> bool {
        matches!(self, Device::Cuda(cuda) if cuda.is_emulated())
    }

    /// From now on prefers sources with this label, for every op that has one; `None` goes back to the best.
    /// For tests and benches, which go through all of them.
    pub fn prefer(&self, label: Option<&'static str>) {
        self.choice().preferred.set(label);
    }

    /// The label of the source that ran last: not the preferred one, where that does not take the call's shape.
    pub fn ran(&self) -> Option<&'static str> {
        self.choice().ran.get()
    }

    fn choice(&self) -> &Choice {
        match self {
            Device::Cpu(cpu) => &cpu.choice,
            Device::Wgpu(wgpu) => &wgpu.choice,
            Device::Cuda(cuda) => cuda.choice(),
        }
    }

    /// The source that a call runs: the preferred one, else the first that suits it, of those that take it and fit the
    /// device; where it is known how long their tiles take, the one that is done first. One that was put in place of the
    /// others is not passed over because it does not fit, nor is the only one: running it tells why.
    fn choose(&self, call: &Call<'_, '_>) -> Result<&'static Source> {
        let taking: Vec<_> = self.sources(call.kernel).filter(|s| s.takes(call)).collect();
        let Choice { preferred, substitute, .. } = self.choice();
        let (preferred, substitute) = (preferred.get(), substitute.get().map(|(_, source)| source));
        let fits = |s: &Source| substitute.is_some_and(|own| std::ptr::eq(own, s)) || self.fits(s, call);
        let first = |wanted: &dyn Fn(&Source) -> bool| taking.iter().copied().find(|s| wanted(s) && fits(s));
        let source = first(&|s| Some(s.label) == preferred)
            .or_else(|| {
                let suiting = taking.iter().copied().filter(|s| s.suits(call) && fits(s));
                suiting.min_by_key(|s| s.cycles(call.work, self.multiprocessors()))
            })
            .or_else(|| first(&|_| true))
            .or_else(|| taking.first().copied());
        let source = source.ok_or_else(|| {
            Error::device(self.name(), format!("no source of `{}` runs here", call.kernel.name))
        })?;
        self.choice().ran.set(Some(source.label));
        Ok(source)
    }

    /// Of a GPU of NVIDIA's; of others nothing depends on how many there are.
    fn multiprocessors(&self) -> usize {
        match self {
            Device::Cuda(cuda) => cuda.multiprocessors(),
            Device::Cpu(_) | Device::Wgpu(_) => 1,
        }
    }

    /// Whether the device's limits let this source do the call.
    fn fits(&self, source: &Source, call: &Call<'_, '_>) -> bool {
        match self {
            Device::Cpu(_) => true,
            Device::Wgpu(wgpu) => wgpu.fits(source, call),
            Device::Cuda(cuda) => cuda.fits(source, call),
        }
    }

    fn is(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu(a), Device::Cpu(b)) => Rc::ptr_eq(a, b),
            (Device::Wgpu(a), Device::Wgpu(b)) => Rc::ptr_eq(a, b),
            (Device::Cuda(a), Device::Cuda(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Which sources run: the part of a device's state that all executors have.
#[derive(Default)]
pub(crate) struct Choice {
    preferred: Cell<Option<&'static str>>,
    substitute: Cell<Option<(&'static Kernel, &'static Source)>>,
    ran: Cell<Option<&'static str>>,
}
