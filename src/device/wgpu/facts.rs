//! What is said about an adapter.

use ::wgpu::{DeviceType, Features};

use super::Wgpu;
use crate::device::Facts;

impl Wgpu {
    pub(in crate::device) fn facts(&self) -> Facts {
        let (info, limits) = (&self.info, &self.limits);
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        let driver: Vec<&str> = driver.into_iter().filter(|part| !part.is_empty()).collect();
        let stamps = self.features.contains(Features::TIMESTAMP_QUERY);
        let facts = Facts {
            hardware: info.name.clone(),
            backend: info.backend.to_string(),
            driver: driver.join(" "),
            software: info.device_type == DeviceType::Cpu,
            features: self.features.iter_names().map(|(name, _)| name.to_string()).collect(),
            clock: if stamps { "device" } else { "host" },
            ..Facts::default()
        };
        facts.limits(&[
            ("maxBufferSize", limits.max_buffer_size),
            ("maxStorageBufferBindingSize", limits.max_storage_buffer_binding_size),
            ("maxStorageBuffersPerShaderStage", limits.max_storage_buffers_per_shader_stage.into()),
            ("maxComputeWorkgroupStorageSize", limits.max_compute_workgroup_storage_size.into()),
            ("maxComputeInvocationsPerWorkgroup", limits.max_compute_invocations_per_workgroup.into()),
            ("maxComputeWorkgroupsPerDimension", limits.max_compute_workgroups_per_dimension.into()),
            ("minSubgroupSize", info.subgroup_min_size.into()),
            ("maxSubgroupSize", info.subgroup_max_size.into()),
        ])
    }

    /// After a fault that is no loss, such as a shader that was refused: the device can be used again.
    pub(in crate::device) fn forgive(&self) {
        // Whether the adapter is gone, wgpu says when it is asked.
        let _ = self.device.poll(::wgpu::PollType::Poll);
        if self.failed.get().is_some_and(|fault| !fault.what.starts_with("lost: ")) {
            self.failed.clear();
        }
    }
}
