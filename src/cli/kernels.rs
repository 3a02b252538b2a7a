//! `steep kernels`

use serde_json::{Value, json};
use steep::device::Need;
use steep::device::cuda::UNITS;
use steep::device::cuda::modules::variants;
use steep::device::cuda::nvrtc::{Nvrtc, Unit, capability};
use steep::ops::ALL;
use steep::{Error, Result};

/// Compile every CUDA kernel, and print what each one uses
///
/// It takes NVRTC (from the CUDA toolkit, or the Python package nvidia-cuda-nvrtc, named in STEEP_NVRTC) but no GPU and no
/// driver: the result is machine code. "shared" counts the dynamic part, too; a spill is a byte that a thread puts into
/// memory because registers ran out. A source that needs a later GPU is left out: sm_75 has no tensor cores for bf16.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep kernels --arch sm_80 --arch sm_90a --op attention")]
pub struct Args {
    /// What to compile for; may be repeated
    #[arg(long, value_name = "ARCH", default_values = ["sm_80", "sm_90a"])]
    arch: Vec<String>,
    /// One op only, by name
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Print an array of {kernel, source, variant, arch, registers, spills, stack, shared, warnings}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
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
