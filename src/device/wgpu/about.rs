//! What there is to know of an adapter, for records.

use std::collections::BTreeMap;

use ::wgpu::{AdapterInfo, DeviceType, Features, Limits};
use serde::Serialize;

/// An adapter, as records and reports name it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adapter {
    /// What it calls itself; in a browser, what the browser tells of it.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `webgpu`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software`, or `unknown`, as all GPUs are in a browser.
    pub kind: &'static str,
    /// The driver, where that is known.
    pub driver: String,
    /// The optional features that are used: `f16`, `subgroups`, `time stamps`.
    pub features: Vec<&'static str>,
    /// The limits that decide what runs, by WebGPU's names.
    pub limits: BTreeMap<&'static str, u64>,
}

impl Adapter {
    pub(super) fn new(info: &AdapterInfo, features: Features, limits: &Limits) -> Adapter {
        let known = [
            (Features::SHADER_F16, "f16"),
            (Features::SUBGROUP, "subgroups"),
            (Features::TIMESTAMP_QUERY, "time stamps"),
        ];
        let driver = format!("{} {}", info.driver, info.driver_info);
        Adapter {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            kind: match info.device_type {
                DeviceType::DiscreteGpu => "discrete",
                DeviceType::IntegratedGpu => "integrated",
                DeviceType::VirtualGpu => "virtual",
                DeviceType::Cpu => "software",
                DeviceType::Other => "unknown",
            },
            driver: driver.trim().into(),
            features: known
                .into_iter()
                .filter(|(f, _)| features.contains(*f))
                .map(|(_, name)| name)
                .collect(),
            limits: BTreeMap::from([
                ("maxBufferSize", limits.max_buffer_size),
                ("maxStorageBufferBindingSize", limits.max_storage_buffer_binding_size),
                ("maxStorageBuffersPerShaderStage", limits.max_storage_buffers_per_shader_stage.into()),
                ("maxComputeWorkgroupStorageSize", limits.max_compute_workgroup_storage_size.into()),
                ("maxComputeInvocationsPerWorkgroup", limits.max_compute_invocations_per_workgroup.into()),
                ("maxComputeWorkgroupsPerDimension", limits.max_compute_workgroups_per_dimension.into()),
            ]),
        }
    }
}
