//! What `steep bench` and `steep try --bench` have in common: which sizes are timed, and what becomes of the times.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steep::evaluate::metrics::unpaired_speedup;
use steep::input::kept_folder;
use steep::plot::{RooflinePoint, Roofs, roofline};
use steep::results::{FORMAT, OnDevice};
use steep::{Error, Result, input, plain};

use super::output;

#[derive(clap::Args, Clone, Default)]
pub struct Options {
    /// Sizes to time in place of the op's own, several with commas between, such as 512x192,4096x1152; an error says what the
    /// numbers are
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub shapes: Vec<String>,
    /// Go from operands to other operands, so that no cache holds them; on a GPU always
    #[arg(long)]
    pub cold: bool,
    /// Keep the times under a name, for --against; or in a file of your own, NAME.json
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Compare with times that --save kept, or with a file of steep bench --json
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Draw the roofline as SVG: operations per byte, operations per second, and what the machine can do at best
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
}

/// Of a file of results, what is read again.
#[derive(Deserialize)]
pub struct Saved {
    format: String,
    date: String,
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    description: String,
    #[serde(default)]
    copy_gbps: Option<f64>,
    #[serde(default)]
    matmul_gflops: Option<f64>,
    timed: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    op: String,
    source: String,
    shape: String,
    dtype: String,
    bytes: usize,
    #[serde(default)]
    operations: usize,
    samples_ms: Vec<f64>,
    ms: f64,
    bound: String,
    ceiling: f64,
}

/// A source and shape that was timed then and now.
#[derive(Serialize)]
struct Change {
    device: String,
    op: String,
    source: String,
    shape: String,
    dtype: String,
    /// How many times as fast it is now.
    ratio: f64,
    /// Half the width of the ratio's 95 % interval; null where one side has a single sample.
    half: Option<f64>,
    /// The same ratio of the shares that each reached of its own run's ceiling.
    beside_ceiling: f64,
}

impl Options {
    /// Whether any of them is there.
    pub fn any(&self) -> bool {
        !self.shapes.is_empty()
            || self.cold
            || self.save.is_some()
            || self.against.is_some()
            || self.roofline.is_some()
    }

    /// What to compare with. Called before anything is timed, so that what is wrong is said at once.
    pub fn baseline(&self) -> Result<Option<Saved>> {
        if let Some(file) = &self.roofline {
            if output::ending(file) != "svg" {
                return Err(Error::file(file, "wanted a name that ends in .svg"));
            }
            output::check(&[file], &[])?;
        }
        if let Some(name) = &self.save {
            let file = place(name)?;
            if !name.ends_with(".json") {
                let folder = file.parent().expect("a folder of our own");
                std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
            }
            output::check(&[&file], &[])?;
        }
        let Some(name) = &self.against else { return Ok(None) };
        let file = place(name)?;
        if !name.ends_with(".json") && !file.exists() {
            return Err(Error::setting(
                format!("--against {name}"),
                format!("times that --save {name} kept"),
            ));
        }
        Saved::read(&file).map(Some)
    }

    /// Keeps, compares and draws what was timed; `results` are an object in the format of `steep bench --json`, to which
    /// what was compared is added. Says what it did, unless `quiet`.
    pub fn finish(&self, results: &mut Value, baseline: Option<&Saved>, quiet: bool) -> Result<()> {
        let now = Saved::parse(results.clone()).expect("what was just made");
        let mut files: Vec<(PathBuf, Vec<u8>)> = vec![];
        if let Some(name) = &self.save {
            files.push((place(name)?, format!("{results:#}\n").into_bytes()));
        }
        if let Some(file) = &self.roofline {
            files.extend(now.rooflines(file)?);
        }
        let mut said = String::new();
        if let (Some(then), Some(name)) = (baseline, &self.against) {
            let changes = now.since(then);
            said += &told(&changes, then, name);
            results["against"] = json!(changes);
        }
        let borrowed: Vec<_> = files.iter().map(|(path, text)| (path.as_path(), text.clone())).collect();
        output::write(&borrowed)?;
        if !files.is_empty() {
            said += &output::wrote(files.iter().map(|(path, _)| path.as_path()));
        }
        if quiet { Ok(()) } else { super::say(&said) }
    }

    /// Draws what is in a file of results.
    pub fn redraw(&self, results: &Path) -> Result<()> {
        let Some(file) = &self.roofline else {
            return Err(Error::setting("--redraw", "--roofline FILE to draw to"));
        };
        let files = Saved::read(results)?.rooflines(file)?;
        let borrowed: Vec<_> = files.iter().map(|(path, text)| (path.as_path(), text.clone())).collect();
        output::write(&borrowed)?;
        super::say(&output::wrote(files.iter().map(|(path, _)| path.as_path())))
    }
}

/// Where times of a name are kept.
fn place(name: &str) -> Result<PathBuf> {
    if name.ends_with(".json") {
        return Ok(name.into());
    }
    let fits = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        let wanted = "letters, digits, and - _ . + between them; or a file's path that ends in .json";
        return Err(Error::setting(format!("name `{}`", plain(name)), wanted));
    }
    let wanted = || Error::setting(format!("name {name}"), "a path that ends in .json: STEEP_CACHE is empty");
    Ok(kept_folder().ok_or_else(wanted)?.join("times").join(format!("{name}.json")))
}

/// What changed, in words.
fn told(changes: &[Change], then: &Saved, name: &str) -> String {
    let mut text = format!("\nagainst {} of {}:\n", plain(name), plain(&then.date));
    for change in changes {
        let Change { device, op, source, shape, dtype, ratio, half, beside_ceiling } = change;
        let sure = half.map_or(String::new(), |half| {
            let level = if (ratio - 1.0).abs() <= half { ", no difference" } else { "" };
            format!(" (95 %: {:.2} to {:.2}{level})", (ratio - half).max(0.0), ratio + half)
        });
        text += &format!(
            "  {device} {op} {source} {shape} {dtype}: {ratio:.2} times as fast{sure}; \
             beside the ceiling of each run {beside_ceiling:.2} times\n"
        );
    }
    if changes.is_empty() {
        text += "  nothing in common: no op, source, shape and type of this run is in it\n";
    }
    text
}

impl Saved {
    fn parse(value: Value) -> Result<Saved, String> {
        let saved: Saved = serde_json::from_value(value).map_err(|e| e.to_string())?;
        match saved.format == FORMAT {
            true => Ok(saved),
            false => Err(format!("format `{}`: wanted `{FORMAT}`", plain(&saved.format))),
        }
    }

    fn read(path: &Path) -> Result<Saved> {
        let text = input::read_text(path, "times that --save kept, or a file of steep bench --json")?;
        let value = serde_json::from_str(&text).map_err(|e| e.to_string());
        value.and_then(Saved::parse).map_err(|e| Error::file(path, e))
    }

    /// What was timed here and in `then`, on devices of one description.
    fn since(&self, then: &Saved) -> Vec<Change> {
        let before = |device: &Device, row: &Row| {
            let same = |old: &&Row| {
                [&old.op, &old.source, &old.shape, &old.dtype, &old.bound]
                    == [&row.op, &row.source, &row.shape, &row.dtype, &row.bound]
            };
            let devices = then.devices.iter().filter(|old| old.description == device.description);
            devices.flat_map(|old| &old.timed).find(same)
        };
        let mut changes = vec![];
        for device in &self.devices {
            for row in &device.timed {
                let Some(old) = before(device, row) else { continue };
                let speedup = unpaired_speedup(&old.samples_ms, &row.samples_ms);
                changes.push(Change {
                    device: device.name.clone(),
                    op: row.op.clone(),
                    source: row.source.clone(),
                    shape: row.shape.clone(),
                    dtype: row.dtype.clone(),
                    ratio: speedup.value,
                    half: speedup.half,
                    beside_ceiling: old.ms * old.ceiling / (row.ms * row.ceiling),
                });
            }
        }
        changes
    }

    /// A picture for each device, in `file`, or where there are several with the device's name in the file's.
    fn rooflines(&self, file: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = vec![];
        for device in self.devices.iter().filter(|device| !device.timed.is_empty()) {
            let path = match self.devices.len() {
                1 => file.to_path_buf(),
                _ => {
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                    file.with_file_name(format!("{stem}-{}.svg", device.name.replace(':', "-")))
                }
            };
            files.push((path, device.roofline()?.into_bytes()));
        }
        Ok(files)
    }
}

impl Device {
    /// Of one op a series for each source; of several a series for each op, with the fastest of its sources.
    fn roofline(&self) -> Result<String> {
        let op = self.timed.first().map_or("", |row| &row.op);
        let of_one = self.timed.iter().all(|row| row.op == op);
        let fastest = |row: &Row| {
            let same = |other: &&Row| (&other.op, &other.shape) == (&row.op, &row.shape);
            self.timed.iter().filter(same).all(|other| row.ms <= other.ms)
        };
        let rows = self.timed.iter().filter(|row| row.bytes > 0 && row.operations > 0);
        let points: Vec<RooflinePoint> = rows
            .filter(|row| of_one || fastest(row))
            .map(|row| RooflinePoint {
                series: if of_one { row.source.clone() } else { row.op.clone() },
                label: if fastest(row) { row.shape.clone() } else { String::new() },
                intensity: row.operations as f64 / row.bytes as f64,
                rate: row.operations as f64 / row.ms / 1e6,
            })
            .collect();
        // The page in a browser measures ceilings beside the rows alone.
        let beside = |bound: &str| {
            let rows = self.timed.iter().filter(|row| row.bound == bound);
            rows.map(|row| row.ceiling).max_by(f64::total_cmp)
        };
        let copy = self.copy_gbps.or_else(|| beside("copy"));
        let matmul = self.matmul_gflops.or_else(|| beside("matmul"));
        let (Some(copy), false) = (copy, points.is_empty()) else {
            let wanted = "times of ops that compute something, from a version that writes `operations`";
            return Err(Error::setting("a roofline", wanted));
        };
        let what = if of_one { op } else { "all ops, the fastest source of each" };
        let title = format!("{what}, on {}", self.description);
        Ok(roofline(&title, Roofs { copy, matmul }, &points))
    }
}

/// The line above a device's rows, in words.
pub fn head(found: &OnDevice, cold: bool) -> String {
    let rate = |v: Option<f64>| v.unwrap_or_default();
    format!(
        "{}: copy {:.1} GB/s, matmul {:.0} GFLOP/s; {}\n\n{:20} {:9} {:24} {:5} {:>10} {:>6} {:>14}  of its ceiling\n",
        found.description,
        rate(found.copy_gbps),
        rate(found.matmul_gflops),
        if cold {
            "cold: each run has operands of its own"
        } else {
            "warm: the same operands again and again"
        },
        "op",
        "source",
        "shape",
        "dtype",
        "ms",
        "spread",
        "rate",
    )
}
