//! A round: one clip without a cache and one with each policy, from the same noise, in one process.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use steep::cache::{Spec, letters};
use steep::evaluate::metrics::{Digits, Motion, foreground_psnr, psnr, ssim, velocity_error};
use steep::model::{Config, Dit};
use steep::plot::short_name;
use steep::sample::{GateMode, Progress, Schedule};
use steep::video::Video;
use steep::{Error, Generate, Result};

use super::Args;
use crate::cli::clips;
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

const UNCACHED: &str = "uncached";

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

    /// What can be known to be wrong before any work.
    pub fn check(&self, config: &Config, setup: &Setup, sidecar: &Sidecar) -> Result<()> {
        let steps = setup.steps;
        let schedule = |steps| Schedule::new(config.prediction, steps, setup.guidance).map(drop);
        match self {
            Candidate::Uncached => schedule(steps),
            Candidate::Steps(fewer) => schedule(*fewer),
            Candidate::Cached(spec) => spec.policy(steps, &sidecar.given(spec)).map(drop),
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

/// The result of one round, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The seed's place among all, from 0.
    pub index: u64,
    pub seed: u64,
    pub class: usize,
    /// Uncached first, then as the policies were named.
    pub runs: Vec<Scored>,
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

/// The rounds of a journal, whose runs must be those of `policies`.
pub fn parse(path: &Path, records: Vec<Value>, candidates: &[Candidate]) -> Result<Vec<Round>> {
    let names: Vec<String> = candidates.iter().map(Candidate::name).collect();
    let mut all: Vec<Round> = vec![];
    for (i, record) in records.into_iter().enumerate() {
        let wrong = |why: String| Error::file(path, format!("line {}: {why}", i + 2));
        let round: Round = serde_json::from_value(record).map_err(|e| wrong(e.to_string()))?;
        if !round.runs.iter().map(|run| &run.policy).eq(&names) {
            return Err(wrong(format!("wanted one run each of {}", names.join(", "))));
        }
        if all.iter().any(|r| (r.index, r.class) == (round.index, round.class)) {
            return Err(wrong(format!("seed {}, class {} a second time", round.seed, round.class)));
        }
        if let Some(run) = round.runs.iter().find(|r| r.decisions.is_empty() || r.wall_ms <= 0.0) {
            return Err(wrong(format!("{}: wanted decisions and a time", run.policy)));
        }
        all.push(round);
    }
    Ok(all)
}

/// Those that a journal's header names.
pub fn candidates(header: &Map<String, Value>) -> Option<Vec<Candidate>> {
    header.get("policies")?.as_array()?.iter().map(|name| name.as_str()?.parse().ok()).collect()
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
        video.upscale(scale)?.titled(&title)
    };
    let panes = round.runs.iter().zip(&names).zip(videos).map(pane).collect::<Result<Vec<_>>>()?;
    Video::side_by_side(&panes.iter().collect::<Vec<_>>(), GAP)?.gif(FPS)
}

/// What rounds are made with.
pub struct Runner<'a> {
    pub model: &'a Dit,
    pub candidates: &'a [Candidate],
    pub sidecar: &'a Sidecar,
    pub digits: Option<&'a Digits>,
    pub args: &'a Args,
}

impl Runner<'_> {
    /// Runs are timed warm.
    pub async fn warm_up(&self) -> Result<()> {
        let clip = self.args.setup.clip(self.model, 0, self.args.first_seed).gate(GateMode::Device);
        for candidate in self.candidates {
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

    /// One round, and its clips.
    pub async fn round(
        &self,
        index: u64,
        seed: u64,
        class: usize,
        bar: &ProgressBar,
    ) -> Result<(Round, Vec<Video>)> {
        let n = self.candidates.len();
        let clip = self.args.setup.clip(self.model, class, seed).gate(GateMode::Device);
        let mut made: Vec<Option<Timed>> = (0..n).map(|_| None).collect();
        // Each round begins with another policy: whatever the first run of a round suffers from, all do in turn.
        for turn in 0..n {
            let at = (turn + index as usize) % n;
            let candidate = &self.candidates[at];
            bar.set_message(format!("class {class}, seed {seed}: {}/{n} {candidate}", turn + 1));
            made[at] = Some(self.sample(&self.cached(clip.clone(), candidate)?, bar).await?);
        }
        let made: Vec<Timed> = made.into_iter().flatten().collect();
        let original = &made[0].video;
        let judge =
            |(made, candidate): (&Timed, &Candidate)| self.judge(candidate, made, original, index == 0);
        let runs = made.iter().zip(self.candidates).map(judge).collect::<Result<_>>()?;
        Ok((Round { index, seed, class, runs }, made.into_iter().map(|m| m.video).collect()))
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
