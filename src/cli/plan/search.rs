//! `steep plan --search`: the best schedule of N computed steps for a model.

use std::path::PathBuf;

use serde_json::json;
use steep::cache::shortest;
use steep::model::{Dit, Model, RunSize};
use steep::sample::Recording;
use steep::{DType, Error, Result, generate};

use crate::cli::{go_on, memory, progress, say, setup};

/// The time that a search takes grows with the cube of the number of steps.
const MOST_STEPS: usize = 1000;

#[derive(clap::Args)]
#[command(next_help_heading = "Search")]
pub struct Search {
    /// Search for the best schedule of N computed steps, the first and the last among them
    #[arg(long = "search", id = "search", value_name = "N")]
    pub computed: Option<usize>,
    #[arg(long, value_name = "MODEL", requires = "search", help = setup::model_help())]
    model: Option<PathBuf>,
    /// What the checkpoint does not say about itself, JSON or a file of it: for example '{"heads": 16}'
    #[arg(long, value_name = "JSON", requires = "model")]
    config: Option<String>,
    #[arg(long, value_name = "NAME", default_value = "auto", requires = "search", help = setup::device_help())]
    device: String,
    /// g in u + g·(c − u); schedules differ with it
    #[arg(long, value_name = "G", default_value_t = 3.0, requires = "search")]
    guidance: f32,
    /// How many clips to learn from: one of each class, then of the next seed
    #[arg(long, value_name = "K", default_value_t = 1, requires = "search", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// The first seed; far from those that people try, so that a schedule is not judged on what it was made for
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "search", value_parser = setup::seed)]
    seed: u64,
    /// The most steps that are skipped in a row
    #[arg(long, value_name = "N", default_value_t = 16, requires = "search")]
    longest: usize,
    /// Reuse residuals as they are, rather than extrapolate them
    #[arg(long, requires = "search")]
    reuse: bool,
}

impl Search {
    /// Prints the best schedule of `steps` steps of which `computed` compute, as `--cache` takes it.
    pub async fn run(&self, computed: usize, steps: usize, as_json: bool) -> Result<()> {
        if !(2..=steps).contains(&computed) {
            return Err(Error::setting(
                format!("search {computed}"),
                format!("2 to {steps}, the number of steps"),
            ));
        }
        if steps > MOST_STEPS {
            return Err(Error::setting(
                format!("search over {steps} steps"),
                format!("at most {MOST_STEPS}"),
            ));
        }
        let recording = self.record(steps).await?;
        let error = |before, from, to| match to - from > self.longest.saturating_add(1) {
            true => f64::INFINITY,
            false => recording.error((!self.reuse).then_some(before), from, to),
        };
        let busy = progress::busy("searching for the schedule", false);
        let found = shortest(steps, computed, error);
        drop(busy);
        let Some(mask) = found else {
            let wanted = format!("more of {steps} steps, or a larger --longest than {}", self.longest);
            return Err(Error::setting(format!("search {computed}"), wanted));
        };
        let digits: String = mask.iter().map(|computes| if *computes { '1' } else { '0' }).collect();
        let cache = format!("mask:{digits}{}", if self.reuse { "" } else { "+taylor" });
        if as_json {
            let plan = json!({ "cache": cache, "computed": computed, "steps": steps, "runs": self.runs });
            return say(&format!("{plan:#}\n"));
        }
        say(&format!("{cache}\n"))
    }

    /// Uncached runs, and what skipping would do to their clips.
    async fn record(&self, steps: usize) -> Result<Recording> {
        let checkpoint = setup::checkpoint(self.model.as_deref(), self.config.as_deref(), false)?;
        let device = setup::open(&self.device).await?;
        let guided = self.guidance != 1.0;
        let run = RunSize { clips: 1, guided, steps, dtype: DType::F32, residuals: 1, signals: 0 };
        let mut footprint = checkpoint.config().footprint(run);
        // The residuals of all steps, as they are and as guidance combines them, the clips, and products of all pairs.
        let step = 2 * footprint.on_device("residuals") + footprint.on_device("clips");
        let pairs = (steps * steps * size_of::<f64>()) as u64;
        footprint.host.push(("the recording", step.saturating_mul(steps as u64).saturating_add(pairs)));
        memory::check(&footprint, &device)?;
        let model = Dit::load(&device, &checkpoint, DType::F32)?;
        let c = model.config();
        let mut recording = Recording::default();
        let runs = self.runs as usize;
        let bar = progress::bar("evaluations", runs.saturating_mul(evaluations(steps, 2 * steps)), false);
        for run in 0..runs {
            let seed = self.seed.wrapping_add((run / c.labels()) as u64);
            let clip =
                generate(&model).class(run % c.labels()).seed(seed).steps(steps).guidance(self.guidance);
            let mut progress = |done| {
                let before = run * evaluations(steps, 2 * steps);
                bar.set_position((before + evaluations(steps, done)) as u64);
                go_on()
            };
            recording.add(&clip, &mut progress).await?;
        }
        bar.finish_and_clear();
        Ok(recording)
    }
}

/// How many evaluations of the model are done once [`Recording::add`] tells of `done`: the run itself has `steps` of
/// them, and then the run that skips step t has those behind it.
fn evaluations(steps: usize, done: usize) -> usize {
    let runs = done.saturating_sub(steps).min(steps - 1);
    done.min(steps) + (1..=runs).map(|t| steps - t).sum::<usize>()
}
