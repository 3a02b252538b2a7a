//! What results say about a device, for whoever reads them elsewhere.

use std::collections::BTreeMap;

use serde::Serialize;

/// A device as results describe it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    /// The processor, adapter or GPU by its name.
    pub hardware: String,
    /// `cpu`, `cuda`, or what wgpu runs on: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// The driver and its version; empty where nobody tells, as in browsers.
    pub driver: String,
    /// Whether it computes on the processor.
    pub software: bool,
    /// What it can do besides what every device of its kind can: `avx512`, `SHADER_F16`, `sm_90a`.
    pub features: Vec<String>,
    /// Its limits, in WebGPU's names and units; none of a processor.
    pub limits: BTreeMap<String, u64>,
    /// What times it: `host` or `device`.
    pub clock: &'static str,
}

impl Facts {
    /// With limits of these names.
    pub(super) fn limits(self, limits: &[(&str, u64)]) -> Facts {
        let limits = limits.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        Facts { limits, ..self }
    }
}
