//! `steep kernels`

use serde_json::{Value, json};
use steep::device::cuda::modules::{Variant, variants};
use steep::device::cuda::nvrtc::Nvrtc;
use steep::ops::ALL;
use steep::{Error, Result};

/// Compile every CUDA kernel, and print what each one uses
///
/// It takes NVRTC (from the CUDA toolkit, or the Python package nvidia-cuda-nvrtc, named in STEEP_NVRTC) but no GPU and no
/// driver: the result is machine code. "shared" counts the dynamic part, too; a spill is a byte that a thread puts into
/// memory because registers ran out.
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
    let names: Vec<&str> = ALL.iter().map(|kernel| kernel.name).collect();
    if let Some(op) = args.op.as_ref().filter(|op| !names.contains(&op.as_str())) {
        return Err(Error::setting(format!("op `{op}`"), names.join(", ")));
    }
    let nvrtc = Nvrtc::open()?;
    super::watch_for_interrupts()?;
    if !args.json {
        let (major, minor) = nvrtc.version;
        super::say(&format!("NVRTC {major}.{minor}\n{}\n", line(&TITLES.map(str::to_string))))?;
    }
    let mut rows = vec![];
    for kernel in ALL.iter().filter(|kernel| args.op.as_deref().is_none_or(|op| op == kernel.name)) {
        for variant in variants(kernel) {
            for arch in &args.arch {
                super::go_on()?;
                let row = row(&nvrtc, kernel.name, &variant, arch)?;
                if !args.json {
                    let cell =
                        |title: &&str| row[*title].as_str().map_or(row[*title].to_string(), String::from);
                    super::say(&format!("{}\n", line(&TITLES.each_ref().map(cell))))?;
                    for warning in row["warnings"].as_array().into_iter().flatten() {
                        super::say(&format!("  {}\n", warning.as_str().unwrap_or_default()))?;
                    }
                }
                rows.push(row);
            }
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

fn row(nvrtc: &Nvrtc, kernel: &str, variant: &Variant, arch: &str) -> Result<Value> {
    let compiled = nvrtc.compile(&variant.unit, arch)?;
    let Some(usage) = compiled.usage() else {
        let why = format!("{} for {arch}: no resources in the log: {}", variant.unit.file, compiled.log);
        return Err(Error::device("NVRTC", why));
    };
    Ok(json!({
        "kernel": kernel,
        "source": variant.source.label,
        "variant": variant.label,
        "arch": arch,
        "registers": usage.registers,
        "spills": usage.spills,
        "stack": usage.stack,
        "shared": usage.shared as usize + variant.shared,
        "warnings": compiled.warnings(),
    }))
}
