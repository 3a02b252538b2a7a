//! `steep devices`

use serde_json::{Value, json};
use steep::device::Facts;
use steep::{Device, Error, Result};

use super::{memory, progress};

/// List the devices of this machine, best first
///
/// The first column is what --device takes; below an adapter stands what decides which kernels run there. Behind them come
/// those that cannot be used, and why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep devices --json")]
pub struct Args {
    /// Print an array of {name, description, facts}, or {name, refused} with the reason; docs/results.md says what facts hold
    #[arg(long)]
    json: bool,
}

/// What is listed: a device that can be used, or one that cannot.
enum Listed {
    Usable { name: String, description: String, facts: Facts },
    Refused { name: String, why: String },
}

pub async fn run(args: &Args) -> Result<()> {
    let busy = progress::busy("looking for devices", false);
    let mut all = vec![];
    for device in Device::survey().await {
        all.push(match device {
            Ok(device) => {
                Listed::Usable { name: device.name(), description: device.describe(), facts: device.facts() }
            }
            Err(Error::Device { device: name, why }) => Listed::Refused { name, why },
            Err(e) => return Err(e),
        });
    }
    drop(busy);
    super::say(&if args.json { as_json(&all) } else { as_text(&all) })
}

fn as_text(all: &[Listed]) -> String {
    let names = all.iter().map(|(Listed::Usable { name, .. } | Listed::Refused { name, .. })| name.len());
    let width = names.max().unwrap_or(0);
    let (mut usable, mut refused) = (String::new(), String::new());
    for device in all {
        match device {
            Listed::Usable { name, description, facts } => {
                usable += &format!("{name:width$}  {description}\n");
                let more = in_words(facts);
                if !more.is_empty() {
                    usable += &format!("{:width$}  {more}\n", "");
                }
            }
            Listed::Refused { name, why } => refused += &format!("  {name:width$}  {why}\n"),
        }
    }
    match refused.is_empty() {
        true => usable,
        false => format!("{usable}\nThese cannot be used:\n{refused}"),
    }
}

/// The features and limits of an adapter that decide what runs there.
fn in_words(facts: &Facts) -> String {
    let Some(buffer) = facts.limits.get("maxStorageBufferBindingSize") else { return String::new() };
    let limit = |name: &str| facts.limits.get(name).copied().unwrap_or_default();
    let has = |feature: &str| facts.features.iter().any(|f| f == feature);
    let mut parts = vec![facts.driver.clone()];
    parts.push(if has("SHADER_F16") { "f16".into() } else { "no f16".into() });
    parts.push(match (has("SUBGROUP"), limit("minSubgroupSize"), limit("maxSubgroupSize")) {
        (false, ..) => "no subgroups".into(),
        (_, min, max) if min == max => format!("subgroups of {min}"),
        (_, min, max) => format!("subgroups of {min} to {max}"),
    });
    parts.push(format!("timed by the {}", facts.clock));
    parts.push(format!("tensors up to {}", memory::size(*buffer)));
    parts.push(format!("{} KiB of workgroup memory", limit("maxComputeWorkgroupStorageSize") / 1024));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn as_json(all: &[Listed]) -> String {
    let row = |device: &Listed| match device {
        Listed::Usable { name, description, facts } => {
            json!({ "name": name, "description": description, "facts": facts })
        }
        Listed::Refused { name, why } => json!({ "name": name, "refused": why }),
    };
    format!("{:#}\n", all.iter().map(row).collect::<Value>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_devices_come_last_with_the_reason() {
        let facts = Facts {
            driver: "Mesa 1".into(),
            features: vec!["SUBGROUP".into()],
            limits: [("maxStorageBufferBindingSize", 1 << 27), ("maxComputeWorkgroupStorageSize", 32768)]
                .into_iter()
                .chain([("minSubgroupSize", 8), ("maxSubgroupSize", 8)])
                .map(|(name, n)| (name.to_string(), n))
                .collect(),
            clock: "device",
            ..Facts::default()
        };
        let usable = |name: &str, facts: &Facts| Listed::Usable {
            name: name.into(),
            description: format!("{name} (x)"),
            facts: facts.clone(),
        };
        let refused = Listed::Refused { name: "wgpu:0".into(), why: "Old: binds 4 buffers".into() };
        let all = [usable("wgpu:1", &facts), refused, usable("cpu", &Facts::default())];
        let text = "wgpu:1  wgpu:1 (x)\n        Mesa 1, no f16, subgroups of 8, timed by the device, tensors up to 134.2 MB, \
                    32 KiB of workgroup memory\ncpu     cpu (x)\n\nThese cannot be used:\n  wgpu:0  Old: binds 4 buffers\n";
        assert_eq!(as_text(&all), text);
        assert_eq!(as_text(&all[2..]), "cpu  cpu (x)\n");
        let json: Value = serde_json::from_str(&as_json(&all)).unwrap();
        assert_eq!(json[0]["facts"]["limits"]["maxStorageBufferBindingSize"], 1 << 27);
        assert_eq!(json[1], json!({ "name": "wgpu:0", "refused": "Old: binds 4 buffers" }));
        assert_eq!(json[2]["description"], "cpu (x)");
    }
}
