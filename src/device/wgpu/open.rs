//! Which adapter, and with which features and limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use ::wgpu::{
    Adapter, Backends, BufferUsages, DeviceDescriptor, DeviceType, ExperimentalFeatures, Features, Instance,
    InstanceDescriptor, InstanceFlags, Limits,
};

use super::failure::{Failure, Later, one_line};
use super::{SLOT, SLOTS, Wgpu, own};
use crate::device::Choice;
use crate::{Error, Result};

const NO_ADAPTER: &str = if cfg!(target_arch = "wasm32") {
    "no adapter: this browser has no WebGPU, or lets no page have it; wanted a current browser, or the device cpu"
} else {
    "no adapter: install a Vulkan driver (Mesa's mesa-vulkan-drivers renders on the CPU)"
};

/// Storage buffers that a source may bind: what WebGPU promises.
const STORAGE_BUFFERS: u32 = 8;

impl Wgpu {
    /// Opens `wgpu`, `wgpu:N`, `wgpu:core` or `wgpu:N:core`.
    pub(in crate::device) async fn open(name: &str) -> Result<Wgpu> {
        let parts: Vec<&str> = name.split(':').skip(1).collect();
        let (number, core) = match parts[..] {
            [] => ("0", false),
            ["core"] => ("0", true),
            [number] => (number, false),
            [number, "core"] => (number, true),
            _ => ("", false),
        };
        let index: usize = number.parse().map_err(|_| {
            Error::device(format!("`{name}`"), "wanted wgpu, wgpu:N, wgpu:core or wgpu:N:core")
        })?;
        let mut adapters = adapters(core).await;
        if adapters.is_empty() {
            return Err(Error::device(name, NO_ADAPTER));
        }
        if index >= adapters.len() {
            let last = adapters.len() - 1;
            return Err(Error::device(name, format!("no such adapter: wanted 0 to {last}")));
        }
        Wgpu::request(adapters.swap_remove(index), index, core).await
    }

    /// The first adapter that is a GPU, if it can be opened. In a browser, too, one that runs shaders on the processor is
    /// none: SwiftShader takes seventeen times as long for a step of the shipped model as the CPU's kernels in wasm.
    pub(in crate::device) async fn open_gpu() -> Option<Wgpu> {
        let adapter = adapters(false).await.into_iter().next()?;
        let is_gpu = adapter.get_info().device_type != DeviceType::Cpu;
        if is_gpu { Wgpu::request(adapter, 0, false).await.ok() } else { None }
    }

    /// Every adapter, GPUs first, or why it cannot be opened.
    pub(in crate::device) async fn all() -> Vec<Result<Wgpu>> {
        let mut all = vec![];
        for (index, adapter) in adapters(false).await.into_iter().enumerate() {
            all.push(Wgpu::request(adapter, index, false).await);
        }
        all
    }

    async fn request(adapter: Adapter, index: usize, core: bool) -> Result<Wgpu> {
        let name = if core { format!("wgpu:{index}:core") } else { format!("wgpu:{index}") };
        #[allow(unused_mut)]
        let mut info = adapter.get_info();
        #[cfg(target_arch = "wasm32")]
        if info.name.is_empty() {
            info.name = super::browser::adapter().await;
        }
        let useful = Features::SHADER_F16 | Features::SUBGROUP | Features::TIMESTAMP_QUERY;
        let features = if core { Features::empty() } else { adapter.features() & useful };
        let limits = if core { Limits::default() } else { adapter.limits() };
        if limits.max_storage_buffers_per_shader_stage < STORAGE_BUFFERS {
            let has = limits.max_storage_buffers_per_shader_stage;
            let why = format!("{} binds {has} storage buffers: wanted {STORAGE_BUFFERS}", info.name);
            return Err(Error::device(name, why));
        }
        let descriptor = DeviceDescriptor {
            label: Some("steep"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: ExperimentalFeatures::disabled(),
            memory_hints: Default::default(),
            trace: Default::default(),
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) =
            opened.map_err(|e| Error::device(&name, format!("{}: {}", info.name, one_line(&e))))?;

        let failed = Failure::default();
        let report = failed.clone();
        device.on_uncaptured_error(Arc::new(move |e: ::wgpu::Error| report.set(e.into())));
        let report = failed.clone();
        device.set_device_lost_callback(move |_, why| {
            let why = if why.is_empty() { "no reason given" } else { why.trim_end_matches('.') };
            report.lost(format!("lost: {}", one_line(&why)));
        });
        let fixed = info.subgroup_min_size == info.subgroup_max_size;
        let lanes = (features.contains(Features::SUBGROUP) && fixed).then_some(info.subgroup_min_size);
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let later = Later::default();
        later.begin(&device);
        Ok(Wgpu {
            params: own(&device, "params", (SLOT * SLOTS) as u64, usage),
            device,
            queue,
            name,
            info,
            limits,
            features,
            checked: core,
            lanes,
            choice: Choice::default(),
            counters: Cell::default(),
            failed,
            later,
            pool: Default::default(),
            queued: RefCell::default(),
            pipelines: RefCell::new(HashMap::new()),
            layouts: RefCell::new(HashMap::new()),
            bind_groups: RefCell::new(HashMap::new()),
            gates: RefCell::default(),
            stamps: RefCell::default(),
            unproven: RefCell::default(),
        })
    }
}

/// Every adapter, best first. Never wgpu's `noop`, which computes nothing, and never OpenGL.
async fn adapters(core: bool) -> Vec<Adapter> {
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::PRIMARY;
    // Indirect arguments are the executor's own and in range: wgpu need not look at them before each dispatch.
    descriptor.flags.remove(InstanceFlags::VALIDATION_INDIRECT_CALL);
    // Nor do shaders carry their source along, which validation layers older than WGSL take for an error; and the layers
    // stay away unless the environment asks for them (WGPU_VALIDATION=1), in debug builds too.
    descriptor.flags.remove(InstanceFlags::DEBUG | InstanceFlags::VALIDATION);
    descriptor.flags = descriptor.flags.with_env();
    if core {
        descriptor.flags |= InstanceFlags::STRICT_WEBGPU_COMPLIANCE;
    }
    // wgpu takes it for granted that a browser has WebGPU.
    if cfg!(target_arch = "wasm32") && !::wgpu::util::is_browser_webgpu_supported().await {
        return vec![];
    }
    let mut all = Instance::new(descriptor).enumerate_adapters(Backends::PRIMARY).await;
    let rank = |adapter: &Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    all.sort_by_key(rank);
    all
}
