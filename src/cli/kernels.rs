//! `steep kernels`

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use steep::cases;
use steep::device::cuda::UNITS;
use steep::device::cuda::modules::variants;
use steep::device::cuda::nvrtc::{Nvrtc, Unit, capability};
use steep::device::{Code, Need};
use steep::lab::counts::Counted;
use steep::lab::emulator::Emulator;
use steep::ops::ALL;
use steep::{DType, Device, Error, Result};

use super::counters::{Tools, data, show};
use super::try_::COUNTERS;

/// Compile every CUDA kernel, and print what each one uses
///
/// It takes NVRTC (from the CUDA toolkit, or the Python package nvidia-cuda-nvrtc, named in STEEP_NVRTC) but no GPU and no
/// driver: the result is machine code. "shared" counts the dynamic part, too; a spill is a byte that a thread puts into
/// memory because registers ran out. A source that needs a later GPU is left out: sm_75 has no tensor cores for bf16.
///
/// With --counters, the emulator executes every kernel instead, and counts what it does: sectors of global memory, conflicts of
/// banks, barriers, products of tensor cores, line by line, the worst first. From that follows an estimate of the least time on
/// two GPUs. It takes g++ on Linux; NVRTC and nvdisasm add the main loop's instructions.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep kernels --arch sm_80 --arch sm_90a --op attention
  steep kernels --counters --op take")]
pub struct Args {
    /// What to compile for; may be repeated
    #[arg(long, value_name = "ARCH", default_values = ["sm_80", "sm_90a"])]
    arch: Vec<String>,
    /// One op only, by name
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Count what the kernels do, in bf16 where they take it
    #[arg(long, conflicts_with = "arch")]
    counters: bool,
    /// Internal: count in this process, which has the emulator for a GPU
    #[arg(long, hide = true)]
    here: bool,
    /// Print an array of {kernel, source, variant, arch, registers, spills, stack, shared, warnings};
    /// with --counters of {op, source, dtype, case, counts, sums, estimates}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.here {
        return pollster::block_on(count_here(args));
    }
    if args.counters {
        super::setup::check_op(args.op.as_deref(), &[])?;
        return count(args);
    }
    let sources = sources();
    let mut names: Vec<&str> = sources.iter().map(|source| source.kernel).collect();
    names.dedup();
    if let Some(op) = args.op.as_ref().filter(|op| !names.contains(&op.as_str())) {
        return Err(Error::setting(format!("op `{op}`"), names.join(", ")));
    }
    let nvrtc = Nvrtc::open()?;
    if !args.json {
        let (major, minor) = nvrtc.version;
        super::say(&format!("NVRTC {major}.{minor}\n{}\n", line(&TITLES.map(str::to_string))))?;
    }
    let mut rows = vec![];
    for source in sources.iter().filter(|source| args.op.as_deref().is_none_or(|op| op == source.kernel)) {
        let takes =
            |arch: &&String| capability(arch).is_none_or(|capability| source.needs.met_by(capability));
        for arch in args.arch.iter().filter(takes) {
            super::go_on()?;
            let row = row(&nvrtc, source, arch)?;
            if !args.json {
                let cell = |title: &&str| row[*title].as_str().map_or(row[*title].to_string(), String::from);
                super::say(&format!("{}\n", line(&TITLES.each_ref().map(cell))))?;
                for warning in row["warnings"].as_array().into_iter().flatten() {
                    super::say(&format!("  {}\n", warning.as_str().unwrap_or_default()))?;
                }
            }
            rows.push(row);
        }
    }
    if args.json { super::say(&format!("{:#}\n", json!(rows))) } else { Ok(()) }
}

const TITLES: [&str; 8] = ["kernel", "source", "variant", "arch", "registers", "shared", "stack", "spills"];

fn line(cells: &[String; 8]) -> String {
    let [kernel, source, variant, arch, numbers @ ..] = cells;
    let numbers: String = numbers.iter().map(|n| format!(" {n:>9}")).collect();
    format!("{kernel:16} {source:10} {variant:16} {arch:8}{numbers}")
}

/// What is compiled, once for each architecture.
struct Entry {
    kernel: &'static str,
    source: &'static str,
    variant: String,
    needs: Need,
    unit: Unit,
    /// Dynamic shared memory, bytes.
    shared: usize,
}

/// Every variant of every source of every op, then the kernels that belong to none.
fn sources() -> Vec<Entry> {
    let of = |kernel: &'static steep::device::Kernel| {
        variants(kernel).into_iter().map(|v| Entry {
            kernel: kernel.name,
            source: v.source.label,
            variant: v.label,
            needs: v.source.needs,
            unit: v.unit,
            shared: v.shared,
        })
    };
    let own = UNITS.into_iter().map(|unit| Entry {
        kernel: unit.file.trim_end_matches(".cu"),
        source: "-",
        variant: "-".into(),
        needs: Need::Nothing,
        unit,
        shared: 0,
    });
    ALL.iter().copied().flat_map(of).chain(own).collect()
}

fn row(nvrtc: &Nvrtc, source: &Entry, arch: &str) -> Result<Value> {
    let compiled = nvrtc.compile(&source.unit, arch)?;
    let Some(usage) = compiled.usage() else {
        let why = format!("{} for {arch}: no resources in the log: {}", source.unit.file, compiled.log);
        return Err(Error::device("NVRTC", why));
    };
    Ok(json!({
        "kernel": source.kernel,
        "source": source.source,
        "variant": source.variant,
        "arch": arch,
        "registers": usage.registers,
        "spills": usage.spills,
        "stack": usage.stack,
        "shared": usage.shared as usize + source.shared,
        "warnings": compiled.warnings(),
    }))
}

/// Starts a process that has the emulator for a GPU, and prints what it counts.
fn count(args: &Args) -> Result<()> {
    let emulator = {
        let _busy = super::progress::busy("building the emulator", false);
        Emulator::open()?
    };
    let failed = |e: std::io::Error| Error::file("steep itself", e);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["kernels", "--counters", "--here"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.args(args.op.iter().flat_map(|op| ["--op", op]));
    command.envs(emulator.environment()).env("STEEP_CACHE", emulator.folder().join("cubins"));
    command.env(COUNTERS, emulator.scratch("counters"));
    let mut child = command.spawn().map_err(failed)?;
    let tools = Tools::find();
    if let Some(note) = tools.note().filter(|_| !args.json) {
        super::say(&format!("{note}\n"))?;
    }
    let mut all = vec![];
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        super::go_on()?;
        let Ok(counted) = serde_json::from_str::<Counted>(&line.map_err(failed)?) else { continue };
        let source = ALL.iter().filter(|kernel| kernel.name == counted.op).flat_map(|kernel| kernel.cuda);
        let Some(Code::Cuda(code)) = source.clone().find(|s| s.label == counted.source).map(|s| &s.code)
        else {
            continue;
        };
        let estimates = tools.estimates(&counted.counts, &code.text)?;
        if !args.json {
            super::say(&show(&counted, &estimates))?;
        }
        all.push(data(&counted, &estimates));
    }
    if !child.wait().map_err(failed)?.success() {
        return Err(Error::device("emulator", "it ended before all was counted; its complaint is above"));
    }
    if args.json { super::say(&format!("{:#}\n", json!(all))) } else { Ok(()) }
}

/// In that process: a line of JSON for each source.
async fn count_here(args: &Args) -> Result<()> {
    let file =
        std::env::var_os(COUNTERS).ok_or_else(|| Error::setting("--here", "a process of steep's own"))?;
    let device = Device::open("cuda").await?;
    if !device.is_emulated() {
        return Err(Error::device("emulator", format!("found {} in its place", device.describe())));
    }
    let wanted = |op: &&cases::Op| args.op.as_deref().is_none_or(|name| name == op.kernel.name);
    for op in cases::ALL.iter().filter(wanted) {
        let dtype = if op.dtypes.contains(&DType::BF16) { DType::BF16 } else { DType::F32 };
        for source in op.kernel.cuda {
            if let Some(counted) =
                Counted::first(&device, op.counted(dtype), source.label, file.as_ref()).await?
            {
                super::say(&format!("{}\n", json!(counted)))?;
            }
        }
    }
    Ok(())
}
