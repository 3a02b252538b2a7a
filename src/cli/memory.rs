//! Whether a run fits into this machine's memory, asked before it begins.

use steep::model::Footprint;
use steep::{Device, Error, Result};

/// An error where the run would take more than is free. What a GPU has is for its driver to say.
pub fn check(footprint: &Footprint, device: &Device) -> Result<()> {
    let on_host: Vec<(&str, u64)> = match device.is_gpu() {
        true => footprint.host.clone(),
        false => footprint.device.iter().chain(&footprint.host).copied().collect(),
    };
    let total = on_host.iter().fold(0u64, |all, (_, bytes)| all.saturating_add(*bytes));
    match available() {
        Some(free) if total > free => {
            let mut parts = on_host;
            parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            let parts: Vec<String> =
                parts.iter().take(4).map(|(what, bytes)| format!("{what} {}", size(*bytes))).collect();
            let what = format!("this run takes {} of memory ({} and less)", size(total), parts.join(", "));
            let wanted = format!(
                "at most the {} that are free here: smaller or shorter clips, or a smaller picture",
                size(free)
            );
            Err(Error::setting(what, wanted))
        }
        _ => Ok(()),
    }
}

/// Bytes, for people.
pub fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if bytes == u64::MAX => format!("more than {:.0} EB", b / 1e18),
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b => format!("{:.1} MB", b / 1e6),
    }
}

/// The memory that this process may still take, in bytes: what the system has free, less where a limit is set. None where
/// that is not known.
fn available() -> Option<u64> {
    let number = |text: &str| text.split_whitespace().next()?.parse::<u64>().ok();
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| number(line.strip_prefix(key)?))
    };
    let kibi = |file, key| Some(line(file, key)?.saturating_mul(1024));
    let free = kibi("/proc/meminfo", "MemAvailable:")
        .map(|free| free.saturating_add(kibi("/proc/meminfo", "SwapFree:").unwrap_or(0)));
    let taken = kibi("/proc/self/status", "VmSize:").unwrap_or(0);
    // As `ulimit -v` sets it.
    let limit = line("/proc/self/limits", "Max address space").map(|limit| limit.saturating_sub(taken));
    // A container's.
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| number(&text));
    [free, limit, group].into_iter().flatten().min()
}
