//! A round: one clip without a cache and one with each policy, from the same noise, in one process.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use steep::cache::{Policy, Spec, doubts, letters};
use steep::evaluate::metrics::{Digits, Motion, foreground_psnr, psnr, ssim, velocity_error};
use steep::model::{Config, Decoder, Dit, Model};
use steep::plot::short_name;
use steep::sample::{GateMode, Progress, Schedule};
use steep::video::Video;
use steep::{Error, Generate, Result};

use super::Args;
use crate::cli::clips;
use crate::cli::decoder;
use crate::cli::generate::Timed;
use crate::cli::setup::Setup;
use crate::cli::sidecar::Sidecar;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Candidate {
    /// The row that all others are held against.
    Uncached,
    /// No cache, but this number of steps: the plain way to be faster.
    Steps(usize),
    Cached(Spec),
}

/// The most seeds of a comparison.
pub const MOST_SEEDS: u64 = 1_000_000;

pub const UNCACHED: &str = "uncached";

impl Candidate {
    pub fn name(&self) -> String {
        self.to_string()
    }

    pub fn spec(&self) -> Option<&Spec> {
        match self {
            Candidate::Cached(spec) => Some(spec),
            _ => None,
        }
    }

    /// What its runs follow. An error is what can be known to be wrong before any work.
    pub fn policy(&self, config: &Config, setup: &Setup, sidecar: &Sidecar) -> Result<Policy> {
        let steps = self.steps(setup.steps);
        match self {
            Candidate::Cached(spec) => spec.policy(steps, &sidecar.given(spec)),
            Candidate::Uncached | Candidate::Steps(_) => {
                Schedule::new(config.prediction, setup.spacing, steps, setup.guidance)?;
                Ok(Policy::off(steps))
            }
        }
    }

    fn steps(&self, all: usize) -> usize {
        if let Candidate::Steps(fewer) = self { *fewer } else { all }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Candidate::Uncached => write!(f, "{UNCACHED}"),
            Candidate::Steps(steps) => write!(f, "steps:{steps}"),
            Candidate::Cached(spec) => write!(f, "{spec}"),
        }
    }
}

impl FromStr for Candidate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("steps:") {
            _ if text == UNCACHED => Ok(Candidate::Uncached),
            Some(steps) => {
                let steps =
                    steps.parse().map_err(|_| Error::setting(format!("policy {text:?}"), "steps:N"))?;
                Ok(Candidate::Steps(steps))
            }
            None => Ok(Candidate::Cached(text.parse()?)),
        }
    }
}

/// What a run was asked to compare: a line of a journal, as `asked`. All other lines are finished rounds. What is asked
/// for may grow from run to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// `uncached` first.
    pub policies: Vec<String>,
    /// Coefficients and range of the `tea` policies that name none, or null.
    pub calibration: Value,
    /// For each policy that takes one, the file that belongs to the model, and its hash.
    pub sidecars: BTreeMap<String, Value>,
    pub first_seed: u64,
    pub seeds: u64,
    pub classes: String,
}

impl Asked {
    /// Whether no policy has another sidecar in `other`: runs of one name are then of one policy.
    pub fn agree(&self, other: &Asked) -> Result<(), String> {
        let hash = |asked: &Asked, policy: &String| {
            asked.sidecars.get(policy).map_or(Value::Null, |source| source["sha256"].clone())
        };
        let both = self.policies.iter().filter(|policy| other.policies.contains(policy));
        match both.into_iter().find(|policy| hash(self, policy) != hash(other, policy)) {
            None => Ok(()),
            Some(policy) => Err(format!(
                "{policy} was run with a calibration of sha256 {}, and is wanted with {}; wanted the same, or another \
                 folder",
                hash(self, policy),
                hash(other, policy)
            )),
        }
    }
}

/// The result of one round, as it is kept. A clip has a further round for each time that policies were added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub seed: u64,
    pub class: usize,
    /// Where it ran, with the device's index.
    pub device: String,
    /// Uncached first, then other policies.
    pub runs: Vec<Scored>,
}

impl Round {
    pub fn clip(&self) -> (u64, usize) {
        (self.seed, self.class)
    }

    pub fn run(&self, policy: &str) -> Option<&Scored> {
        self.runs.iter().find(|run| run.policy == policy)
    }

    /// The kind of device: devices that differ in their index alone are one kind.
    pub fn kind(&self) -> String {
        let (name, rest) = self.device.split_once(' ').unwrap_or((&self.device, ""));
        match name.split_once(':') {
            Some((name, index)) if index.bytes().all(|b| b.is_ascii_digit()) => format!("{name} {rest}"),
            _ => self.device.clone(),
        }
    }
}

/// One clip of a round, judged. A number that is absent or not finite is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub policy: String,
    /// F, C, S for each step.
    pub decisions: String,
    pub wall_ms: f64,
    /// Against the uncached clip.
    pub psnr: Option<f64>,
    pub ssim: Option<f64>,
    pub foreground_psnr: Option<f64>,
    pub velocity_error: Option<f64>,
    /// What the classifier sees: the class, and [F, 64] features.
    pub seen: Option<usize>,
    pub features: Option<Vec<f32>>,
    pub jitter: Option<f64>,
    pub jump: Option<f64>,
    pub turns: usize,
    pub at_wall: usize,
    pub lost: usize,
    /// Of each step, where the policy measures: kept for the first seed alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<Option<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accumulated: Vec<Option<f64>>,
}

impl Scored {
    pub fn computed(&self) -> usize {
        self.decisions.chars().filter(|c| *c != 'S').count()
    }
}

/// What a journal holds besides its header.
#[derive(Debug, Default)]
pub struct Kept {
    pub asked: Vec<Asked>,
    pub rounds: Vec<Round>,
    /// Seed, class and policy of all runs of the rounds.
    ran: HashSet<(u64, usize, String)>,
}

impl Kept {
    /// Takes in the lines of a journal. A policy is run once for each clip, in all journals together, and uncached with
    /// each of its rounds.
    pub fn add(&mut self, path: &Path, records: Vec<Value>) -> Result<()> {
        for (i, record) in records.into_iter().enumerate() {
            let wrong = |why: String| Error::file(path, format!("line {}: {why}", i + 2));
            // Asked for by its key, an error names what is wrong with it, and not that it is neither kind.
            match record.get("asked") {
                Some(asked) => {
                    let asked = serde_json::from_value(asked.clone()).map_err(|e| wrong(e.to_string()))?;
                    self.ask(&asked).map_err(wrong)?;
                }
                None => {
                    let round = serde_json::from_value(record).map_err(|e| wrong(e.to_string()))?;
                    self.take(round).map_err(wrong)?;
                }
            }
        }
        Ok(())
    }

    /// Takes in what a run asks for; false if it is known already.
    pub fn ask(&mut self, asked: &Asked) -> Result<bool, String> {
        if let Some(policy) = asked.policies.iter().find(|policy| policy.parse::<Candidate>().is_err()) {
            return Err(format!("policy {policy:?}; wanted one that `steep compare` takes"));
        }
        if !(1..=MOST_SEEDS).contains(&asked.seeds) {
            return Err(format!("{} seeds; wanted 1 to {MOST_SEEDS}", asked.seeds));
        }
        self.asked.iter().try_for_each(|before| before.agree(asked))?;
        let new = !self.asked.contains(asked);
        self.asked.extend(new.then(|| asked.clone()));
        Ok(new)
    }

    /// Takes in a finished round.
    pub fn take(&mut self, round: Round) -> Result<(), String> {
        if let Some(run) =
            round.runs.iter().find(|r| r.decisions.is_empty() || r.wall_ms.is_nan() || r.wall_ms <= 0.0)
        {
            return Err(format!("{}: wanted decisions and a time", run.policy));
        }
        if round.device.chars().any(char::is_control) {
            return Err(format!("device {:?}; wanted a name without control characters", round.device));
        }
        if round.runs.first().is_none_or(|run| run.policy != UNCACHED) {
            return Err(format!("wanted {UNCACHED} as the first of its runs"));
        }
        for (i, run) in round.runs.iter().enumerate() {
            let (policy, (seed, class)) = (run.policy.clone(), round.clip());
            if !self.asked.iter().any(|asked| asked.policies.contains(&policy)) {
                return Err(format!("{policy} was not asked for; wanted a policy of a line `asked`"));
            }
            let twice = format!("seed {seed}, class {class}: {policy} a second time; wanted each once");
            if !self.ran.insert((seed, class, policy)) && i > 0 {
                return Err(twice);
            }
        }
        self.rounds.push(round);
        Ok(())
    }

    /// The candidates that a clip still lacks, with the uncached run that each round has. Nothing if it has all.
    pub fn missing<'c>(&self, clip: (u64, usize), candidates: &'c [Candidate]) -> Vec<&'c Candidate> {
        let had = |candidate: &Candidate| self.ran.contains(&(clip.0, clip.1, candidate.name()));
        let lacks: Vec<&Candidate> = candidates.iter().filter(|c| !had(c)).collect();
        match &lacks[..] {
            [] => lacks,
            [Candidate::Uncached, ..] => lacks,
            _ => [&Candidate::Uncached].into_iter().chain(lacks).collect(),
        }
    }
}

/// The clips of a round next to each other, about 800 pixels wide in all. Over each stands its name, and how many steps it
/// computed of how many. No times: the same clips make the same bytes.
pub fn gif(round: &Round, videos: &[Video]) -> Result<Vec<u8>> {
    const WIDTH: usize = 800;
    const GAP: usize = 4;
    const FPS: u32 = 8;
    let scale = videos.first().map_or(1, |video| (WIDTH / (videos.len() * video.width)).clamp(1, 8));
    // A name that is longer than its pane is wide goes on in the next line, so that all names stand in as many lines.
    let letters = videos.first().map_or(1, |video| (scale * video.width / Video::TITLE_LETTER).max(1));
    let names: Vec<Vec<char>> =
        round.runs.iter().map(|run| short_name(&run.policy).chars().collect()).collect();
    let lines = names.iter().map(|name| name.len().div_ceil(letters)).max().unwrap_or(1);
    let pane = |((run, name), video): ((&Scored, &Vec<char>), &Video)| {
        let mut title: Vec<String> = name.chunks(letters).map(String::from_iter).collect();
        title.resize(lines, String::new());
        title.push(format!("{} of {}", run.computed(), run.decisions.len()));
        if ![1, 3].contains(&video.channels) {
            title.push(format!("channel 1/{}", video.channels));
        }
        video.upscale(scale)?.titled(&title)
    };
    let panes = round.runs.iter().zip(&names).zip(videos).map(pane).collect::<Result<Vec<_>>>()?;
    Video::side_by_side(&panes.iter().collect::<Vec<_>>(), GAP)?.gif(FPS)
}

/// What rounds are made with.
pub struct Runner<'a> {
    pub model: &'a Dit,
    pub sidecar: &'a Sidecar,
    pub digits: Option<&'a Digits>,
    /// What makes pictures of the clips.
    pub decoder: Option<&'a Decoder>,
    pub args: &'a Args,
}

impl Runner<'_> {
    /// Runs are timed warm.
    pub async fn warm_up(&self, candidates: &[&Candidate]) -> Result<()> {
        let clip = self.args.setup.clip(self.model, 0, self.args.first_seed).gate(GateMode::Device);
        for candidate in candidates {
            crate::cli::go_on()?;
            self.cached(clip.clone(), candidate)?.warm_up().await?;
        }
        Ok(())
    }

    /// A clip as a candidate makes it.
    fn cached<'g>(&self, clip: Generate<'g>, candidate: &Candidate) -> Result<Generate<'g>> {
        let clip = clip.steps(candidate.steps(self.args.setup.steps));
        Ok(match candidate {
            Candidate::Cached(spec) => clip.cache(spec.clone()).given(self.sidecar.given(spec)),
            _ => clip,
        })
    }

    /// One round, and its clips. A round that takes no time worth measuring is repeated, and its times are means.
    pub async fn round(
        &self,
        (seed, class): (u64, usize),
        candidates: &[&Candidate],
        bar: &ProgressBar,
    ) -> Result<(Round, Vec<Video>)> {
        const SHORT: Duration = Duration::from_millis(100);
        const MOST: usize = 8;
        let n = candidates.len();
        let clip = self.args.setup.clip(self.model, class, seed).gate(GateMode::Device);
        let mut made: Vec<Option<Timed>> = (0..n).map(|_| None).collect();
        let mut walls = vec![Duration::ZERO; n];
        let mut repeats = 0;
        while repeats == 0 || (repeats < MOST && walls.iter().sum::<Duration>() < SHORT) {
            // Each round begins with another policy: whatever the first run of a round suffers from, all do in turn.
            for turn in 0..n {
                let at = (turn + (seed % n as u64) as usize + repeats) % n;
                let candidate = candidates[at];
                bar.set_message(format!("class {class}, seed {seed}: {}/{n} {candidate}", turn + 1));
                let timed = self.sample(&self.cached(clip.clone(), candidate)?, bar).await;
                let timed = timed.map_err(|e| match e {
                    Error::NotFinite { what, why } => {
                        let what = format!("{candidate}, class {class}, seed {seed}: {what}");
                        Error::NotFinite { what, why }
                    }
                    other => other,
                })?;
                walls[at] += timed.wall;
                made[at].get_or_insert(timed);
            }
            repeats += 1;
        }
        let mut all = vec![];
        for (made, wall) in made.into_iter().flatten().zip(walls) {
            let video = decoder::pictures(self.decoder, made.video, bar).await?;
            all.push(Timed { video, wall: wall / repeats as u32, ..made });
        }
        let made = all;
        let (original, whole) = (&made[0].video, seed == self.args.first_seed);
        if whole {
            for (made, candidate) in made.iter().zip(candidates) {
                let rule = self.cached(clip.clone(), candidate)?.policy()?.rule;
                for doubt in doubts(&rule, &made.run.trace()) {
                    let warning = format!("warning: {candidate}, class {class}, seed {seed}: {doubt}");
                    bar.suspend(|| crate::cli::complain(&warning));
                }
            }
        }
        let judge = |(made, candidate): (&Timed, &&Candidate)| self.judge(candidate, made, original, whole);
        let runs = made.iter().zip(candidates).map(judge).collect::<Result<_>>()?;
        let device = self.model.device().describe();
        Ok((Round { seed, class, device, runs }, made.into_iter().map(|m| m.video).collect()))
    }

    async fn sample(&self, generate: &Generate<'_>, bar: &ProgressBar) -> Result<Timed> {
        let progress = &mut |_: Progress| {
            bar.tick();
            crate::cli::go_on()
        };
        let start = Instant::now();
        let run = generate.watch(progress).await?;
        let wall = start.elapsed();
        Ok(Timed { video: clips::only(&run)?, run, wall })
    }

    fn judge(&self, candidate: &Candidate, made: &Timed, original: &Video, whole: bool) -> Result<Scored> {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let against = |metric: fn(&Video, &Video) -> Result<f64>| {
            // Frames smaller than its window have no SSIM; no clip is compared with itself.
            (*candidate != Candidate::Uncached)
                .then(|| metric(original, &made.video).ok().and_then(finite))
                .flatten()
        };
        let seen = self.digits.map(|digits| digits.look(&made.video)).transpose()?;
        let motion = Motion::of(&made.video)?;
        let steps = made.run.trace();
        let trace = if whole { &steps[..] } else { &[] };
        Ok(Scored {
            policy: candidate.name(),
            decisions: letters(&steps),
            wall_ms: 1e3 * made.wall.as_secs_f64(),
            psnr: against(psnr),
            ssim: against(ssim),
            foreground_psnr: against(foreground_psnr),
            velocity_error: against(velocity_error),
            seen: seen.as_ref().and_then(|seen| seen.class),
            features: seen.map(|seen| seen.features).filter(|f| f.iter().all(|x| x.is_finite())),
            jitter: finite(motion.jitter),
            jump: finite(motion.jump),
            turns: motion.turns,
            at_wall: motion.at_wall,
            lost: motion.lost,
            distances: trace.iter().map(|s| s.distance.and_then(finite)).collect(),
            accumulated: trace.iter().map(|s| finite(s.accumulated)).collect(),
        })
    }
}
