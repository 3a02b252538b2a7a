//! What all integration tests share.
#![allow(dead_code)]

pub mod checkpoint;

use steep::Device;

/// The devices to test: those named in `STEEP_DEVICE` (comma-separated), or the CPU, the best adapter, the latter also
/// with no more than every browser has, and the first NVIDIA GPU.
///
/// A device that cannot be opened is skipped visibly, unless `STEEP_REQUIRE` names it: then the test fails.
pub fn devices() -> Vec<Device> {
    listen();
    let named = std::env::var("STEEP_DEVICE").unwrap_or_else(|_| "cpu,wgpu,wgpu:core,cuda".into());
    let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
    let open = |name: &str| match pollster::block_on(Device::open(name)) {
        Ok(device) => Some(device),
        Err(e) if required.split(',').any(|r| name.starts_with(r.trim()) && !r.is_empty()) => {
            panic!("STEEP_REQUIRE={required}, but {e}")
        }
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    };
    named.split(',').filter_map(open).collect()
}

/// Vulkan's validation layers (where they are installed) and wgpu say through `log` what they think of us. An error there
/// ends the tests.
fn listen() {
    struct Strict;
    impl log::Log for Strict {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() == log::Level::Error
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                eprintln!("{}: {}", record.target(), record.args());
                std::process::abort();
            }
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Strict).is_ok() {
        log::set_max_level(log::LevelFilter::Error);
    }
}
