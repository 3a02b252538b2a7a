//! `steep devices`

use serde_json::json;
use steep::{Device, Result};

/// List the devices of this machine, best first
///
/// The first column is what --device takes.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep devices --json")]
pub struct Args {
    /// Print an array of {name, description}
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    let all: Vec<_> = Device::all().await.iter().map(|d| (d.name(), d.describe())).collect();
    if args.json {
        let rows: Vec<_> =
            all.iter().map(|(name, what)| json!({ "name": name, "description": what })).collect();
        return super::say(&format!("{:#}\n", json!(rows)));
    }
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    super::say(&all.iter().map(|(name, what)| format!("{name:width$}  {what}\n")).collect::<String>())
}
