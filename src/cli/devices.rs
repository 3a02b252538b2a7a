//! `steep devices`

use serde_json::{Value, json};
use steep::{Device, Error, Result};

use super::progress;

/// List the devices of this machine, best first
///
/// The first column is what --device takes. Behind them come those that cannot be used, and why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep devices --json")]
pub struct Args {
    /// Print an array of {name, description}, or {name, refused} with the reason
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    let busy = progress::busy("looking for devices", false);
    let (mut usable, mut refused) = (vec![], vec![]);
    for device in Device::survey().await {
        match device {
            Ok(device) => usable.push((device.name(), device.describe())),
            Err(Error::Device { device, why }) => refused.push((device, why)),
            Err(e) => return Err(e),
        }
    }
    drop(busy);
    super::say(&if args.json { as_json(&usable, &refused) } else { as_text(&usable, &refused) })
}

fn as_text(usable: &[(String, String)], refused: &[(String, String)]) -> String {
    let width = usable.iter().chain(refused).map(|(name, _)| name.len()).max().unwrap_or(0);
    let row = |(name, what): &(String, String)| format!("{name:width$}  {what}\n");
    let mut text: String = usable.iter().map(row).collect();
    if !refused.is_empty() {
        text += "\nThese cannot be used:\n";
        text.extend(refused.iter().map(|device| format!("  {}", row(device))));
    }
    text
}

fn as_json(usable: &[(String, String)], refused: &[(String, String)]) -> String {
    let usable = usable.iter().map(|(name, what)| json!({ "name": name, "description": what }));
    let refused = refused.iter().map(|(name, why)| json!({ "name": name, "refused": why }));
    format!("{:#}\n", usable.chain(refused).collect::<Value>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_devices_come_last_with_the_reason() {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        let (usable, refused) = ([pair("cpu", "cpu (2 threads)")], [pair("wgpu:0", "Old: binds 4 buffers")]);
        let text = "cpu     cpu (2 threads)\n\nThese cannot be used:\n  wgpu:0  Old: binds 4 buffers\n";
        assert_eq!(as_text(&usable, &refused), text);
        assert_eq!(as_text(&usable, &[]), "cpu  cpu (2 threads)\n");
        let json: Value = serde_json::from_str(&as_json(&usable, &refused)).unwrap();
        assert_eq!(json[0], json!({ "name": "cpu", "description": "cpu (2 threads)" }));
        assert_eq!(json[1], json!({ "name": "wgpu:0", "refused": "Old: binds 4 buffers" }));
    }
}
