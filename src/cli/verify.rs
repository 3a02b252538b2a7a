//! `steep verify`

use steep::cases::{ALL, Op};
use steep::results::{Machine, OnDevice, Results, Seen, Verified, verify};
use steep::{DType, Device, Error, Result};

use super::{progress, setup};

/// Check every op with every source and type on the devices of this machine, against naive f64 loops
///
/// The cases are those of steep's own tests: odd sizes, offsets, one row and many, every gate. Outputs begin as NaN with a
/// guard behind them, each case runs twice and must give the same bits, and errors have bounds with a reason. A row is an op
/// with one source and type: how many cases it passed, and its largest error as a share of what is allowed.
///
/// The exit status is 1 if anything is wrong. What a machine of yours says is worth having: docs/results.md tells how to
/// contribute it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep verify --op tea_gate
  steep verify --device cpu --op rel_l1 --dtype f16,bf16 --json")]
pub struct Args {
    /// One op only, by name
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    #[arg(long, value_name = "NAMES", default_value = "all", value_delimiter = ',',
          help = setup::devices_help() + ". `all` are those that `steep devices` lists")]
    device: Vec<String>,
    /// Types of matrix operands, with commas between
    #[arg(long, value_name = "TYPES", default_value = "f32,f16,bf16", value_delimiter = ',')]
    dtype: Vec<DType>,
    /// Print one object of machine, devices and their rows, as docs/results.md describes it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    setup::check_op(args.op.as_deref(), &[])?;
    let wanted = |op: &Op, dtype| {
        args.op.as_deref().is_none_or(|name| name == op.kernel.name) && args.dtype.contains(&dtype)
    };
    if !ALL.iter().any(|op| op.dtypes.iter().any(|&dtype| wanted(op, dtype))) {
        let types: Vec<&str> = args.dtype.iter().map(|dtype| dtype.name()).collect();
        let what = format!("--op {} in {}", args.op.as_deref().unwrap_or("any"), types.join(", "));
        return Err(Error::setting(what, "a type that the op knows"));
    }
    let devices = match &args.device[..] {
        [all] if all == "all" => Device::all().await,
        names => {
            let mut devices = vec![];
            for name in names {
                devices.push(setup::open(name).await?);
            }
            devices
        }
    };
    let mut results = Results::new(Machine::this());
    for (device, i) in devices.into_iter().zip(0..) {
        let mut found = OnDevice::new(&device);
        if !args.json {
            let between = if i == 0 { "" } else { "\n" };
            super::say(&format!("{between}{}\n\n{}", found.description, line(HEAD)))?;
        }
        let bar = progress::bar("verifying", 1, false);
        let mut watch = |seen: Seen<'_>| {
            super::go_on()?;
            match seen {
                Seen::Next { op, done, of, .. } => {
                    bar.set_length(of as u64);
                    bar.set_position(done as u64);
                    bar.set_message(op.to_string());
                }
                Seen::Verified(row) if !args.json => bar.suspend(|| super::say(&of_row(row)))?,
                _ => {}
            }
            Ok(())
        };
        found.verified = verify(&device, &wanted, &mut watch).await?;
        bar.finish_and_clear();
        results.devices.push(found);
    }
    if args.json {
        super::say_json(&results)?;
    }
    let rows = || results.devices.iter().flat_map(|device| &device.verified);
    let (wrong, all) = (rows().filter(|row| row.wrong > 0).count(), rows().count());
    match wrong {
        0 if args.json => Ok(()),
        0 => super::say(&format!("\nall {all} are right\n")),
        _ => Err(Error::wrong(format!("{wrong} of {all} are wrong"))),
    }
}

const HEAD: [&str; 6] = ["op", "source", "dtype", "cases", "of bound", ""];

fn line([op, source, dtype, cases, of_bound, fault]: [&str; 6]) -> String {
    let text = format!("{op:20} {source:9} {dtype:5} {cases:>9} {of_bound:>9}  {fault}");
    format!("{}\n", text.trim_end())
}

fn of_row(row: &Verified) -> String {
    let cases = match row.wrong {
        0 => row.cases.to_string(),
        wrong => format!("{wrong} of {}", row.cases),
    };
    let of_bound = format!("{:.0} %", 100.0 * row.of_bound);
    let fault = row.fault.as_ref().map_or(String::new(), |fault| format!("WRONG: {fault}"));
    line([row.op, row.source, row.dtype.name(), &cases, &of_bound, &fault])
}
