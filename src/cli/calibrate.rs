//! `steep calibrate`

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use steep::cache::{Measure, Policy, TeaCache};
use steep::evaluate::calibrate::{self, Binding, Calibration, Clip, DEGREE, Fit, pearson};
use steep::evaluate::journal::{self, Journal};
use steep::evaluate::metrics::psnr;
use steep::model::{Decoder, Dit, Model, RunSize};
use steep::plot::{self, FittedCurve};
use steep::sample::{GateMode, Progress, Schedule, magnitudes, observe};
use steep::video::Video;
use steep::{Device, Error, Generate, Result, plain};

use super::decoder::{self, Decoding};
use super::setup::Setup;
use super::{clips, output, progress, report, sidecar};

/// Fit TeaCache's polynomial to a model, and find thresholds
///
/// Runs without a cache and records at each step how far the modulated input moved (x) and how far the model's output
/// moved (y). Fits polynomials of degree 1 to 4 to all pairs and writes the chosen one, with what it depends on, to
/// MODEL.teacache.json beside the model (for the shipped model and for one of the hub: in the current folder). `generate`
/// and `compare` look for it there, or take the file that --calibration names. They refuse a file of other weights, warn
/// where steps, sampler, guidance or dtype differ, and say which file they used.
///
/// MagCache's table goes into the same file, from one more run of the first clip: `mag:δ@MODEL.teacache.json`. The same
/// rule holds for it.
///
/// In use, f(x) below zero counts as zero, x below the fitted range as its lower end, and x above it computes the step.
/// `tea:δ:raw` does none of this, as the official code; `tea:δ:identity` takes distances as they are.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep calibrate --model models/moving-mnist-32.safetensors
  steep calibrate --pairs pairs.jsonl --target-speedup 2
  steep calibrate --pairs pairs.jsonl --seeds 0 --degree 1 --plot fit.svg")]
pub struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Clips of each class; 0 only fits what --pairs holds already
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    seeds: u64,
    /// The first seed: by default far from those that clips are judged on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    first_seed: u64,
    /// Classes, with commas between; `all`; or `cycle`, one for each seed in turn
    #[arg(long, value_name = "LIST", default_value = "all")]
    classes: clips::Classes,
    /// Degree of the polynomial that is written
    #[arg(long, value_name = "N", default_value_t = DEGREE as u8, value_parser = clap::value_parser!(u8).range(1..=DEGREE as i64))]
    degree: u8,
    /// Keep the pairs in this file, a line per clip. Clips that it holds are not run again, so that a run that was
    /// killed goes on where it was
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Where to write the calibration; without this option, MODEL.teacache.json beside the model (for the shipped model and
    /// for one of the hub: in the current folder)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw the pairs and the polynomials (.svg)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Also find the smallest threshold whose bound, steps / computed steps, is at least this: by replaying the pairs,
    /// then confirmed with real runs
    #[arg(long, value_name = "X")]
    target_speedup: Option<f64>,
    /// Also find a large threshold whose clips keep this mean PSNR in decibels to the uncached ones: by real runs, and in
    /// pictures where a decoder makes them
    #[arg(long, value_name = "DB")]
    target_psnr: Option<f64>,
    /// Clips of the real runs of the targets
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    target_clips: u64,
    #[command(flatten)]
    decoding: Decoding,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print errors and warnings alone
    #[arg(long, short)]
    quiet: bool,
}

/// The kind of journal that --pairs is.
const KIND: &str = "steep pairs 1";

pub async fn run(args: &Args) -> Result<()> {
    for (name, target, least) in
        [("--target-speedup", args.target_speedup, 1.0), ("--target-psnr", args.target_psnr, 0.0)]
    {
        if let Some(target) = target.filter(|t| !(t.is_finite() && *t >= least)) {
            return Err(Error::setting(format!("{name} {target}"), format!("a number from {least}")));
        }
    }
    let checkpoint = args.setup.checkpoint(args.quiet)?;
    let out = args.out.clone().unwrap_or_else(|| sidecar::path(&checkpoint));
    let outputs: Vec<&Path> = [Some(&out), args.plot.as_ref()].into_iter().flatten().map(|p| &**p).collect();
    let journals: Vec<&Path> = args.pairs.iter().map(|p| &**p).collect();
    output::check(&outputs, &journals)?;
    args.classes.check(checkpoint.config())?;
    let setup = &args.setup;
    Schedule::new(checkpoint.config().prediction, setup.spacing, setup.steps, setup.guidance)?;
    if args.setup.steps < 2 {
        return Err(Error::setting(
            format!("steps {}", args.setup.steps),
            "at least 2: a distance needs a step before",
        ));
    }
    let decoder = args.decoding.open(setup, &checkpoint, args.target_psnr.is_some(), args.quiet)?;
    let device = args.setup.device().await?;
    // MagCache's table is made from those of two steps.
    let mut footprint = checkpoint.config().footprint(RunSize { residuals: 2, ..args.setup.size() });
    if let Some(decoder) = &decoder {
        let config = checkpoint.config();
        footprint.device.extend(decoder.footprint(config.height, config.width, args.setup.dtype));
    }
    let say = |plan: &str| super::say_if(!args.json && !args.quiet, plan);
    let model = args.setup.load(&device, &checkpoint, &footprint, say)?;
    let binding = args.setup.binding(&checkpoint)?;
    let decoder = decoder.map(|file| file.load(&device, args.setup.dtype)).transpose()?;
    let runner = Runner { args, model: &model, decoder: decoder.as_ref() };

    let (clips, binding) = runner.pairs(binding).await?;
    let fits = (1..=DEGREE).map(|degree| Fit::of(&clips, degree)).collect::<Result<Vec<_>>>()?;
    let fit = fits[usize::from(args.degree) - 1].clone();
    let pairs = clips.iter().map(|clip| clip.x.len()).sum();
    let magnitudes = runner.magnitudes(&clips[0]).await?;
    let calibration = Calibration { binding, fit, clips: clips.len(), pairs, magnitudes };

    let text = json!(calibration);
    let mut files = vec![(out.as_path(), format!("{text:#}\n").into_bytes())];
    if let Some(path) = &args.plot {
        let points: Vec<(f64, f64)> =
            clips.iter().flat_map(|c| c.x.iter().copied().zip(c.y.iter().copied())).collect();
        let curve = |fit: &Fit| FittedCurve {
            name: format!("degree {}, R² {:.3}", fit.degree, fit.r2),
            coefficients: fit.coefficients,
        };
        let curves: Vec<FittedCurve> = fits.iter().map(curve).collect();
        let title = format!("{}: {} pairs of {} clips", checkpoint.name(), points.len(), clips.len());
        files.push((path, plot::fits(&title, &points, &curves).into_bytes()));
    }
    output::write(&files)?;
    // A target that cannot be met takes nothing of what was fitted.
    let found = runner.targets(&calibration, &clips).await?;
    let r2 = calibration.fit.r2;
    if r2.is_nan() || r2 < 0.3 {
        super::complain(&format!(
            "warning: R² {r2:.3}: the input says little about how far the output moves here"
        ));
    }
    if args.json {
        let found: Vec<Value> = found.iter().map(Found::json).collect();
        return super::say(&format!(
            "{:#}\n",
            json!({ "fits": fits, "calibration": calibration, "targets": found })
        ));
    }
    if args.quiet {
        return Ok(());
    }
    let mut lines = table(&calibration, &device, &clips, &fits);
    lines.extend(found.iter().map(Found::line));
    lines.push(format!("\n{}", output::wrote(files.iter().map(|(path, _)| *path))));
    super::say(&lines.concat())
}

/// What was fitted, in words.
fn table(made: &Calibration, device: &Device, clips: &[Clip], fits: &[Fit]) -> Vec<String> {
    let bold = |text: &str| report::Paint::of_stdout().bold(text);
    let b = &made.binding;
    let [low, high] = made.fit.range;
    let r = pearson(clips.iter().flat_map(|c| c.x.iter().copied().zip(c.y.iter().copied())));
    let mut lines = vec![
        format!("{} in {}, {}\n", bold(&plain(&b.model)), b.dtype, device.describe()),
        format!(
            "{} steps, guidance {}: {} pairs of {} clips\n\n",
            b.steps, b.guidance, made.pairs, made.clips
        ),
        format!(
            "  x, of the modulated input, from {low:.4} to {high:.4}; Pearson of x and y, of the output: {r:.4}\n\n"
        ),
        format!(
            "  {:6} {:>8} {:>12} {:>8}   {:17}   c4, c3, c2, c1, c0\n",
            "degree", "R²", "held-out R²", "Pearson", "fitted range"
        ),
    ];
    for fit in fits {
        let held_out = fit.held_out_r2.map_or("-".into(), |r2| format!("{r2:.4}"));
        let chosen = if fit.degree == made.fit.degree { "*" } else { " " };
        let coefficients = fit.coefficients.map(|c| format!("{c:.4}")).join(", ");
        lines.push(format!(
            "  {:5}{chosen} {:8.4} {held_out:>12} {:8.4}   {:.4} to {:.4}   {coefficients}\n",
            fit.degree, fit.r2, fit.pearson, fit.range[0], fit.range[1]
        ));
    }
    lines
}

struct Runner<'a> {
    args: &'a Args,
    model: &'a Dit,
    /// What makes pictures of the clips that are compared.
    decoder: Option<&'a Decoder>,
}

impl Runner<'_> {
    /// What is asked for and what the file holds, in the order of (class, seed); and what is known of how they were made.
    async fn pairs(&self, mut binding: Binding) -> Result<(Vec<Clip>, Binding)> {
        let args = self.args;
        let mut header: Map<String, Value> = Map::from_iter([("journal".to_string(), json!(KIND))]);
        if let Value::Object(binding) = json!(binding) {
            header.extend(binding);
        }
        // Pairs of an older version may record fewer settings: those stay unknown.
        let before = args.pairs.as_ref().filter(|path| path.exists()).map(|path| journal::header(path));
        let before = Value::Object(before.transpose()?.unwrap_or_default());
        if serde_json::from_value::<Binding>(before.clone()).is_ok() {
            header.retain(|key, value| {
                let known = before.get(key).is_some();
                if let (false, Some(path)) = (known, &args.pairs) {
                    let (path, value) =
                        (path.display(), value.as_str().map_or(value.to_string(), str::to_string));
                    super::complain(&format!(
                        "warning: {path}: does not say at which {key} it was recorded, used at {value}"
                    ));
                }
                known
            });
            let unknown = |e| Error::setting(format!("settings of pairs: {e}"), "those of a run");
            binding = serde_json::from_value(header.clone().into()).map_err(unknown)?;
        }
        let mut journal = None;
        let mut clips: Vec<Clip> = vec![];
        if let Some(path) = &args.pairs {
            let (file, records) = Journal::open(path, &header)?;
            for (i, record) in records.into_iter().enumerate() {
                let wrong = |e: String| Error::file(path, format!("line {}: {e}", i + 2));
                let clip: Clip = serde_json::from_value(record).map_err(|e| wrong(e.to_string()))?;
                clip.check(args.setup.steps).map_err(|e| wrong(e.to_string()))?;
                clips.push(clip);
            }
            journal = Some(file);
        }
        let had: HashSet<_> = clips.iter().map(|clip| (clip.class, clip.seed)).collect();
        let missing: Vec<_> = self.clips(args.seeds).filter(|clip| !had.contains(clip)).collect();
        let bar = progress::bar("uncached", missing.len(), args.quiet);
        for (class, seed) in missing {
            let seen = observe(&self.clip(class, seed), &mut progress(args.setup.steps, &bar)).await?;
            let y = seen.outputs.iter().skip(1).map(|d| d.unwrap_or(f64::NAN)).collect();
            let x = seen.run.steps.iter().skip(1).map(|r| r.step.distance.unwrap_or(f64::NAN)).collect();
            let clip = Clip { class, seed, x, y };
            clip.check(args.setup.steps)?;
            if let Some(journal) = &mut journal {
                journal.append(&json!(clip))?;
            }
            clips.push(clip);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if clips.is_empty() {
            return Err(Error::setting(
                format!("--seeds {}", args.seeds),
                "at least 1, or --pairs with some",
            ));
        }
        // Sums in one order, whatever was there before.
        clips.sort_by_key(|clip| (clip.class, clip.seed));
        Ok((clips, binding))
    }

    /// Class and seed of the clips of the first `seeds` seeds.
    fn clips(&self, seeds: u64) -> impl Iterator<Item = (usize, u64)> {
        let seeds = (0..seeds).map(|index| self.args.first_seed.wrapping_add(index));
        let classes = |seed| self.args.classes.of(seed, self.model.config()).into_iter();
        seeds.flat_map(move |seed| classes(seed).map(move |class| (class, seed)))
    }

    /// MagCache's table from one clip, as its authors make it (arXiv 2506.09045, section 3.3).
    async fn magnitudes(&self, clip: &Clip) -> Result<Vec<f64>> {
        let ratios = magnitudes(&self.clip(clip.class, clip.seed)).await?;
        super::go_on()?;
        Ok(ratios)
    }

    fn clip(&self, class: usize, seed: u64) -> Generate<'_> {
        self.args.setup.clip(self.model, class, seed).gate(GateMode::Device)
    }

    /// A clip with TeaCache's rule, and how many steps it computed.
    async fn sample(
        &self,
        (class, seed): (usize, u64),
        rule: &TeaCache,
        bar: &ProgressBar,
    ) -> Result<(Video, usize)> {
        let policy = Policy::threshold(Measure::Signal, rule.clone());
        let mut progress = progress(self.args.setup.steps, bar);
        let run = self.clip(class, seed).run_with(policy, &mut progress).await?;
        Ok((decoder::pictures(self.decoder, clips::only(&run)?, bar).await?, run.computed()))
    }

    /// The thresholds that were asked for.
    async fn targets(&self, made: &Calibration, clips: &[Clip]) -> Result<Vec<Found>> {
        let args = self.args;
        let mut found = vec![];
        if args.target_speedup.is_none() && args.target_psnr.is_none() {
            return Ok(found);
        }
        let bar = progress::bar("searching", 0, args.quiet);
        let rule = made.rule(0.0, args.setup.steps);
        let mut originals = vec![];
        for clip in self.clips(args.target_clips).take(args.target_clips as usize) {
            originals.push((clip, self.sample(clip, &rule, &bar).await?.0));
        }
        if let Some(target) = args.target_speedup {
            let Some(threshold) = calibrate::threshold_for(clips, &rule, target) else {
                let most = calibrate::ratio(clips, &at(&rule, calibrate::most(clips, &rule)));
                return Err(Error::setting(
                    format!("--target-speedup {target}"),
                    format!("at most {most:.2} here"),
                ));
            };
            let measured = self.judge(&originals, &at(&rule, threshold), &bar).await?;
            let replayed = Some(calibrate::ratio(clips, &at(&rule, threshold)));
            found.push(Found { asked: format!("speedup {target}"), threshold, replayed, measured });
        }
        if let Some(target) = args.target_psnr {
            found.push(self.by_psnr(target, clips, &rule, &originals, &bar).await?);
        }
        bar.finish_and_clear();
        Ok(found)
    }

    /// Bisection between a threshold that skips nothing and one that skips all it may.
    async fn by_psnr(
        &self,
        target: f64,
        clips: &[Clip],
        rule: &TeaCache,
        originals: &[((usize, u64), Video)],
        bar: &ProgressBar,
    ) -> Result<Found> {
        const RUNS: usize = 10;
        let asked = format!("PSNR {target}");
        let found = |threshold, measured| Found { asked: asked.clone(), threshold, replayed: None, measured };
        let mut high = calibrate::most(clips, rule);
        let most = self.judge(originals, &at(rule, high), bar).await?;
        if most.psnr >= target {
            return Ok(found(calibrate::round_up(high), most));
        }
        // The first skip at all is where the replayed bound leaves 1.
        let mut low = calibrate::threshold_for(clips, rule, 1.0 + 1e-9).unwrap_or(0.0) / 2.0;
        let mut best = (0.0, self.judge(originals, &at(rule, 0.0), bar).await?);
        for _ in 0..RUNS {
            let middle = calibrate::round_up((low * high).sqrt());
            let measured = self.judge(originals, &at(rule, middle), bar).await?;
            if measured.psnr >= target {
                (low, best) = (middle, (middle, measured));
            } else {
                high = middle;
            }
        }
        match best {
            (threshold, measured) if measured.psnr >= target => Ok(found(threshold, measured)),
            _ => Err(Error::setting(format!("--target-psnr {target}"), "at most 100, that of equal clips")),
        }
    }

    async fn judge(
        &self,
        originals: &[((usize, u64), Video)],
        rule: &TeaCache,
        bar: &ProgressBar,
    ) -> Result<Measured> {
        let (mut computed, mut all) = (0, vec![]);
        for (clip, original) in originals {
            let (video, steps) = self.sample(*clip, rule, bar).await?;
            computed += steps;
            all.push(psnr(original, &video)?);
        }
        Ok(Measured {
            clips: all.len(),
            ratio: (all.len() * self.args.setup.steps) as f64 / computed as f64,
            psnr: all.iter().sum::<f64>() / all.len() as f64,
            worst: all.iter().copied().fold(f64::INFINITY, f64::min),
        })
    }
}

fn at(rule: &TeaCache, threshold: f64) -> TeaCache {
    let mut rule = rule.clone();
    rule.threshold = threshold;
    rule
}

fn progress(steps: usize, bar: &ProgressBar) -> impl FnMut(Progress) -> Result<()> {
    move |p| {
        bar.set_message(format!("step {}/{steps}", p.done));
        super::go_on()
    }
}

/// A threshold that was searched for.
struct Found {
    asked: String,
    threshold: f64,
    /// The bound by the recorded pairs.
    replayed: Option<f64>,
    measured: Measured,
}

/// What real runs at a threshold gave.
struct Measured {
    clips: usize,
    ratio: f64,
    psnr: f64,
    worst: f64,
}

impl Found {
    fn line(&self) -> String {
        let m = &self.measured;
        let replayed = self.replayed.map_or(String::new(), |r| format!("{r:.2}× on the recorded pairs, "));
        format!(
            "\n  {}: tea:{}: {replayed}{:.2}× on {} real runs (steps / computed), PSNR {:.1} dB, worst {:.1}\n",
            self.asked, self.threshold, m.ratio, m.clips, m.psnr, m.worst
        )
    }

    fn json(&self) -> Value {
        let m = &self.measured;
        json!({
            "target": self.asked,
            "threshold": self.threshold,
            "replayed_ratio": self.replayed,
            "clips": m.clips,
            "ratio": m.ratio,
            "psnr": m.psnr,
            "worst_psnr": m.worst,
        })
    }
}
