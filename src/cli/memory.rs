//! What memory a run takes, said before it begins, and whether this machine has it.

use steep::model::Footprint;
use steep::{Device, Error, Result};

/// What is taken where: on a GPU, and on the host. On the CPU, all of it is on the host.
fn places(footprint: &Footprint, device: &Device) -> [Vec<(&'static str, u64)>; 2] {
    match device.is_gpu() {
        true => [footprint.device.clone(), footprint.host.clone()],
        false => [vec![], footprint.device.iter().chain(&footprint.host).copied().collect()],
    }
}

fn sum(parts: &[(&str, u64)]) -> u64 {
    parts.iter().fold(0u64, |all, (_, bytes)| all.saturating_add(*bytes))
}

/// The parts and their sum.
pub fn parts(all: &[(&str, u64)]) -> String {
    let parts: Vec<String> = all.iter().map(|(what, bytes)| format!("{what} {}", size(*bytes))).collect();
    format!("{} ({})", size(sum(all)), parts.join(", "))
}

/// What a run will take, in one line of MB, beside what the program has by now; and of it, what the model and its cache
/// are made of.
pub fn plan(footprint: &Footprint, device: &Device) -> String {
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let [on_gpu, mut on_host] = places(footprint, device);
    let parts = ["weights", "activations", "residuals", "signal"];
    let parts = parts.map(|part| format!("{part} {}", mb(footprint.on_device(part)))).join(", ");
    on_host.extend(process("VmRSS:").map(|bytes| ("the program", bytes)));
    let here = mb(sum(&on_host));
    match on_gpu.is_empty() {
        true => format!("memory {here} MB: {parts}\n"),
        false => format!("memory {} MB on {}, {here} here: {parts}\n", mb(sum(&on_gpu)), device.name()),
    }
}

/// An error where the run would take more than is free. What a GPU has is for its driver to say.
pub fn check(footprint: &Footprint, device: &Device) -> Result<()> {
    let [_, on_host] = places(footprint, device);
    let total = sum(&on_host);
    match available() {
        Some(free) if total > free => {
            let mut parts = on_host;
            parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            let parts: Vec<String> =
                parts.iter().take(4).map(|(what, bytes)| format!("{what} {}", size(*bytes))).collect();
            let what = format!("this run takes {} of memory ({} and less)", size(total), parts.join(", "));
            let wanted = format!(
                "at most the {} that are free here: smaller clips, pictures or shapes, or fewer of them",
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
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b => format!("{:.1} MB", b / 1e6),
    }
}

/// A figure of this process, in bytes, where the system tells.
fn process(key: &str) -> Option<u64> {
    line("/proc/self/status", key).map(|kibi| kibi.saturating_mul(1024))
}

/// The number behind a key.
fn line(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| number(line.strip_prefix(key)?))
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse::<u64>().ok()
}

/// The memory that this process may still take, in bytes: what the system has free, less where a limit is set. None where
/// that is not known.
fn available() -> Option<u64> {
    let kibi = |file, key| Some(line(file, key)?.saturating_mul(1024));
    let free = kibi("/proc/meminfo", "MemAvailable:")
        .map(|free| free.saturating_add(kibi("/proc/meminfo", "SwapFree:").unwrap_or(0)));
    let taken = process("VmSize:").unwrap_or(0);
    // As `ulimit -v` sets it.
    let limit = line("/proc/self/limits", "Max address space").map(|limit| limit.saturating_sub(taken));
    // A container's.
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| number(&text));
    [free, limit, group].into_iter().flatten().min()
}
