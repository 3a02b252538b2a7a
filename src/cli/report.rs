//! What `generate` says about a run: in words, as a record, as a picture, beside the tensors.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use steep::cache::{Spec, letters};
use steep::{Result, plain};

use super::generate::{Made, Timed};
use super::sidecar::Source;
use super::{output, progress};

/// Colour, where [it may be drawn](progress::draws).
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn of_stdout() -> Paint {
        Paint(progress::draws(&std::io::stdout()))
    }

    pub fn of_stderr() -> Paint {
        Paint(progress::draws(&std::io::stderr()))
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// The decisions, blue where the blocks ran.
    pub fn decisions(self, letters: &str) -> String {
        let runs = letters.as_bytes().chunk_by(|a, b| a == b);
        let colour = |run: &[u8]| {
            let code = match run[0] {
                b'S' => "33",
                b'F' => "1;34",
                _ => "34",
            };
            self.with(code, &String::from_utf8_lossy(run))
        };
        runs.map(colour).collect()
    }
}

/// A few lines for people.
pub fn summary(made: &Made, written: &[&Path], paint: Paint) -> String {
    let (args, cached) = (made.args, &made.cached);
    let steps = cached.run.trace();
    let (total, computed) = (steps.len(), cached.run.computed());
    let cache = plain(&shortened(&args.cache.to_string()));
    let width = cache.chars().count().max("uncached".len());
    let row = |name: &str, computed: usize, timed: &Timed| {
        let (skipped, seconds) = (total - computed, timed.wall.as_secs_f64());
        format!("  {name:width$}  {computed:4} computed  {skipped:4} skipped  {seconds:8.3} s\n")
    };
    let mut lines = vec![
        format!(
            "{} in {}, {}\n",
            paint.with("1", &plain(&made.checkpoint.name())),
            args.setup.dtype,
            made.device.describe()
        ),
        format!(
            "class {}, {total} steps, guidance {}, seed {}\n",
            made.class, args.setup.guidance, args.seed
        ),
    ];
    match made.sidecar.source(&args.cache) {
        Some(source) => lines.push(format!("{cache} with {}\n", source.words())),
        None if args.cache.takes_calibration() => {
            lines.push(format!("{cache} without a calibration: distances as they are\n"));
        }
        None => {}
    }
    lines.push("\n".into());
    if let Some(uncached) = &made.uncached {
        lines.push(row("uncached", total, uncached));
    }
    lines.push(row(&cache, computed, cached));
    lines.push(format!("\n  {}\n", paint.decisions(&letters(&steps))));
    if made.uncached.is_some() && args.cache != Spec::off() {
        lines.push(format!("\n  {}\n", faster(made, paint)));
        lines.push(format!(
            "  {computed} of {total} steps were computed, so the bound is {:.2}×\n",
            made.bound()
        ));
    }
    if let Some(psnr) = made.psnr {
        if args.cache == Spec::off() {
            lines.push("\n  off skips nothing: there is no speedup to measure\n".into());
        }
        let ssim = made.ssim.map_or(String::new(), |s| format!(", SSIM {s:.3}"));
        lines.push(format!("  PSNR {psnr:.1} dB{ssim} between the two clips\n"));
    }
    if let Some(decoder) = &made.decoder {
        let steep::video::Video { height, width, .. } = cached.video;
        lines.push(format!("  pictures of {width}×{height} pixels by {}\n", plain(decoder)));
    }
    if !written.is_empty() {
        lines.push(output::wrote(written.iter().copied()));
    }
    lines.concat()
}

/// Why there is no figure.
fn untold(pairs: usize) -> String {
    format!("too noisy to time ({pairs} pairs of runs): try more --steps, or a quieter machine")
}

/// How much faster the cache is, as far as the runs can tell.
fn faster(made: &Made, paint: Paint) -> String {
    let pairs = made.pairs.len();
    let Some(estimate) = made.speedup() else {
        return untold(pairs);
    };
    let (value, half) = (estimate.value, estimate.half.unwrap_or(0.0));
    let (number, from) = match estimate.half {
        Some(half) => (format!("{value:.2} ± {half:.2}×"), format!("{pairs} pairs of runs")),
        None => (format!("{value:.2}×"), "one pair of runs".into()),
    };
    let words = match value {
        _ if value - half > 1.0 => paint.with("1", &format!("{number} faster")),
        _ if value + half < 1.0 => format!("{number} as fast as uncached, which is slower"),
        _ => format!("{number} as fast as uncached: no difference"),
    };
    // Nothing is faster than its bound, but by the error of the measurement.
    let share = format!("{:.0} % of its bound", (100.0 * value / made.bound()).min(100.0));
    format!("{words}, {share} (from {from})")
}

/// A mask is as long as the run.
fn shortened(cache: &str) -> String {
    const MOST: usize = 32;
    match cache.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &cache[..end]),
        None => cache.into(),
    }
}

/// The settings of the clip: all that its values depend on, and where what belongs to the model came from.
fn settings(made: &Made) -> Value {
    let mut settings = made.settings.clone();
    settings["sidecar"] = json!(made.sidecar.source(&made.args.cache).map(Source::json));
    settings
}

/// The run for programs. A number that is absent or not finite is null.
pub fn record(made: &Made) -> Value {
    let ms = |timed: &Timed| 1e3 * timed.wall.as_secs_f64();
    let mut record = settings(made);
    record["device"] = json!(made.device.describe());
    record["gate"] = json!(made.args.gate.name());
    let Value::Object(run) = made.cached.run.json() else { unreachable!("an object") };
    for (name, value) in run {
        record[name] = value;
    }
    record["wall_ms"] = json!(ms(&made.cached));
    record["uncached_wall_ms"] = json!(made.uncached.as_ref().map(ms));
    record["timed_pairs"] = json!(made.pairs.len());
    record["speedup"] = json!(made.speedup().map(|e| json!({ "value": e.value, "half": e.half })));
    record["decoder"] = json!(made.decoder);
    record["psnr"] = json!(made.psnr);
    record["ssim"] = json!(made.ssim);
    record["warnings"] = made.doubts.iter().map(|doubt| json!(doubt.to_string())).collect();
    record
}

/// Distances, sums and decisions as SVG.
pub fn skip_map(made: &Made) -> String {
    let what = format!("{}, {}", made.checkpoint.name(), shortened(&made.args.cache.to_string()));
    made.cached.run.skip_map(&what, made.rule.as_ref().map(|rule| rule.threshold))
}

/// The clip as tensors, with the settings as JSON in the metadata. The same settings give the same bytes.
pub fn safetensors(made: &Made, path: &Path) -> Result<Vec<u8>> {
    let videos = [("video", Some(&made.cached)), ("uncached", made.uncached.as_ref())];
    let videos = videos.into_iter().filter_map(|(name, timed)| Some((name, &timed?.video)));
    let tensors: Vec<_> = videos.map(|(name, v)| (name, v.shape().to_vec(), v.data.as_slice())).collect();
    // One entry: the crate writes several in an order that changes from run to run.
    let metadata = HashMap::from([("steep".into(), settings(made).to_string())]);
    output::safetensors(path, &tensors, Some(metadata))
}

#[cfg(test)]
mod tests {
    /// Only a busy machine shows it.
    #[test]
    fn what_is_not_told_fits_a_terminal() {
        assert!(super::untold(24).chars().count() + 2 <= 80);
    }
}
