//! The WGSL executor: any GPU through [wgpu](https://wgpu.rs), with the WGSL that browsers take.
//!
//! Calls are encoded as they come and submitted in batches; nobody waits before a read. Their parameters lie
//! behind one another in one uniform buffer, at dynamic offsets; pipelines, bind groups and buffers are kept and used
//! again, so that a step of a run makes none. A gated call is an indirect dispatch (`wgpu/gated.rs`).

#[cfg(target_arch = "wasm32")]
mod browser;
mod buffers;
mod facts;
mod failure;
mod gated;
mod open;
pub mod prelude;
mod stamps;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use ::wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingResource, BindingType, BufferBinding, BufferBindingType, BufferSize,
    BufferUsages, CommandEncoder, ComputePass, ComputePipeline, ComputePipelineDescriptor, MapMode,
    PipelineCompilationOptions, PipelineLayout, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderRuntimeChecks, ShaderSource, ShaderStages,
};
pub(crate) use buffers::Buffer;
use buffers::{Id, Pool};
use failure::{Compiled, Failure, Later};
use gated::Gates;
use prelude::{Module, Variant};
pub use stamps::Stamp;
use stamps::Stamps;

use super::{Call, Choice, Code, Counters, Gate, Need, Source, Storage};
use crate::{DType, Error, Result, Tensor, memory};

/// An adapter, opened.
pub struct Wgpu {
    device: ::wgpu::Device,
    queue: ::wgpu::Queue,
    name: String,
    info: ::wgpu::AdapterInfo,
    limits: ::wgpu::Limits,
    features: ::wgpu::Features,
    /// Whether shaders run with all checks, as in a browser.
    checked: bool,
    /// Invocations of a subgroup, where that is one number.
    lanes: Option<u32>,
    pub(super) choice: Choice,
    counters: Cell<Counters>,
    failed: Failure,
    later: Later,
    pool: Pool,
    queued: RefCell<Queued>,
    pipelines: RefCell<HashMap<Key, ComputePipeline>>,
    layouts: RefCell<HashMap<(usize, usize), Layout>>,
    bind_groups: RefCell<HashMap<(usize, Vec<Id>), BindGroup>>,
    gates: RefCell<Gates>,
    stamps: RefCell<Stamps>,
    params: ::wgpu::Buffer,
    /// The last module of a text that is not trusted: its author will want to know what is wrong with it.
    unproven: RefCell<Option<Compiled>>,
}

/// What a compiler has to say.
pub(crate) struct Complaint {
    /// The file, and the line and the column in it, which count from 1.
    pub place: Option<(&'static str, usize, usize)>,
    pub message: String,
}

/// What is encoded and not yet submitted.
#[derive(Default)]
struct Queued {
    encoder: Option<CommandEncoder>,
    pass: Option<ComputePass<'static>>,
    /// Parameters of the calls among it, at multiples of `SLOT`.
    params: Vec<u8>,
    /// Bytes of uploads that wait for the next submission in memory of the driver's.
    uploads: usize,
}

/// What tells a pipeline from others: the source (by its address), and what the prelude makes of it.
type Key = (usize, DType, DType, Vec<u32>);

struct Layout {
    bindings: BindGroupLayout,
    pipeline: PipelineLayout,
}

/// Bytes between the parameters of two calls: what every adapter can take as an offset.
const SLOT: usize = super::MOST_PARAMS;
/// Calls that one submission takes: about a step of a small model.
const SLOTS: usize = 128;
/// Mesa's llvmpipe ends all loops of an invocation after so many turns together, without a word.
const TURNS: usize = 65535;
/// Uploads are submitted when they have become this large.
const UPLOADS: usize = 64 << 20;

impl Wgpu {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `wgpu:0 (llvmpipe (LLVM 15.0.6, 256 bits), vulkan)`
    pub(super) fn describe(&self) -> String {
        format!("{} ({}, {})", self.name, self.info.name, self.info.backend)
    }

    /// Whether it is a GPU. A software adapter, which runs shaders on the processor, is none.
    pub(super) fn is_gpu(&self) -> bool {
        self.info.device_type != ::wgpu::DeviceType::Cpu
    }

    pub(super) fn has(&self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Subgroups => self.features.contains(::wgpu::Features::SUBGROUP),
            Need::FixedSubgroups => self.lanes.is_some_and(|n| n >= 8),
            Need::CpuAdapter => !self.is_gpu() && self.lanes.is_some(),
            Need::Avx2 | Need::Avx512 | Need::Avx512Bf16 | Need::Sm80 => false,
        }
    }

    /// The adapter goes away, as when somebody pulls it out: from now on every verb that can fail does. This is how
    /// programs try what they do then.
    pub fn lose(&self) {
        self.device.destroy();
    }

    fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::device(&self.name, why)
    }

    /// Forgets what went wrong, and what was enqueued after it.
    pub(super) fn recover(&self) -> Result<()> {
        *self.queued.borrow_mut() = Queued::default();
        *self.gates.borrow_mut() = Gates::default();
        match self.failed.get() {
            Some(fault) if fault.lost => self.check(),
            _ => {
                self.failed.clear();
                Ok(())
            }
        }
    }

    /// What the compiler has to say about the last source that is not trusted: errors alone, each with its file and line.
    pub(crate) async fn complaints(&self) -> Vec<Complaint> {
        let Some(shader) = self.unproven.borrow().clone() else { return vec![] };
        let complaint = |m: ::wgpu::CompilationMessage| {
            let place = m.location.and_then(|at| {
                let (file, line) = shader.text().origin(at.line_number as usize)?;
                Some((file, line, at.line_position as usize))
            });
            Complaint { place, message: m.message }
        };
        shader.errors().await.into_iter().map(complaint).collect()
    }

    /// Whether everything went well so far.
    fn check(&self) -> Result<()> {
        match self.failed.get() {
            Some(_) => {
                // Whether the adapter is gone, wgpu says when it is asked.
                let _ = self.device.poll(::wgpu::PollType::Poll);
                Err(self.error(self.failed.get().map_or_else(String::new, |fault| fault.what)))
            }
            None => Ok(()),
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    // Memory

    pub(super) fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.count(|c| c.allocations += 1);
        let size = (bytes.max(16) as u64).next_multiple_of(16);
        let most = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        if size > most {
            let why = format!(
                "a tensor of {bytes} bytes: this adapter takes at most {most}; 16-bit operands, fewer or smaller clips, or the \
                 CPU would do"
            );
            return Err(self.error(why));
        }
        self.forget(self.pool.evicted());
        if let Some(buffer) = self.pool.take(size) {
            self.with_encoder(|encoder| encoder.clear_buffer(buffer.raw(), 0, None));
            self.gates.borrow_mut().written(buffer.id());
            return Ok(buffer);
        }
        let buffer = self.pool.make(&self.device, size);
        if !self.failed.get().is_some_and(|fault| fault.out_of_memory) {
            return Ok(buffer);
        }
        // Perhaps what was kept for later makes room.
        drop(buffer);
        self.failed.clear();
        self.pool.clear();
        self.forget(self.pool.evicted());
        let buffer = self.pool.make(&self.device, size);
        match self.failed.get() {
            Some(fault) if fault.out_of_memory => {
                self.failed.clear();
                Err(self.error(format!("out of memory: {bytes} bytes were wanted")))
            }
            _ => Ok(buffer),
        }
    }

    /// Lets go of what refers to buffers that are no more.
    fn forget(&self, gone: Vec<Id>) {
        if !gone.is_empty() {
            self.bind_groups.borrow_mut().retain(|(_, ids), _| !ids.iter().any(|id| gone.contains(id)));
            self.gates.borrow_mut().forget(&gone);
        }
    }

    pub(super) fn upload(&self, to: &Buffer, at: usize, bytes: &[u8]) {
        // What is encoded already must still see the old contents: an upload comes before the next submission.
        if self.queued.borrow().encoder.is_some() || self.queued.borrow().uploads > UPLOADS {
            self.submit();
        }
        self.queued.borrow_mut().uploads += bytes.len();
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        self.queue.write_buffer(to.raw(), at as u64, words);
        if !rest.is_empty() {
            // The rest of the last word belongs to nobody, and keeps what tests look for there.
            let mut word = [crate::tensor::POISON; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.queue.write_buffer(to.raw(), (at + words.len()) as u64, &word);
        }
        self.gates.borrow_mut().written(to.id());
    }

    // Calls

    /// Whether a source comes to its end.
    pub(super) fn fits(&self, source: &Source, call: &Call<'_, '_>) -> bool {
        let Code::Wgsl { turns, .. } = source.code else { unreachable!("a source of this language") };
        turns(call.loops) <= TURNS || !self.info.name.starts_with("llvmpipe")
    }

    pub(super) fn run(&self, source: &Source, call: Call<'_, '_>) -> Result<()> {
        self.check()?;
        let Code::Wgsl { tile, turns, .. } = source.code else { unreachable!("a source of this language") };
        let op = call.kernel.name;
        if !self.fits(source, &call) {
            let turns = turns(call.loops);
            return Err(self.error(format!(
                "{op}: loops of {turns} turns, this adapter ends them after {TURNS}; smaller pictures or the CPU would do"
            )));
        }
        let mut grid = [0u32; 3];
        for (grid, i) in grid.iter_mut().zip([2, 1, 0]) {
            let blocks = call.work[i].div_ceil(tile[i]);
            let most = self.limits.max_compute_workgroups_per_dimension;
            *grid = u32::try_from(blocks).ok().filter(|&n| n <= most).ok_or_else(|| {
                self.error(format!("{op}: {blocks} workgroups in a row, this adapter takes at most {most}"))
            })?;
        }
        if grid.contains(&0) {
            self.count(|c| c.launched += 1);
            return Ok(());
        }
        let buffers: Vec<&Buffer> =
            call.writes.iter().map(|t| &**t).chain(call.reads.iter().copied()).map(buffer).collect();
        let ids: Vec<Id> = buffers.iter().map(|b| b.id()).collect();
        let key = self.compile(source, &call)?;
        self.bind(call.writes.len(), &ids, &buffers);
        let indirect = match call.gate {
            Gate::Open => {
                self.count(|c| c.launched += 1);
                None
            }
            Gate::If(flag) => Some(self.gate(buffer(flag), grid, true)),
            Gate::Unless(flag) => Some(self.gate(buffer(flag), grid, false)),
        };
        // After the gate, which has parameters of its own: whoever pushes may submit what was pushed before.
        let at = self.push(call.params);
        let (pipelines, bind_groups) = (self.pipelines.borrow(), self.bind_groups.borrow());
        self.with_pass(|pass| {
            pass.set_pipeline(&pipelines[&key]);
            pass.set_bind_group(0, &bind_groups[&(call.writes.len(), ids)], &[at]);
            match &indirect {
                None => pass.dispatch_workgroups(grid[0], grid[1], grid[2]),
                Some((arguments, offset)) => pass.dispatch_workgroups_indirect(arguments, *offset),
            }
        });
        let mut gates = self.gates.borrow_mut();
        call.writes.iter().for_each(|t| gates.written(buffer(t).id()));
        Ok(())
    }

    /// Makes room for parameters, and returns where they are.
    fn push(&self, params: &[u8]) -> u32 {
        if self.queued.borrow().params.len() == SLOT * SLOTS {
            self.submit();
        }
        let staged = &mut self.queued.borrow_mut().params;
        let at = staged.len();
        staged.extend_from_slice(params);
        staged.resize(at + SLOT, 0);
        at as u32
    }

    /// Sees to it that there is a pipeline for a call, and returns its key.
    fn compile(&self, source: &Source, call: &Call<'_, '_>) -> Result<Key> {
        let (operands, output) = (call.operands(), call.output());
        let values = call.constants.iter().map(|(_, value)| *value).collect();
        let key = (std::ptr::from_ref(source) as usize, operands, output, values);
        if self.pipelines.borrow().contains_key(&key) {
            return Ok(key);
        }
        let Code::Wgsl { text, constants, .. } = source.code else { unreachable!("checked by run") };
        let variant = Variant {
            operands,
            output,
            shader_f16: self.features.contains(::wgpu::Features::SHADER_F16),
            lanes: self.lanes,
            constants: call.constants.to_vec(),
        };
        let module = Module::new(&variant, constants, text)?;
        let pipeline = self.pipeline(call.kernel.name, &module, call.writes.len(), call.reads.len());
        self.check()?;
        self.pipelines.borrow_mut().insert(key.clone(), pipeline);
        Ok(key)
    }

    fn pipeline(&self, name: &str, text: &Module, writes: usize, reads: usize) -> ComputePipeline {
        let module =
            ShaderModuleDescriptor { label: Some(name), source: ShaderSource::Wgsl(text.text().into()) };
        let module = match self.checked || !text.trusted() {
            true => self.device.create_shader_module(module),
            // SAFETY: by the promise that `Text::trusted` takes.
            false => unsafe {
                self.device.create_shader_module_trusted(module, ShaderRuntimeChecks::unchecked())
            },
        };
        self.failed.reword(|what| text.located(what));
        let compiled = Compiled::new(text.clone(), module.clone());
        self.later.compiled(&compiled);
        if !text.trusted() {
            *self.unproven.borrow_mut() = Some(compiled);
        }
        let mut layouts = self.layouts.borrow_mut();
        let layout =
            layouts.entry((writes, reads)).or_insert_with(|| Layout::new(&self.device, writes, reads));
        self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&layout.pipeline),
            module: &module,
            entry_point: Some(text.entry(name)),
            compilation_options: PipelineCompilationOptions {
                // Every source writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: self.checked,
                ..Default::default()
            },
            cache: None,
        })
    }

    /// Sees to it that there is a bind group for these buffers, written ones first.
    fn bind(&self, writes: usize, ids: &[Id], buffers: &[&Buffer]) {
        let key = (writes, ids.to_vec());
        if !self.bind_groups.borrow().contains_key(&key) {
            let group = self.group(writes, buffers.iter().map(|b| b.raw()));
            self.bind_groups.borrow_mut().insert(key, group);
        }
    }

    /// A bind group: buffers, written ones first, then the parameters.
    fn group<'b>(&self, writes: usize, buffers: impl Iterator<Item = &'b ::wgpu::Buffer>) -> BindGroup {
        let params = BindingResource::Buffer(BufferBinding {
            buffer: &self.params,
            offset: 0,
            size: BufferSize::new(SLOT as u64),
        });
        let resources = buffers.map(|b| b.as_entire_binding()).chain([params]);
        let entries: Vec<_> =
            resources.zip(0..).map(|(resource, binding)| BindGroupEntry { binding, resource }).collect();
        let layouts = self.layouts.borrow();
        let layout = &layouts[&(writes, entries.len() - 1 - writes)].bindings;
        self.device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    fn with_encoder<R>(&self, encode: impl FnOnce(&mut CommandEncoder) -> R) -> R {
        let mut queued = self.queued.borrow_mut();
        queued.pass = None;
        encode(queued.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default())))
    }

    fn with_pass<R>(&self, encode: impl FnOnce(&mut ComputePass<'static>) -> R) -> R {
        let queued = &mut *self.queued.borrow_mut();
        let encoder = &mut queued.encoder;
        encode(queued.pass.get_or_insert_with(|| {
            encoder
                .get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
                .begin_compute_pass(&Default::default())
                .forget_lifetime()
        }))
    }

    /// Sends off what is encoded. Does not wait.
    fn submit(&self) {
        let Queued { encoder, pass, params, .. } = std::mem::take(&mut *self.queued.borrow_mut());
        drop(pass);
        // In the queue's order: after earlier submissions have read theirs, before this one does.
        if !params.is_empty() {
            self.queue.write_buffer(&self.params, 0, &params);
        }
        self.queue.submit(encoder.map(CommandEncoder::finish));
    }

    // Reading

    pub(super) async fn read(&self, from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>> {
        self.count(|c| c.reads += 1);
        let from: Vec<_> = from.iter().map(|(t, n)| (buffer(t).raw(), *n)).collect();
        self.copy_back(&from).await
    }

    async fn copy_back(&self, from: &[(&::wgpu::Buffer, usize)]) -> Result<Vec<Vec<u8>>> {
        self.check()?;
        let padded = |n: usize| n.next_multiple_of(4) as u64;
        let total: u64 = from.iter().map(|(_, n)| padded(*n)).sum();
        if total == 0 {
            return Ok(vec![vec![]; from.len()]);
        }
        let staging = self.pool.staging(&self.device, total);
        self.with_encoder(|encoder| {
            let mut at = 0;
            for (buffer, n) in from.iter().filter(|(_, n)| *n > 0) {
                encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, padded(*n));
                at += padded(*n);
            }
        });
        self.submit();
        let mapped = Arrival::default();
        let arrived = mapped.clone();
        staging.slice(..total).map_async(MapMode::Read, move |result| arrived.set(result));
        self.wait()?;
        let mapped = mapped.await_it().await;
        // What is read is what was computed only if nothing failed on the way.
        self.later.settle(&self.device, &self.failed).await;
        self.check()?;
        mapped.map_err(|e| self.error(e))?;
        let mut all = vec![];
        {
            let view = staging.get_mapped_range(..total).map_err(|e| self.error(e))?;
            let mut at = 0;
            for (_, n) in from {
                all.push(memory::copied(&view[at..at + n], "a tensor that is read")?);
                at += n.next_multiple_of(4);
            }
        }
        staging.unmap();
        self.pool.keep_staging(staging);
        Ok(all)
    }

    /// Until all that was submitted is done. In a browser this returns at once, and whoever awaits a result waits.
    fn wait(&self) -> Result<()> {
        let polled = self.device.poll(::wgpu::PollType::wait_indefinitely());
        self.check()?;
        polled.map(|_| ()).map_err(|e| self.error(e))
    }

    pub(super) async fn counters(&self) -> Result<Counters> {
        let tally = self.settle().await?;
        let mut counters = self.counters.get();
        counters.launched += u64::from(tally[0]);
        counters.gated_off += u64::from(tally[1]);
        Ok(counters)
    }
}

impl Layout {
    fn new(device: &::wgpu::Device, writes: usize, reads: usize) -> Layout {
        let storage = |i| BufferBindingType::Storage { read_only: i >= writes };
        let entry = |i: usize| {
            let params = i == writes + reads;
            let ty = if params { BufferBindingType::Uniform } else { storage(i) };
            let ty = BindingType::Buffer { ty, has_dynamic_offset: params, min_binding_size: None };
            BindGroupLayoutEntry { binding: i as u32, visibility: ShaderStages::COMPUTE, ty, count: None }
        };
        let entries: Vec<_> = (0..=writes + reads).map(entry).collect();
        let bindings =
            device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        Layout { bindings, pipeline }
    }
}

fn buffer(t: &Tensor) -> &Buffer {
    let Storage::Wgpu(buffer) = &t.storage else { unreachable!("a tensor of this device") };
    buffer
}

/// A value that a callback brings: natively while the device is polled, in a browser when its event loop gets there.
struct Arrival<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Default for Arrival<T> {
    fn default() -> Self {
        Arrival(Arc::new(Mutex::new((None, None))))
    }
}

impl<T> Clone for Arrival<T> {
    fn clone(&self) -> Self {
        Arrival(self.0.clone())
    }
}

impl<T> Arrival<T> {
    fn set(&self, value: T) {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        state.0 = Some(value);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    async fn await_it(self) -> T {
        std::future::poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
            match state.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// A buffer of the executor's own.
fn own(device: &::wgpu::Device, label: &str, size: u64, usage: BufferUsages) -> ::wgpu::Buffer {
    device.create_buffer(&::wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    })
}
