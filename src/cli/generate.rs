//! `steep generate`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use steep::cache::{Doubt, Measure, Rule, Spec, TeaCache, doubts};
use steep::evaluate::metrics::{Estimate, psnr, speedup, ssim};
use steep::model::{Checkpoint, DecoderFile};
use steep::sample::{GateMode, Progress, Run};
use steep::video::Video;
use steep::{Device, Generate, Result};

use super::decoder::{self, Decoding};
use super::picture::{Format, Look};
use super::preview::{self, Preview, Watching};
use super::setup::{self, Asked, Class, Setup};
use super::sidecar::{self, Sidecar};
use super::{output, progress, report};

/// Sample a video, with or without a cache
///
/// A `tea` cache that names no coefficients takes those of the model's calibration, which `calibrate` writes. If there is
/// none, it takes distances as they are, which is `identity`. What was used is printed and recorded.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  steep generate --class 7 --seed 3 --cache tea:0.04 --compare --out seven.gif --json seven.json")]
pub struct Args {
    #[command(flatten)]
    pub setup: Setup,
    /// What to draw: a class by its number (`inspect` tells how many a model has), by its name where names are known, as
    /// those of ImageNet are, or `none`, which draws without a class and without guidance
    #[arg(long, value_name = "CLASS", default_value = "0", allow_negative_numbers = true)]
    pub class: Asked,
    /// Seed of the noise, from 0; the same seed draws the same noise everywhere
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = setup::seed)]
    pub seed: u64,
    #[arg(long, value_name = "SPEC", default_value = "off", help = Spec::grammar())]
    pub cache: Spec,
    #[command(flatten)]
    pub named: sidecar::Named,
    #[arg(long, value_name = "MODE", default_value = "host", help = gate_help())]
    pub gate: Mode,
    /// Run without the cache, too, and say what it gained and lost. Runs that take less than a few seconds are repeated in
    /// turn, until the interval of the speedup is small or a few seconds have gone
    #[arg(long)]
    pub compare: bool,
    /// Write the clip: .gif, .png (animated), .y4m, or .safetensors (`video`, f32 [F, C, H, W]). Pictures are of clips
    /// with 1 or 3 channels, or of what a decoder makes of latents. Without this, the clip is not kept.
    /// With --compare, uncached and cached side by side, or a second tensor `uncached`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    pub decoding: Decoding,
    #[command(flatten)]
    preview: preview::Options,
    /// Draw distances, sums and decisions of all steps (.svg)
    #[arg(long, value_name = "FILE")]
    pub skip_map: Option<PathBuf>,
    /// Write the run's record; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print errors and warnings alone
    #[arg(long, short)]
    pub quiet: bool,
}

fn gate_help() -> String {
    let measuring = Spec::names(|policy| policy.measure != Measure::Nothing);
    format!(
        "Who acts on the decision of a cache that measures ({measuring}): the host reads it at each step, or the \
         kernels look themselves"
    )
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Mode {
    Host,
    Device,
}

impl From<Mode> for GateMode {
    fn from(mode: Mode) -> GateMode {
        match mode {
            Mode::Host => GateMode::Host,
            Mode::Device => GateMode::Device,
        }
    }
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Host => "host",
            Mode::Device => "device",
        }
    }
}

/// Seconds of a pair of runs that is long enough to be timed once.
pub const LONG: f64 = 3.0;

/// A timed run.
pub struct Timed {
    pub run: Run,
    pub video: Video,
    /// The mean, where it was repeated.
    pub wall: Duration,
}

/// All that was made, for the report and the files.
pub struct Made<'a> {
    pub args: &'a Args,
    pub checkpoint: &'a Checkpoint,
    pub class: Class,
    pub device: &'a Device,
    pub sidecar: &'a Sidecar,
    pub settings: serde_json::Value,
    /// TeaCache's, with the coefficients that were used.
    pub rule: Option<TeaCache>,
    pub uncached: Option<Timed>,
    pub cached: Timed,
    /// Seconds without and with the cache, for each pair of runs.
    pub pairs: Vec<[f64; 2]>,
    pub psnr: Option<f64>,
    pub ssim: Option<f64>,
    /// What made pictures of latents.
    pub decoder: Option<String>,
    /// Why the cached clip may be far from the uncached one.
    pub doubts: Vec<Doubt>,
}

pub async fn run(args: &Args) -> Result<()> {
    args.check()?;
    let checkpoint = args.setup.checkpoint(args.quiet)?;
    let class = args.class.of(&checkpoint)?;
    let sidecar = Sidecar::find(&checkpoint, &[&args.cache], &args.setup, &args.named)?;
    let pictures = args.out.as_deref().map(Format::of).transpose()?.is_some_and(|format| format.is_picture());
    let decoder = args.decoding.open(&args.setup, &checkpoint, pictures, args.quiet)?;
    let of_previews = args.preview.decoder(&checkpoint, args.quiet)?;
    output::check(&args.files().into_iter().flatten().collect::<Vec<_>>(), &[])?;
    let (c, clips) = (checkpoint.config(), if args.compare { 2 } else { 1 });
    let shape = decoder::shape(c, decoder.as_ref());
    let device = args.setup.device().await?;
    let policy = args.cache.policy(args.setup.steps, &sidecar.given(&args.cache))?;
    let mut footprint = args.setup.footprint(&checkpoint, &[policy]);
    if let Some(out) = &args.out {
        args.look.check(out, shape, clips)?;
        let picture = args.look.bytes(out, shape, clips);
        footprint.host.extend((picture > 0).then_some(("picture", picture)));
    }
    for decoder in decoder.iter().chain(&of_previews) {
        footprint.device.extend(decoder.footprint(c.height, c.width, args.setup.dtype));
    }
    let model = args.setup.load(&device, &checkpoint, &footprint, |plan| args.say(plan))?;
    let words = decoder.as_ref().map(DecoderFile::words);
    let load = |file: DecoderFile| file.load(&device, args.setup.dtype);
    let (decoder, of_previews) = (decoder.map(load).transpose()?, of_previews.map(load).transpose()?);
    let small = of_previews.as_ref().or(decoder.as_ref().filter(|decoder| decoder.is_tiny()));
    let preview = args.preview.begin(&checkpoint, small, &args.look)?;
    let uncached = args.setup.clip(&model, class, args.seed).gate(args.gate.into());
    let cached = uncached.clone().cache(args.cache.clone()).given(sidecar.given(&args.cache));
    let rule = cached.policy()?.rule;
    let settings = cached.settings(&checkpoint.name())?;
    // Runs are timed warm.
    let busy = progress::busy("compiling kernels", args.quiet);
    cached.warm_up().await?;
    drop(busy);
    let (mut uncached, mut cached, pairs) = match args.compare {
        true => {
            let (uncached, cached, pairs) = args.pairs([&uncached, &cached]).await?;
            (Some(uncached), cached, pairs)
        }
        false => (None, args.sample(&cached, &args.cache.to_string(), preview.as_ref()).await?, vec![]),
    };
    for (side, timed) in [uncached.as_mut(), Some(&mut cached)].into_iter().enumerate() {
        if let Some(timed) = timed.filter(|_| !pairs.is_empty()) {
            let seconds = pairs.iter().map(|pair| pair[side]).sum::<f64>() / pairs.len() as f64;
            timed.wall = Duration::from_secs_f64(seconds);
        }
    }
    if let Some(decoder) = &decoder {
        for timed in uncached.iter_mut().chain([&mut cached]) {
            timed.video = decoder::decode(decoder, &timed.video, args.quiet).await?;
        }
    }
    let doubts = doubts(&rule, &cached.run.trace());
    for doubt in &doubts {
        super::complain(&format!("warning: {}: {doubt}", args.cache));
    }
    let rule = match rule {
        Rule::Threshold(rule) => Some(rule),
        _ => None,
    };

    let (psnr, ssim) = match &uncached {
        // Frames smaller than its window have no SSIM.
        Some(u) => (Some(psnr(&u.video, &cached.video)?), ssim(&u.video, &cached.video).ok()),
        None => (None, None),
    };
    let (checkpoint, device, sidecar) = (&checkpoint, &device, &sidecar);
    let made = Made {
        args,
        checkpoint,
        class,
        device,
        sidecar,
        settings,
        rule,
        uncached,
        cached,
        pairs,
        psnr,
        ssim,
        decoder: words,
        doubts,
    };
    made.write()
}

impl Args {
    /// What can be known to be wrong before any work.
    fn check(&self) -> Result<()> {
        if let Some(out) = &self.out {
            Format::of(out)?;
        }
        self.cache.check(self.setup.steps)
    }

    /// Whether nothing is asked for but the summary.
    fn discards(&self) -> bool {
        self.files().iter().all(Option::is_none) && !self.compare && self.json.is_none()
    }

    /// Where the clip, the skip map, the record and previews go.
    fn files(&self) -> [Option<&Path>; 4] {
        let json = self.json.as_deref().filter(|_| !self.json_to_stdout());
        [self.out.as_deref(), self.skip_map.as_deref(), json, self.preview.path()]
    }

    fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Writes for people: beside a record on standard output, on standard error.
    fn say(&self, text: &str) -> Result<()> {
        if self.json_to_stdout() && !self.quiet {
            // Where standard error is closed, there is nobody to tell.
            let _ = std::io::stderr().write_all(text.as_bytes());
            return Ok(());
        }
        super::say_if(!self.quiet, text)
    }

    /// Both runs, and the times of as many pairs as it takes to tell how much faster the second is.
    async fn pairs(&self, [uncached, cached]: [&Generate<'_>; 2]) -> Result<(Timed, Timed, Vec<[f64; 2]>)> {
        /// The interval that is small enough, as a share of the speedup.
        const ENOUGH: f64 = 0.05;
        const SECONDS: f64 = 2.0 * LONG;
        const FEWEST: usize = 3;
        const MOST: usize = 24;
        let name = self.cache.to_string();
        let first = (self.sample(uncached, "uncached", None).await?, self.sample(cached, &name, None).await?);
        let mut pairs = vec![[first.0.wall.as_secs_f64(), first.1.wall.as_secs_f64()]];
        let spent = |pairs: &[[f64; 2]]| pairs.iter().flatten().sum::<f64>();
        // A cache that is none has no speedup. Long runs are even enough, unless what they say cannot be.
        let bound = first.1.run.steps.len() as f64 / first.1.run.computed() as f64;
        let possible = |pairs: &[[f64; 2]]| speedup(pairs).scaled(1.0 / bound).is_within_bound();
        if self.cache == Spec::off() || (spent(&pairs) > LONG && possible(&pairs)) {
            return Ok((first.0, first.1, pairs));
        }
        let ends = |pairs: &[[f64; 2]]| {
            // A figure that is not worth printing yet is worth twice the time.
            let estimate = speedup(pairs);
            let limit = if estimate.is_timed() && possible(pairs) { SECONDS } else { 2.0 * SECONDS };
            pairs.len() >= MOST || (estimate.within(ENOUGH) && possible(pairs)) || spent(pairs) > limit
        };
        while pairs.len() < FEWEST || !ends(&pairs) {
            // Who begins takes turns: whatever the first run of a pair suffers from, both do.
            let (a, b) = match pairs.len() % 2 {
                0 => {
                    (self.sample(uncached, "uncached", None).await?, self.sample(cached, &name, None).await?)
                }
                _ => {
                    let b = self.sample(cached, &name, None).await?;
                    (self.sample(uncached, "uncached", None).await?, b)
                }
            };
            pairs.push([a.wall.as_secs_f64(), b.wall.as_secs_f64()]);
        }
        Ok((first.0, first.1, pairs))
    }

    async fn sample(
        &self,
        generate: &Generate<'_>,
        name: &str,
        preview: Option<&Preview<'_>>,
    ) -> Result<Timed> {
        let bar = progress::bar(name, self.setup.steps, self.quiet);
        let (mut computed, mut skipped) = (0, 0);
        let progress = |p: Progress| {
            if let Some(decision) = p.decision {
                computed += usize::from(decision.computes());
                skipped += usize::from(!decision.computes());
                bar.set_message(format!("{}  {computed} computed, {skipped} skipped", decision.letter()));
            }
            bar.set_position(p.done as u64);
            super::go_on()
        };
        let start = Instant::now();
        let run = generate.watch(&mut Watching { preview, progress }).await;
        let wall = start.elapsed();
        bar.finish_and_clear();
        let run = run?;
        Ok(Timed { video: super::clips::only(&run)?, run, wall })
    }
}

impl Made<'_> {
    /// How much faster the cache is: None where there is nothing to compare, or no figure is worth printing.
    pub fn speedup(&self) -> Option<Estimate> {
        let estimate = speedup(&self.pairs);
        let known = match self.pairs.len() {
            0 => false,
            1 => true,
            _ => estimate.is_timed(),
        };
        let possible = estimate.scaled(1.0 / self.bound()).is_within_bound();
        Some(estimate).filter(|_| known && possible && self.args.cache != Spec::off())
    }

    /// Steps / computed steps: what the speedup is at most.
    pub fn bound(&self) -> f64 {
        self.cached.run.steps.len() as f64 / self.cached.run.computed() as f64
    }

    fn write(&self) -> Result<()> {
        let args = self.args;
        let [clip, map, json, _] = args.files();
        let record = format!("{:#}\n", report::record(self));
        let mut files = Vec::new();
        if let Some(path) = clip {
            files.push((path, self.clip(path)?));
        }
        if let Some(path) = map {
            files.push((path, report::skip_map(self).into_bytes()));
        }
        if let Some(path) = json {
            files.push((path, record.clone().into_bytes()));
        }
        output::write(&files)?;

        let written: Vec<&Path> = files.iter().map(|(path, _)| *path).collect();
        let paint = match args.json_to_stdout() {
            true => report::Paint::of_stderr(),
            false => report::Paint::of_stdout(),
        };
        let mut summary = report::summary(self, &written, paint);
        if args.discards() {
            summary += "  the clip was not written; --out FILE.gif writes it\n";
        }
        args.say(&summary)?;
        if args.json_to_stdout() { super::say(&record) } else { Ok(()) }
    }

    /// The clip as the file's ending asks for it.
    fn clip(&self, path: &Path) -> Result<Vec<u8>> {
        let uncached = self.uncached.as_ref().map(|u| &u.video);
        let both: Vec<&Video> = uncached.into_iter().chain([&self.cached.video]).collect();
        match self.args.look.file(path, &both)? {
            Some(picture) => Ok(picture),
            None => report::safetensors(self, path),
        }
    }
}
