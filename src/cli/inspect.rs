//! `steep inspect`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};
use steep::model::{Checkpoint, Dit, Prediction, RunSize};
use steep::{DType, Device, Error, Result, plain};

use super::memory::parts;
use super::say;
use super::setup::{described, model_help, source};

/// Say what a checkpoint holds: shape, parameters, work and memory
///
/// The checkpoint is loaded, so weights that are missing or not finite are reported.
///
/// Memory is that of a run in f32 of one clip, with guidance and a cache.
///
/// With --tensors, any safetensors file is listed. One that is no model is no error then: the last line says why it is none.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  steep inspect\n  steep inspect model.safetensors --tensors")]
pub struct Args {
    #[arg(value_name = "MODEL", help = model_help())]
    model: Option<PathBuf>,
    /// What the checkpoint does not say about itself, JSON or a file of it: for example '{"heads": 16}'
    #[arg(long, value_name = "JSON", requires = "model")]
    config: Option<String>,
    /// Also list every tensor
    #[arg(long)]
    tensors: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What guidance makes of one clip.
const BATCH: usize = 2;
const STEPS: usize = 50;

pub async fn run(args: &Args) -> Result<()> {
    let file = source(args.model.as_deref(), false)?;
    let given = described(args.config.as_deref())?;
    let tensors = file.tensors();
    let (name, metadata) = (file.name().to_string(), file.metadata());
    let loaded = Checkpoint::configured(file, given.as_deref()).and_then(|checkpoint| {
        let model = Dit::load(&Device::cpu(), &checkpoint, DType::F32)?;
        Ok((checkpoint, model))
    });
    let (checkpoint, model) = match loaded {
        Ok(loaded) => loaded,
        Err(why) if args.tensors => return args.list(&name, &tensors, &metadata, &why),
        Err(why) => return Err(why),
    };
    let run = RunSize { clips: 1, guided: true, steps: STEPS, dtype: DType::F32, residuals: 1, signals: 0 };
    let footprint = checkpoint.config().footprint(run);
    let [activations, table] = ["activations", "modulation"].map(|part| footprint.on_device(part));
    let parameters: usize = tensors.iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
    let dtypes: BTreeSet<&str> = tensors.iter().map(|(_, dtype, _)| dtype.as_str()).collect();
    let notes = metadata.iter().filter(|(key, _)| *key != "config");
    let c = checkpoint.config();

    if args.json {
        let mut all = json!({
            "model": checkpoint.name(),
            "config": c,
            "parameters": parameters,
            "dtypes": dtypes,
            "flops": c.flops(1),
            "block_flops": c.block_flops(1),
            "condition_flops": c.condition_flops(1),
            "activation_bytes": activations,
            "modulation_bytes": table,
            "device_bytes": footprint.device.iter().copied().collect::<BTreeMap<_, _>>(),
            "host_bytes": footprint.host.iter().copied().collect::<BTreeMap<_, _>>(),
            "steps": STEPS,
            "batch": BATCH,
            "metadata": notes.collect::<std::collections::BTreeMap<_, _>>(),
        });
        if args.tensors {
            all["tensors"] = rows(&tensors);
        }
        return say(&format!("{all:#}\n"));
    }

    let dtypes: Vec<&str> = dtypes.into_iter().collect();
    let attention = match c.temporal {
        true => "odd blocks over frames, even ones within a frame",
        false => "within a frame",
    };
    let sampler = match c.prediction {
        Prediction::Velocity => "velocity, sampled by Euler steps",
        Prediction::Epsilon => "noise, sampled by DDIM steps",
    };
    let share = 100.0 * c.block_flops(1) as f64 / c.flops(1) as f64;
    let s = |n| if n == 1 { "" } else { "s" };
    let mut rows = vec![
        ("parameters", format!("{:.2} M, {}", parameters as f64 / 1e6, dtypes.join(" and "))),
        (
            "clip",
            format!(
                "{} frame{} of {}×{}, {} channel{}",
                c.frames,
                s(c.frames),
                c.height,
                c.width,
                c.channels,
                s(c.channels)
            ),
        ),
        (
            "tokens",
            format!("{} a frame, patches of {2}×{2}: {} in all", c.tokens(), c.tokens() * c.frames, c.patch),
        ),
    ];
    rows.extend([
        (
            "blocks",
            format!(
                "{}, d = {}, {} heads of {}, MLP ×{}",
                c.depth,
                c.dim,
                c.heads,
                c.dim / c.heads,
                c.mlp_ratio
            ),
        ),
        ("attention", attention.into()),
        ("classes", if c.classes == 0 { "none".into() } else { c.classes.to_string() }),
        ("predicts", sampler.into()),
        ("forward", format!("{:.3} GFLOP a clip, {share:.1} % in the blocks", c.flops(1) as f64 / 1e9)),
        ("activations", format!("{:.1} MB in f32 for a batch of {BATCH}", activations as f64 / 1e6)),
        (
            "modulation",
            match model.steps_at_once(BATCH) {
                some if some < STEPS => {
                    format!("{:.1} MB, {some} of {STEPS} steps at a time", table as f64 / 1e6)
                }
                _ => format!("{:.1} MB, computed once for all {STEPS} steps", table as f64 / 1e6),
            },
        ),
        ("memory", format!("{} on the device", parts(&footprint.device))),
        ("", format!("{} on the host", parts(&footprint.host))),
    ]);
    let notes = notes.map(|(key, value)| (plain(key), plain(value)));
    let row = |(key, value): (String, String)| format!("  {key:12}{value}\n");
    let mut text = format!("{}\n", plain(&checkpoint.name()));
    let rows = rows.into_iter().map(|(key, value)| (key.to_string(), value));
    text.extend(rows.chain(notes).map(row));
    if args.tensors {
        text.push('\n');
        text.push_str(&listed(&tensors));
    }
    say(&text)
}

/// Name, dtype and shape.
type Row = (String, String, Vec<usize>);

fn rows(tensors: &[Row]) -> Value {
    let row = |(name, dtype, shape): &Row| json!({ "name": name, "dtype": dtype, "shape": shape });
    tensors.iter().map(row).collect()
}

fn listed(tensors: &[Row]) -> String {
    let width = tensors.iter().map(|(name, ..)| plain(name).len()).max().unwrap_or(0);
    let line = |(name, dtype, shape): &Row| format!("  {:width$}  {dtype:4}  {shape:?}\n", plain(name));
    tensors.iter().map(line).collect()
}

impl Args {
    /// What a file holds that is no model: `why` says in what way.
    fn list(
        &self,
        name: &str,
        tensors: &[Row],
        metadata: &BTreeMap<String, String>,
        why: &Error,
    ) -> Result<()> {
        let why = why.to_string();
        if self.json {
            let all =
                json!({ "file": name, "not_a_model": why, "tensors": rows(tensors), "metadata": metadata });
            return say(&format!("{all:#}\n"));
        }
        let notes = metadata.iter().map(|(key, value)| format!("  {:12}{}\n", plain(key), plain(value)));
        let notes: String = notes.collect();
        say(&format!("{}\n{notes}\n{}\nnot a model: {}\n", plain(name), listed(tensors), plain(&why)))
    }
}
