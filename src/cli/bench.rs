//! `steep bench`

use std::path::PathBuf;

use serde_json::{Value, json};
use steep::cases::bench::{Bench, Bound, Rating};
use steep::cases::{ALL, forward};
use steep::model::Checkpoint;
use steep::{DType, Device, Error, Result};

mod ceilings;

use super::{progress, setup};
use ceilings::Ceilings;

/// Time every op with every source, and the whole model, beside what this machine can do at best
///
/// Each result is verified against a naive f64 reference before and after it is timed; a wrong one ends the run. Then five rounds go
/// through the ceiling and all sources in turn, on random data, so that a slow moment of the machine hits all of them;
/// what is printed are medians over rounds (a source that takes longer than a second runs in one round only).
///
/// Two ceilings. "copy": bytes read and written per second between buffers of 256 MiB by all threads,
/// the best of ordinary stores, streaming stores (which do not read the line that they overwrite), and an addition of two
/// streams. "matmul": the best product of two 2048×2048 matrices, by `linear` in this dtype or by the `gemm` crate in f32.
///
/// Ops bound by memory are rated by bytes and copy, the others by FLOPs and matmul. A rate above its ceiling has no share of
/// it: "in cache" stands there if the tensors take less than 64 MiB, so that a cache keeps some or all of them between
/// repetitions, and "above" otherwise. On a GPU, and with --cold, repetitions go through copies of the operands that are
/// too many for any cache.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep bench --op modulate --dtype bf16
  steep bench --json > benches/results/2026-01-31-epyc-2.ops.json")]
pub struct Args {
    /// One op only, by name; `forward` is one evaluation of the model
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    #[arg(long, value_name = "NAMES", default_value = "auto", value_delimiter = ',', help = devices_help())]
    device: Vec<String>,
    /// Type of matrix operands: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: DType,
    /// Checkpoint of `forward` (safetensors); without it, the shipped model
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Clips of `forward`
    #[arg(long, value_name = "B", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Go from operands to other operands, so that no cache holds them; on a GPU always
    #[arg(long)]
    cold: bool,
    /// Print an array of {op, source, shape, dtype, device, error, ms, gbps, gflops, ceiling_pct, in_cache},
    /// with the ceiling itself as ceiling_gbps or ceiling_gflops. `ceiling_pct` is null for a rate above its ceiling;
    /// `in_cache` says whether a cache is the reason
    #[arg(long)]
    json: bool,
}

fn devices_help() -> String {
    format!("{}. Several with commas between", setup::device_help())
}

const FORWARD: &str = "forward";

pub async fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.op.as_deref().is_none_or(|op| op == name);
    let names: Vec<&str> = ALL.iter().map(|op| op.kernel.name).chain([FORWARD]).collect();
    if let Some(op) = args.op.as_ref().filter(|op| !names.contains(&op.as_str())) {
        return Err(Error::setting(format!("op `{op}`"), names.join(", ")));
    }
    let checkpoint = Checkpoint::open_or_shipped(args.model.as_deref())?;
    let mut devices = vec![];
    for name in &args.device {
        devices.push(setup::open(name).await?);
    }
    let mut all = vec![];
    for device in devices {
        let ceilings = Ceilings::new(&device, args.dtype)?;
        let cold = args.cold || device.is_gpu();
        let mut report = Report { device, ceilings, cold, rows: args.json.then(Vec::new) };
        report.head().await?;
        let cases: Vec<_> =
            ALL.iter().filter(|op| wanted(op.kernel.name)).flat_map(|op| op.benches(args.dtype)).collect();
        // Without rows that come one by one, this is all there is to see.
        let bar = progress::bar("timing", cases.len() + usize::from(wanted(FORWARD)), !args.json);
        for case in cases {
            bar.set_message(case.kernel.name);
            report.bench(Bench::new(&report.device, case)?).await?;
            bar.inc(1);
        }
        if wanted(FORWARD) {
            bar.set_message(FORWARD);
            let (device, batch) = (&report.device, args.batch.into());
            report.bench(forward::bench(device, &checkpoint, args.dtype, batch).await?).await?;
        }
        bar.finish_and_clear();
        all.extend(report.rows.into_iter().flatten());
    }
    match args.json {
        true => super::say(&format!("{:#}\n", Value::Array(all))),
        false => Ok(()),
    }
}

/// What is said about each case: a line at once, or all of them as JSON in the end.
struct Report {
    device: Device,
    cold: bool,
    ceilings: Ceilings,
    rows: Option<Vec<Value>>,
}

impl Report {
    async fn head(&mut self) -> Result<()> {
        if self.rows.is_some() {
            return Ok(());
        }
        let copy = self.ceilings.measure(Bound::Copy, 0.3).await?;
        let matmul = self.ceilings.measure(Bound::Matmul, 0.3).await?;
        super::say(&format!(
            "{}: copy {:.1} GB/s, matmul {:.0} GFLOP/s\n\n{:16} {:9} {:22} {:5} {:>10} {:>14}  % of ceiling\n",
            self.device.describe(),
            copy / 1e9,
            matmul / 1e9,
            "op",
            "source",
            "shape",
            "dtype",
            "ms",
            "rate",
        ))
    }

    /// Verifies a bench with every source that fits, best first, then times them and verifies them again.
    async fn bench(&mut self, mut bench: Bench) -> Result<()> {
        const ROUNDS: usize = 5;
        const SECONDS: f64 = 0.06;
        const SLOW: f64 = 1.0;
        let mut sources = vec![];
        for source in bench.sources() {
            self.device.prefer(Some(source));
            let error = bench.verify().await;
            self.device.prefer(None);
            let error = error?;
            // Not all sources take all shapes.
            if bench.took(source) {
                sources.push((source, error));
            }
        }
        if self.cold {
            bench.rotate()?;
        }
        let amount = if bench.bound() == Bound::Copy { bench.bytes } else { bench.flops } as f64;
        let mut seconds = vec![vec![]; sources.len()];
        let mut shares = seconds.clone();
        for _ in 0..ROUNDS {
            super::go_on()?;
            let ceiling = self.ceilings.measure(bench.bound(), SECONDS).await?;
            for (i, (source, _)) in sources.iter().enumerate() {
                if seconds[i].iter().any(|&s| s > SLOW) {
                    continue;
                }
                self.device.prefer(Some(source));
                let timed = bench.time(SECONDS).await;
                self.device.prefer(None);
                let timed = timed?;
                seconds[i].push(timed);
                shares[i].push(amount / timed / ceiling);
            }
        }
        for (source, _) in &sources {
            self.device.prefer(Some(source));
            let again = bench.verify().await;
            self.device.prefer(None);
            again?;
        }
        let median = |mut of: Vec<f64>| {
            of.sort_by(f64::total_cmp);
            of[of.len() / 2]
        };
        for ((source, error), (seconds, shares)) in sources.into_iter().zip(seconds.into_iter().zip(shares)) {
            self.row(&bench, (source, error), median(seconds), median(shares))?;
        }
        Ok(())
    }

    fn row(&mut self, bench: &Bench, (source, error): (&str, f64), seconds: f64, share: f64) -> Result<()> {
        let (bytes, flops) = (bench.bytes as f64 / seconds, bench.flops as f64 / seconds);
        let ms = 1e3 * seconds;
        let rating = Rating::of(bench.bound(), share, bench.cached());
        let Some(rows) = &mut self.rows else {
            let (rate, of) = match bench.flops {
                0 => (format!("{:.1} GB/s", bytes / 1e9), "copy"),
                _ => (format!("{:.1} GFLOP/s", flops / 1e9), "matmul"),
            };
            let (op, shape, dtype) = (bench.op, &bench.shape, bench.dtype.name());
            let rating = match rating {
                Rating::Share(share) => format!("{:4.0} of {of}", 100.0 * share),
                Rating::InCache => "in cache".into(),
                Rating::Above => format!("above {of}"),
            };
            return super::say(&format!(
                "{op:16} {source:9} {shape:22} {dtype:5} {ms:10.4} {rate:>14}  {rating}\n"
            ));
        };
        let mut row = json!({
            "op": bench.op,
            "source": source,
            "shape": bench.shape,
            "dtype": bench.dtype.name(),
            "device": self.device.describe(),
            "error": error,
            "ms": ms,
        });
        for (name, rate) in [("gbps", bytes), ("gflops", flops)] {
            if rate > 0.0 {
                row[name] = json!(rate / 1e9);
            }
        }
        match bench.bound() {
            Bound::Copy => row["ceiling_gbps"] = json!(bytes / 1e9 / share),
            Bound::Matmul => row["ceiling_gflops"] = json!(flops / 1e9 / share),
        }
        row["ceiling_pct"] = match rating {
            Rating::Share(share) => json!(100.0 * share),
            _ => Value::Null,
        };
        row["in_cache"] = json!(rating == Rating::InCache);
        rows.push(row);
        Ok(())
    }
}
