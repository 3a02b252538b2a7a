//! What NVIDIA's compiler makes of a file, where there is one.

use steep::Result;

use super::{Args, Outcome};

#[cfg(not(feature = "cuda"))]
pub fn compile(_: &Args, _: &mut Outcome<'_>) -> Result<()> {
    Ok(())
}

/// Compiles it for Ampere and Hopper: registers, shared memory, spills; and, unless it is wrong, each warning once.
#[cfg(feature = "cuda")]
pub fn compile(args: &Args, outcome: &mut Outcome<'_>) -> Result<()> {
    use serde_json::json;
    use steep::device::cuda::modules::variants_of;
    use steep::device::cuda::nvrtc::Nvrtc;

    let nvrtc = match Nvrtc::open() {
        Ok(nvrtc) => nvrtc,
        Err(e) => return outcome.note(args, format!("machine code: not compiled: {e}")),
    };
    let candidate = outcome.candidate;
    let wanted = |label: &str| {
        let dtype = label.split(' ').next().unwrap_or(label);
        candidate.dtypes.iter().any(|t| t.name() == dtype) && args.dtype.is_none_or(|t| t.name() == dtype)
    };
    // A warning is of the text, and comes again for each type and architecture. What is wrong has worse to mend.
    let mut told = std::collections::BTreeSet::new();
    let warns = outcome.right() != Some(false);
    for variant in variants_of(candidate.source())?.into_iter().filter(|v| wanted(&v.label)) {
        for arch in ["sm_80", "sm_90a"] {
            super::super::go_on()?;
            let mut row = json!({ "variant": variant.label, "arch": arch });
            let line = match nvrtc.compile(&variant.unit, arch) {
                Err(e) => {
                    row["error"] = json!(e.to_string());
                    format!("{}: {e}\n", variant.label)
                }
                Ok(compiled) => {
                    let usage = compiled.usage();
                    row["warnings"] = json!(compiled.warnings());
                    let mut line = String::new();
                    if let Some(usage) = usage {
                        let shared = usage.shared as usize + variant.shared;
                        (row["registers"], row["shared"]) = (json!(usage.registers), json!(shared));
                        (row["stack"], row["spills"]) = (json!(usage.stack), json!(usage.spills));
                        line = format!(
                            "{arch:7} {:16} {:3} registers, {shared} bytes shared, {} spilled, {} on the stack\n",
                            variant.label, usage.registers, usage.spills, usage.stack
                        );
                    }
                    for warning in compiled.warnings().into_iter().filter(|_| warns) {
                        if told.insert(warning.to_string()) {
                            line += &format!("  {warning}\n");
                        }
                    }
                    line
                }
            };
            if !args.json {
                super::super::say(&line)?;
            }
            outcome.codes.push(row);
        }
    }
    Ok(())
}
