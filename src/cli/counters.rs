//! What the emulator counted, in words and as data, with an estimate of what it means on two GPUs.

use serde_json::{Value, json};
use steep::device::Text;
use steep::device::cuda::nvrtc::{Nvrtc, Unit};
use steep::lab::counts::{Counted, Counts, Kind};
use steep::lab::estimate::{Bound, GPUS};
use steep::lab::sass::{Disassembler, Loop};
use steep::{Error, Result};

/// What finds the main loop in machine code, where it is there.
pub struct Tools(Result<(Nvrtc, Disassembler)>);

impl Tools {
    pub fn find() -> Tools {
        Tools(Nvrtc::open().and_then(|nvrtc| Ok((nvrtc, Disassembler::find()?))))
    }

    /// What is missing, in words.
    pub fn note(&self) -> Option<String> {
        self.0.as_ref().err().map(|e| format!("main loops: not looked at: {e}"))
    }

    /// A bound for each GPU, with the main loop that it is worked out from.
    pub fn estimates(&self, counts: &Counts, text: &Text) -> Result<Vec<(Bound, Option<Loop>)>> {
        let of = |gpu| {
            let main = self.main_loop(counts, text, gpu)?;
            Ok((Bound::of(counts, gpu, main.as_ref()), main))
        };
        GPUS.iter().map(of).collect()
    }

    fn main_loop(
        &self,
        counts: &Counts,
        text: &Text,
        gpu: &steep::lab::estimate::Gpu,
    ) -> Result<Option<Loop>> {
        let Ok((nvrtc, disassembler)) = &self.0 else { return Ok(None) };
        let defines =
            counts.defines.split(' ').filter(|define| !define.is_empty()).map(str::to_string).collect();
        let unit = Unit { file: text.file, text: text.text, defines };
        match nvrtc.compile(&unit, gpu.arch) {
            Ok(compiled) => disassembler.main_loop(&compiled.code),
            // What does not compile, is told where machine code is.
            Err(Error::Device { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Lines that are shown of a kernel.
const LINES: usize = 8;

/// In words.
pub fn show(counted: &Counted, estimates: &[(Bound, Option<Loop>)]) -> String {
    let Counted { op, source, dtype, case, counts } = counted;
    let Counts { blocks, threads, read_bytes, written_bytes, .. } = counts;
    let mut text = format!(
        "counters: {op} ({source}), {dtype} {case}: {blocks} blocks of {threads} threads\n  at least {} read and {} written; \
         {:.0} % of what sectors bring is used; {:.2} rounds of shared memory for each that would do\n  {:.1} of 32 lanes \
         take part; {} barriers, at which warps wait {:.0} % of their time; {} mma, {} special\n",
        bytes(*read_bytes),
        bytes(*written_bytes),
        100.0 * counts.coalesced(),
        counts.conflicts(),
        32.0 * counts.active(),
        counts.count(Kind::Barrier),
        100.0 * counts.idle(),
        counts.count(Kind::Mma),
        counts.count(Kind::Special),
    );
    for row in counts.rows.iter().take(LINES) {
        let what = match row.kind {
            kind if kind.is_global() => format!("{:.1} sectors each", row.each()),
            kind if kind.is_shared() => format!("{:.1} rounds each", row.each()),
            Kind::Barrier => format!("waited for {:.0} %", 100.0 * row.idle as f64 / row.slots.max(1) as f64),
            _ => String::new(),
        };
        let least = match row.kind {
            kind if kind.is_global() || kind.is_shared() => {
                format!(", {:.1} would do", row.least as f64 / row.count.max(1) as f64)
            }
            _ => String::new(),
        };
        let (kind, count, lanes) = (row.kind.name(), row.count, row.active());
        text += &format!("  {}: {kind}, {count} times, {lanes:.0} lanes: {what}{least}\n", row.place)
            .replace(": \n", "\n");
    }
    if counts.rows.len() > LINES {
        text += &format!("  and {} lines more, no worse; --json has all\n", counts.rows.len() - LINES);
    }
    for (bound, main) in estimates {
        let Bound { gpu, arch, us, by, memory_us, cycles } = bound;
        let parts = cycles.named().map(|(name, cycles)| format!("{name} {cycles:.0}")).join(", ");
        text += &format!(
            "  {arch} ({gpu}), an estimate: {us:.2} µs, bound by {by}; memory {memory_us:.2} µs; cycles of a block: \
             {parts}\n"
        );
        if let Some(Loop { instructions, classes }) = main {
            let classes =
                classes.iter().map(|(class, n)| format!("{n} {class}")).collect::<Vec<_>>().join(", ");
            text += &format!("  {arch}: the main loop has {instructions} instructions: {classes}\n");
        }
    }
    text
}

fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        10_000..10_000_000 => format!("{:.1} KB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// As data: what was counted, with its sums and the estimates.
pub fn data(counted: &Counted, estimates: &[(Bound, Option<Loop>)]) -> Value {
    let counts = &counted.counts;
    let mut all = json!(counted);
    all["sums"] = json!({
        "coalesced": counts.coalesced(),
        "conflicts": counts.conflicts(),
        "active": counts.active(),
        "idle": counts.idle(),
        "barriers": counts.count(Kind::Barrier),
        "mma": counts.count(Kind::Mma),
        "special": counts.count(Kind::Special),
    });
    let estimates = estimates.iter().map(|(bound, main)| {
        let mut row = json!(bound);
        row["main_loop"] = json!(main);
        row
    });
    all["estimates"] = estimates.collect();
    all
}
