//! `steep bench`

use steep::cases::bench::{Bench, Bound};
use steep::cases::{ALL, forward};
use steep::results::{Ceilings, Machine, OnDevice, Results, Seen, Timed, Timing, time_cases};
use steep::{DType, Result};

use super::{progress, setup};

/// Time every op with every source, and the whole model, beside what this machine can do at best
///
/// Each result is verified against a naive f64 reference before and after it is timed; a wrong one ends the run. Then five rounds go
/// through the ceiling and all sources in turn, on random data, so that a slow moment of the machine hits all of them;
/// what is printed are medians over rounds (a source that takes longer than a second runs in one round only), and as
/// spread half the interquartile range in percent of the median.
///
/// Two ceilings. "copy": bytes read and written per second between buffers of 256 MiB by all threads,
/// the best of ordinary stores, streaming stores (which do not read the line that they overwrite), and an addition of two
/// streams. "matmul": the best product of two 2048×2048 matrices, by `linear` in this dtype or by the `gemm` crate in f32.
/// Both are measured again in each round; beside a rate stands the one that it is a share of.
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
    #[arg(long, value_name = "NAMES", default_value = "auto", value_delimiter = ',', help = setup::devices_help())]
    device: Vec<String>,
    /// Type of matrix operands: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: DType,
    #[command(flatten)]
    weights: setup::Weights,
    /// Clips of `forward`
    #[arg(long, value_name = "B", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Go from operands to other operands, so that no cache holds them; on a GPU always
    #[arg(long)]
    cold: bool,
    /// Print one object of machine, devices and their rows, as docs/results.md describes it
    #[arg(long)]
    json: bool,
}

const FORWARD: &str = "forward";

pub async fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.op.as_deref().is_none_or(|op| op == name);
    setup::check_op(args.op.as_deref(), &[FORWARD])?;
    let checkpoint = args.weights.checkpoint()?;
    let mut devices = vec![];
    for name in &args.device {
        devices.push(setup::open(name).await?);
    }
    let mut results = Results::new(Machine::this());
    for (device, i) in devices.into_iter().zip(0..) {
        let mut ceilings = Ceilings::new(&device, args.dtype)?;
        let timing = Timing::of(&device, args.cold);
        let mut found = OnDevice::new(&device);
        if !args.json {
            head(&found, &mut ceilings, i == 0).await?;
        }
        let cases: Vec<_> =
            ALL.iter().filter(|op| wanted(op.kernel.name)).flat_map(|op| op.benches(args.dtype)).collect();
        // Without rows that come one by one, this is all there is to see.
        let bar = progress::bar("timing", cases.len() + usize::from(wanted(FORWARD)), !args.json);
        let mut watch = |seen: Seen<'_>| {
            super::go_on()?;
            match seen {
                Seen::Next { op, .. } => bar.set_message(op.to_string()),
                Seen::Timed(row) if !args.json => super::say(&line(row))?,
                _ => {}
            }
            Ok(())
        };
        for case in cases {
            let bench = Bench::new(&device, case)?;
            found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
            bar.inc(1);
        }
        if wanted(FORWARD) {
            let bench = forward::bench(&device, &checkpoint, args.dtype, args.batch.into()).await?;
            found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
        }
        bar.finish_and_clear();
        results.devices.push(found);
    }
    match args.json {
        true => super::say_json(&results),
        false => Ok(()),
    }
}

/// What stands above the rows of a device.
async fn head(found: &OnDevice, ceilings: &mut Ceilings, first: bool) -> Result<()> {
    let copy = ceilings.measure(Bound::Copy, 0.3).await?;
    let matmul = ceilings.measure(Bound::Matmul, 0.3).await?;
    let between = if first { "" } else { "\n" };
    super::say(&format!(
        "{between}{}: copy {:.1} GB/s, matmul {:.0} GFLOP/s\n\n{:20} {:9} {:24} {:5} {:>10} {:>6} {:>14}  of its ceiling\n",
        found.description,
        copy / 1e9,
        matmul / 1e9,
        "op",
        "source",
        "shape",
        "dtype",
        "ms",
        "spread",
        "rate",
    ))
}

pub fn line(row: &Timed) -> String {
    let (op, source, shape, dtype) = (row.op, row.source, &row.shape, row.dtype.name());
    let spread = match row.samples_ms.len() {
        1 => "once".into(),
        _ => format!("±{:.0} %", 50.0 * (row.high_ms - row.low_ms) / row.ms),
    };
    let (ms, rate, rating) = (row.ms, row.rate(), row.rating());
    format!("{op:20} {source:9} {shape:24} {dtype:5} {ms:10.4} {spread:>6} {rate:>14}  {rating}\n")
}
