//! The CUDA executor: NVIDIA GPUs, through the driver and NVRTC, both looked for while the program runs.
//!
//! One stream. Calls wait in a queue until somebody reads, uploads or sets a mark; the calls of a step that comes again
//! go as one graph (`cuda/queue.rs`). A gated call looks at the flag when it begins and ends there if it is not
//! wanted; in a graph, a conditional node leaves many such calls out at once (`cuda/condition.rs`). Kernels are compiled
//! at their first use and kept on disk (`cuda/modules.rs`, `cuda/kept.rs`); pipelines, graphs and buffers are kept, so
//! that a step of a run allocates nothing and waits for nothing.
//!
//! A GPU that is opened has run a kernel (`cuda/trial.rs`): where driver, compiler and GPU do not fit each other, it is
//! not opened, and the error says why.

mod condition;
mod kept;
mod memory;
pub mod modules;
pub mod nvrtc;
mod queue;
mod trial;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use condition::Graphs;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
pub(crate) use memory::Buffer;
use memory::Context;
use modules::{Function, Key};
use nvrtc::Nvrtc;
use queue::{GateArgument, Launch, Queue};
pub use trial::UNITS;

use super::{Call, Choice, Code, Counters, Facts, Gate, Mark, Need, Source, Storage};
use crate::memory::filled;
use crate::{Error, Result, Tensor};

/// A GPU, opened.
pub struct Cuda {
    name: String,
    model: String,
    /// Of the driver: 12040 is 12.4.
    version: i32,
    capability: (i32, i32),
    /// What kernels are compiled for; see [`Nvrtc::target`].
    target: String,
    /// Bytes of shared memory that a block can have.
    most_shared: usize,
    /// Of a grid, along x, y and z.
    most_blocks: [u32; 3],
    multiprocessors: usize,
    choice: Choice,
    counters: Cell<Counters>,
    failed: RefCell<Option<String>>,
    /// Ops of the calls since the last time the host waited: one of them is at fault if something is.
    since: RefCell<Vec<&'static str>>,
    /// `STEEP_SYNC=1`: waits after each call, so that a fault is found where it happens.
    careful: bool,
    queue: RefCell<Queue>,
    functions: RefCell<HashMap<Key, Function>>,
    nvrtc: Nvrtc,
    /// Of the gated calls: how many ran, and how many did not.
    tally: Buffer,
    stream: sys::CUstream,
    context: Rc<Context>,
}

/// An event in the stream.
pub struct Stamp {
    event: sys::CUevent,
    context: Rc<Context>,
}

impl Drop for Stamp {
    fn drop(&mut self) {
        if self.context.enter().is_ok() && !self.event.is_null() {
            // SAFETY: made by `mark`.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}

/// What the emulator in `emulator/` calls the GPU that it poses as.
const EMULATOR: &str = "emulator";
const NO_DRIVER: &str = "no CUDA driver: install NVIDIA's (it brings libcuda), or take --device wgpu or cpu";
/// As the driver counts: 12.4.
const OLDEST: i32 = 12040;

/// The version of the driver, as the driver counts, once it is loaded and asked to begin; or what to install.
fn driver(name: &str) -> Result<i32> {
    let error = |why: String| Error::device(name, why);
    // SAFETY: looks for the library by NVIDIA's name for it. Without it, every other call would panic.
    if !unsafe { sys::is_culib_present() } {
        return Err(error(NO_DRIVER.into()));
    }
    result::init().map_err(|e| error(format!("{}: is there an NVIDIA GPU?", words(e))))?;
    let mut version = 0;
    // SAFETY: an integer to write to.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(|e| error(words(e)))?;
    if version < OLDEST {
        let why = format!(
            "the driver is for CUDA {}.{}: wanted 12.4 or later",
            version / 1000,
            version % 1000 / 10
        );
        return Err(error(why));
    }
    Ok(version)
}

/// What the driver calls an error.
fn words(e: DriverError) -> String {
    let word =
        |text: Result<&std::ffi::CStr, DriverError>| text.ok().map(|t| t.to_string_lossy().into_owned());
    match (word(e.error_string()), word(e.error_name())) {
        (Some(what), Some(name)) => format!("{what} ({name})"),
        _ => format!("driver status {}", e.0 as u32),
    }
}

impl Cuda {
    /// Opens `cuda` or `cuda:N`.
    pub(super) fn open(name: &str) -> Result<Cuda> {
        let graphs = Graphs::wanted()?;
        let cuda = Cuda::start(name)?;
        cuda.try_kernel()?;
        if graphs == Graphs::Plain || cuda.careful {
            return Ok(cuda);
        }
        match cuda.try_condition() {
            Ok(condition) => cuda.queue.borrow_mut().condition = Some(condition),
            // What goes wrong on the GPU itself, the driver does not forgive.
            Err(e) if graphs == Graphs::Conditional || cuda.wait().is_err() => return Err(e),
            Err(_) => {}
        }
        Ok(cuda)
    }

    fn start(name: &str) -> Result<Cuda> {
        let number = name.split_once(':').map_or("0", |(_, number)| number);
        let index: usize =
            number.parse().map_err(|_| Error::device(format!("`{name}`"), "wanted cuda or cuda:N"))?;
        let version = driver(name)?;
        let error = |e: DriverError| Error::device(name, words(e));
        let count = result::device::get_count().map_err(error)? as usize;
        if index >= count {
            let why = match count {
                0 => "no NVIDIA GPU".to_string(),
                n => format!("no such GPU: wanted 0 to {}", n - 1),
            };
            return Err(Error::device(name, why));
        }
        let device = result::device::get(index as i32).map_err(error)?;
        // SAFETY: the driver has just named the device.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map_err(error);
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability < (7, 5) {
            let (major, minor) = capability;
            let why = format!("compute capability {major}.{minor}: wanted 7.5 (Turing) or later");
            return Err(Error::device(name, why));
        }
        let nvrtc = Nvrtc::for_driver(version)?;
        let target = nvrtc.target(capability)?;
        let context = Rc::new(Context::new(device).map_err(error)?);
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(error)?;
        let tally = context.take(8).map_err(error)?;
        // SAFETY: eight bytes that were just allocated.
        unsafe { result::memset_d8_async(tally.at, 0, 8, stream) }.map_err(error)?;
        Ok(Cuda {
            name: format!("cuda:{index}"),
            model: result::device::get_name(device).map_err(error)?,
            version,
            capability,
            target,
            most_shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?
                as usize,
            most_blocks: [
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)? as u32,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)? as u32,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)? as u32,
            ],
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1) as usize,
            choice: Choice::default(),
            counters: Cell::default(),
            failed: RefCell::default(),
            since: RefCell::default(),
            careful: std::env::var("STEEP_SYNC").is_ok_and(|value| value == "1"),
            queue: RefCell::default(),
            functions: RefCell::default(),
            nvrtc,
            tally,
            stream,
            context,
        })
    }

    /// Every GPU that the driver has, or why it cannot be opened; each is opened when it is asked for.
    pub(super) fn all() -> impl Iterator<Item = Result<Cuda>> {
        let count = driver("cuda").map(|_| result::device::get_count().unwrap_or(0));
        (0..count.unwrap_or(0)).map(|i| Cuda::open(&format!("cuda:{i}")))
    }

    pub(super) fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `cuda:0 (NVIDIA H100 80GB HBM3, sm_90a, NVRTC 13.0)`
    pub(super) fn describe(&self) -> String {
        let (major, minor) = self.nvrtc.version;
        format!("{} ({}, {}, NVRTC {major}.{minor})", self.name, self.model, self.target)
    }

    pub(super) fn facts(&self) -> Facts {
        let facts = Facts {
            hardware: self.model.clone(),
            backend: "cuda".into(),
            driver: format!("CUDA {}.{}", self.version / 1000, self.version % 1000 / 10),
            features: vec![
                self.target.clone(),
                format!("NVRTC {}.{}", self.nvrtc.version.0, self.nvrtc.version.1),
            ],
            clock: "device",
            ..Facts::default()
        };
        facts.limits(&[("maxComputeWorkgroupStorageSize", self.most_shared as u64)])
    }

    pub(super) fn has(&self, need: Need) -> bool {
        need.met_by(self.capability)
    }

    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    pub(super) fn is_emulated(&self) -> bool {
        self.model == EMULATOR
    }

    // Errors

    /// Forgets what went wrong. A GPU does not forgive a kernel's fault, an emulated one does.
    pub(super) fn recover(&self) -> Result<()> {
        if let Some(why) = self.failed.take()
            && !self.is_emulated()
        {
            return Err(self.fail(why));
        }
        self.queue.borrow_mut().forget();
        self.since.borrow_mut().clear();
        self.context.sweep();
        Ok(())
    }

    fn error(&self, why: impl fmt::Display) -> Error {
        Error::device(&self.name, why)
    }

    /// What the driver said about an op.
    fn check<T>(&self, op: &str, result: Result<T, DriverError>) -> Result<T> {
        result.map_err(|e| self.error(format!("{op}: {}", words(e))))
    }

    /// Whether everything went well so far.
    fn healthy(&self) -> Result<()> {
        match &*self.failed.borrow() {
            Some(why) => Err(self.error(why)),
            None => Ok(()),
        }
    }

    /// From now on, every verb that can fail says so.
    fn fail(&self, why: String) -> Error {
        self.error(self.failed.borrow_mut().get_or_insert(why))
    }

    /// Makes this thread the GPU's.
    fn enter(&self) -> Result<()> {
        self.check("the context", self.context.enter())
    }

    /// Everything that was enqueued into the stream.
    fn flush(&self) -> Result<()> {
        self.healthy()?;
        self.enter()?;
        let mut queue = self.queue.borrow_mut();
        self.since.borrow_mut().extend(queue.ops());
        queue.flush(self.stream).map_err(|(op, e)| {
            let op = op.map_or_else(|| self.suspects(), str::to_string);
            self.fail(format!("{op}: {}", words(e)))
        })
    }

    /// The ops since the host last waited, each once.
    fn suspects(&self) -> String {
        let mut ops: Vec<_> = self.since.borrow().clone();
        ops.sort_unstable();
        ops.dedup();
        format!("one of {} (STEEP_SYNC=1 finds out which)", ops.join(", "))
    }

    /// Waits until the stream is empty.
    fn wait(&self) -> Result<()> {
        self.flush()?;
        // SAFETY: the stream lives as long as this.
        let done = unsafe { result::stream::synchronize(self.stream) };
        done.map_err(|e| {
            let of_one = |ops: &[&'static str]| match ops {
                [op] => op.to_string(),
                _ => self.suspects(),
            };
            let op = of_one(&self.since.borrow());
            self.fail(format!("{op}: {}", words(e)))
        })?;
        self.since.borrow_mut().clear();
        self.context.sweep();
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    // Verbs

    pub(super) fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.count(|c| c.allocations += 1);
        self.flush()?;
        let buffer = self.context.take(bytes).map_err(|e| {
            if e.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                let free = result::mem_get_info().map_or(0, |(free, _)| free);
                return self.error(format!("out of memory: {bytes} bytes were wanted, {free} are free"));
            }
            self.error(format!("a tensor of {bytes} bytes: {}", words(e)))
        })?;
        // SAFETY: as many bytes as were just allocated.
        self.check("a tensor's zeros", unsafe { result::memset_d8_async(buffer.at, 0, bytes, self.stream) })?;
        Ok(buffer)
    }

    pub(super) fn upload(&self, to: &Buffer, at: usize, bytes: &[u8]) -> Result<()> {
        // What was enqueued before must still see the old contents.
        self.flush()?;
        // SAFETY: they fit, the tensor's methods checked it. From memory that is not pinned, the driver has read everything
        // when it returns.
        self.check("an upload", unsafe { result::memcpy_htod_async(to.at + at as u64, bytes, self.stream) })
    }

    pub(super) fn run(&self, source: &'static Source, call: Call<'_, '_>) -> Result<()> {
        self.healthy()?;
        let Code::Cuda(code) = &source.code else { unreachable!("a source of this language") };
        let op = call.kernel.name;
        let grid = self.grid(code, &call)?;
        let flag = match call.gate {
            Gate::Open => None,
            Gate::If(flag) => Some((flag, 1)),
            Gate::Unless(flag) => Some((flag, 0)),
        };
        if flag.is_none() || grid.contains(&0) {
            self.count(|c| c.launched += 1);
        }
        if grid.contains(&0) {
            return Ok(());
        }
        if !code.text.trusted && !self.is_emulated() {
            let why =
                format!("{op}: {} is not trusted, and no GPU checks what a kernel does", code.text.file);
            return Err(self.error(why));
        }
        self.enter()?;
        let function = self.function(source, &call)?;
        let (flag, want) = flag.map_or((0, 0), |(flag, want)| (buffer(flag).at, want));
        let gate = GateArgument { flag, tally: self.tally.at, want, padding: 0 };
        let tensors = call.writes.iter().map(|t| &**t).chain(call.reads.iter().copied());
        let launch = Launch::new(function, grid, tensors.map(|t| buffer(t).at), call.params, gate);
        let full = self.queue.borrow_mut().push(launch);
        if self.careful {
            return self.wait();
        }
        if full { self.flush() } else { Ok(()) }
    }

    pub(super) fn read(&self, from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>> {
        self.count(|c| c.reads += 1);
        self.flush()?;
        let room = |(_, bytes): &(&Tensor, usize)| filled(*bytes, 0u8, "a tensor that is read");
        let mut all = from.iter().map(room).collect::<Result<Vec<_>>>()?;
        for ((tensor, _), bytes) in from.iter().zip(&mut all) {
            // SAFETY: no longer than the tensor; the host's memory stays where it is until `wait` returns.
            let copy = unsafe { result::memcpy_dtoh_async(bytes, buffer(tensor).at, self.stream) };
            copy.map_err(|e| self.fail(format!("{}: {}", self.suspects(), words(e))))?;
        }
        self.wait()?;
        Ok(all)
    }

    /// What goes wrong here, the next read reports.
    pub(super) fn mark(&self) -> Stamp {
        let mut stamp = Stamp { event: std::ptr::null_mut(), context: self.context.clone() };
        if self.flush().is_ok() {
            let made = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).and_then(|event| {
                stamp.event = event;
                // SAFETY: both live.
                unsafe { result::event::record(event, self.stream) }
            });
            if let Err(e) = made {
                self.fail(format!("a mark: {}", words(e)));
            }
        }
        stamp
    }

    pub(super) fn seconds(&self, marks: &[Mark]) -> Result<Vec<f64>> {
        self.wait()?;
        let event = |mark: &Mark| match mark {
            Mark::Cuda(stamp) => stamp.event,
            _ => unreachable!("a mark of this device"),
        };
        let between = |pair: &[Mark]| {
            // SAFETY: both were recorded, or `wait` had failed.
            let ms = unsafe { result::event::elapsed(event(&pair[0]), event(&pair[1])) };
            Ok(f64::from(self.check("a mark", ms)?) / 1e3)
        };
        marks.windows(2).map(between).collect()
    }

    pub(super) fn counters(&self) -> Result<Counters> {
        self.flush()?;
        let mut tally = [0u32; 2];
        // SAFETY: eight bytes, which stay where they are until `wait` returns.
        let copy = unsafe { result::memcpy_dtoh_async(&mut tally, self.tally.at, self.stream) };
        self.check("the tally", copy)?;
        self.wait()?;
        let mut counters = self.counters.get();
        counters.launched += u64::from(tally[0]);
        counters.gated_off += u64::from(tally[1]);
        Ok(counters)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // Graphs first: they belong to the context.
            drop(self.queue.take());
            // SAFETY: made by `open`; nobody else has it.
            unsafe {
                let _ = result::stream::synchronize(self.stream);
                let _ = result::stream::destroy(self.stream);
            }
        }
    }
}

fn buffer(t: &Tensor) -> &Buffer {
    let Storage::Cuda(buffer) = &t.storage else { unreachable!("a tensor of this device") };
    buffer
}
