//! `steep bench`

use std::path::PathBuf;

use serde_json::json;
use steep::cases::bench::Bench;
use steep::cases::{ALL, forward};
use steep::results::{Ceilings, Machine, OnDevice, Results, Seen, Timed, Timing, time_cases};
use steep::{DType, Error, Result};

use super::timings::{Options, head};
use super::{memory, progress, setup};

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
  steep bench --op linear --shapes 64x64x64,256x256x256,1024x1024x1024 --roofline linear.svg
  steep bench --op rel_l1 --save before
  steep bench --json > benches/results/2026-01-31-epyc-2.ops.json")]
pub struct Args {
    /// One op only, by name; `forward` is one evaluation of the model
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    #[arg(long, value_name = "NAMES", default_value = "auto", value_delimiter = ',', help = setup::devices_help())]
    pub device: Vec<String>,
    /// Type of matrix operands: f32, f16 or bf16 [default: f32, with --source all that the file takes]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<DType>,
    #[command(flatten)]
    weights: setup::Weights,
    /// Clips of `forward`
    #[arg(long, value_name = "B", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Time a kernel of your own among the op's, as steep try FILE --bench does
    #[arg(long, value_name = "FILE", conflicts_with_all = ["op", "model", "batch", "redraw"])]
    pub source: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
    /// Draw the --roofline of a file of results, and time nothing
    #[arg(long, value_name = "FILE", requires = "roofline", conflicts_with_all = ["op", "shapes", "json", "save", "against"])]
    redraw: Option<PathBuf>,
    /// Print one object of machine, devices and their rows, as docs/results.md describes it
    #[arg(long)]
    pub json: bool,
}

const FORWARD: &str = "forward";

pub async fn run(args: &Args) -> Result<()> {
    if let Some(results) = &args.redraw {
        return args.options.redraw(results);
    }
    if !args.options.shapes.is_empty() && args.op.as_deref().is_none_or(|op| op == FORWARD) {
        return Err(Error::setting("--shapes", "one op, with --op NAME: sizes of different ops differ"));
    }
    let baseline = args.options.baseline()?;
    let dtype = args.dtype.unwrap_or(DType::F32);
    let wanted = |name: &str| args.op.as_deref().is_none_or(|op| op == name);
    setup::check_op(args.op.as_deref(), &[FORWARD])?;
    let checkpoint = args.weights.checkpoint(false)?;
    let mut cases = vec![];
    for op in ALL.iter().filter(|op| wanted(op.kernel.name)) {
        match args.options.shapes.is_empty() {
            true => cases.extend(op.benches(dtype)),
            false => {
                for size in &args.options.shapes {
                    cases.push(op.sized(dtype, size)?);
                }
            }
        }
    }
    let mut devices = vec![];
    for name in &args.device {
        let device = setup::open(name).await?;
        cases.iter().try_for_each(|case| memory::check(&Ceilings::beside(case, &device), &device))?;
        devices.push(device);
    }
    let mut results = Results::new(Machine::this());
    for (device, i) in devices.into_iter().zip(0..) {
        let mut ceilings = Ceilings::new(&device, dtype)?;
        let timing = Timing::of(&device, args.options.cold);
        let mut found = OnDevice::new(&device);
        found.measure(&mut ceilings).await?;
        if !args.json {
            let between = if i == 0 { "" } else { "\n" };
            super::say(&format!("{between}{}", head(&found, timing.cold)))?;
        }
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
        for case in &cases {
            let bench = Bench::new(&device, case.clone())?;
            found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
            bar.inc(1);
        }
        if wanted(FORWARD) {
            let bench = forward::bench(&device, &checkpoint, dtype, args.batch.into()).await?;
            found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
        }
        bar.finish_and_clear();
        results.devices.push(found);
    }
    let mut results = json!(results);
    args.options.finish(&mut results, baseline.as_ref(), args.json)?;
    match args.json {
        true => super::say_json(&results),
        false => Ok(()),
    }
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
