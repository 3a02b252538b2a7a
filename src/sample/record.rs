//! What an uncached run tells about the cached ones.

use super::gauge::{Gauge, trace};
use super::{Batch, Progress, Record, Run, Settings};
use crate::cache::{IDENTITY, Step, TeaCache};
use crate::device::Gate;
use crate::model::Dit;
use crate::ops::{PARTIALS, axpby, denoise, norm_ratio, rel_l1};
use crate::{DType, Error, Result, Tensor};

/// Samples without a cache, and measures what TeaCache's polynomial is fitted on: at each step the distance of the
/// indicator ([`Step::distance`]) and that of the output ([`Record::output`]).
pub async fn observe(
    model: &Dit,
    settings: &Settings,
    noise: &[f32],
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Run> {
    let device = model.device();
    let mut batch = Batch::new(model, settings, noise)?;
    // Gates that never skip, for their division and their trace.
    let rule = TeaCache::new(0.0, IDENTITY, settings.steps);
    let gauge = |batch: &Batch| Gauge::new(model, &rule, batch);
    let (mut signals, mut outputs) = (gauge(&batch)?, gauge(&batch)?);
    let room = || trace(device, settings.steps, &[]);
    let (mut signal_trace, mut output_trace) = (room()?, room()?);
    let mut flag = Tensor::from_u32(device, [1], &[1])?;
    let mut before = Tensor::zeros(device, DType::F32, *batch.acts.tokens.shape())?;
    let mut marks = vec![device.mark()];
    for i in 0..settings.steps {
        let b = &mut batch;
        model.embed(&mut b.acts, &b.z, (&b.times, i), &b.labels)?;
        model.probe(&mut b.acts, signals.signal())?;
        signals.decide(i, (&mut flag, &mut signal_trace), b)?;
        model.blocks(&mut b.acts, Gate::Open)?;
        model.head(&mut b.acts)?;
        if let Some(partials) = outputs.signal() {
            rel_l1(Gate::Open, &mut before, partials, &b.acts.tokens)?;
        }
        outputs.decide(i, (&mut flag, &mut output_trace), b)?;
        b.update(model, i)?;
        marks.push(device.mark());
        progress(Progress { done: i + 1, decision: None })?;
    }
    let signals = signals.steps(&signal_trace.read_f32().await?);
    let outputs = outputs.steps(&output_trace.read_f32().await?);
    let clips = batch.z.read_f32().await?;
    let seconds = device.seconds(&marks).await?;
    let record = |(((step, output), time), s): (((Step, Step), f32), f64)| Record {
        time,
        step,
        output: output.distance,
        ms: 1e3 * s,
    };
    let steps = signals.into_iter().zip(outputs).zip(batch.schedule.times).zip(seconds);
    Ok(Run { clips, steps: steps.map(record).collect() })
}

/// MagCache's table: γ of each step of an uncached run, the mean over tokens of ‖R_t‖ / ‖R_{t−1}‖ (arXiv 2506.09045,
/// equation 3), R what the transformer stack adds to its input. The first step, which has none before it, counts 1.
///
/// Both halves of a guided batch count alike: they share one decision.
pub async fn magnitudes(model: &Dit, settings: &Settings, noise: &[f32]) -> Result<Vec<f64>> {
    let device = model.device();
    let mut batch = Batch::new(model, settings, noise)?;
    let like = *batch.acts.x.shape();
    let mut now = Tensor::zeros(device, DType::F32, like)?;
    let mut before = Tensor::zeros(device, DType::F32, like)?;
    let mut moved = Tensor::zeros(device, DType::F32, [PARTIALS, 2])?;
    let mut sums = Tensor::zeros(device, DType::F32, [PARTIALS, 1])?;
    let tokens = (like.elements().unwrap_or(0) / model.config().dim) as f64;
    let mut ratios = vec![];
    for i in 0..settings.steps {
        batch.step(model, i)?;
        axpby(Gate::Open, &mut now, (1.0, Some(&batch.acts.x)), (-1.0, &batch.acts.stack_in))?;
        if i > 0 {
            norm_ratio(Gate::Open, &mut sums, &now, &before)?;
            ratios.push(sums.read_f32().await?.iter().map(|x| f64::from(*x)).sum::<f64>() / tokens);
        } else {
            ratios.push(1.0);
        }
        // Moves `before` on.
        rel_l1(Gate::Open, &mut before, &mut moved, &now)?;
    }
    Ok(ratios)
}

impl Batch {
    /// One uncached step.
    fn step(&mut self, model: &Dit, i: usize) -> Result<()> {
        model.evaluate(Gate::Open, &mut self.acts, &self.z, (&self.times, i), &self.labels)?;
        self.update(model, i)
    }

    /// One step that takes `residual` for what the stack would add.
    fn skip(&mut self, model: &Dit, i: usize, residual: &Tensor) -> Result<()> {
        let Batch { acts, z, times, labels, .. } = self;
        model.embed(acts, z, (times, i), labels)?;
        model.probe(acts, None)?;
        axpby(Gate::Open, &mut acts.x, (1.0, Some(&acts.stack_in)), (1.0, residual))?;
        model.head(acts)?;
        self.update(model, i)
    }

    fn update(&mut self, model: &Dit, i: usize) -> Result<()> {
        denoise(Gate::Open, &mut self.z, &self.acts.tokens, model.config().patch, self.schedule.updates[i])
    }
}

/// What skipping would cost, from uncached runs: everything that [`shortest`](crate::cache::shortest) needs.
///
/// With residuals R_t of an uncached run and R̂_t those that a skipped step would take in their place, a segment of
/// skipped steps changes the final clip by about
///
/// ```text
/// ‖ Σ_t g_t·(R_t − R̂_t) ‖      g_t: how far the final clip moves, for each unit that R_t is off
/// ```
///
/// R̂ is a combination of residuals, reused or extrapolated, so that all segments follow from the products of residuals
/// with one another, and from g, which takes one run of the remaining steps for each step t: the one that skips t
/// alone. (LeMiCa, arXiv 2511.00090, runs the model for each segment instead and measures the final clip: the same
/// error, without the assumption that those of neighbouring steps add up, for as many runs as there are segments, and
/// again for each way to stand in for a step.)
///
/// Residuals of a guided batch count as guidance combines them. Several runs are averaged in the square.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recording {
    steps: usize,
    /// Of each run ⟨R_s, R_t⟩, [S, S], and g, [S].
    runs: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Recording {
    /// Records one more run of `settings.steps` steps, the same for all runs. Takes S²/2 evaluations of the model.
    ///
    /// Holds all residuals of the run on the host: S·B·F·N·d numbers. `progress` is told of steps done, of 2·S, and
    /// may stop it with an error.
    pub async fn add(
        &mut self,
        model: &Dit,
        settings: &Settings,
        noise: &[f32],
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let (steps, device) = (settings.steps, model.device());
        if self.steps != 0 && self.steps != steps {
            return Err(Error::setting(format!("{steps} steps"), format!("{} as before", self.steps)));
        }
        self.steps = steps;
        let mut batch = Batch::new(model, settings, noise)?;
        let mut residual = Tensor::zeros(device, DType::F32, *batch.acts.x.shape())?;
        let (mut clips, mut residuals) = (vec![], vec![]);
        for i in 0..steps {
            clips.push(batch.z.read_f32().await?);
            batch.step(model, i)?;
            axpby(Gate::Open, &mut residual, (1.0, Some(&batch.acts.x)), (-1.0, &batch.acts.stack_in))?;
            residuals.push(residual.read_f32().await?);
            progress(i + 1)?;
        }
        let last = batch.z.read_f32().await?;

        let guided: Vec<Vec<f32>> = residuals.iter().map(|r| guided(r, settings)).collect();
        let mut products = vec![0.0; steps * steps];
        for s in 0..steps {
            for t in 0..=s {
                let product = dot(&guided[s], &guided[t]);
                (products[s * steps + t], products[t * steps + s]) = (product, product);
            }
        }
        let mut gains = vec![0.0; steps];
        for t in 1..steps {
            batch.z.write_f32(&clips[t])?;
            residual.write_f32(&residuals[t - 1])?;
            batch.skip(model, t, &residual)?;
            (t + 1..steps).try_for_each(|i| batch.step(model, i))?;
            let moved = squares(&batch.z.read_f32().await?, &last).sqrt();
            gains[t] = moved / squares(&guided[t], &guided[t - 1]).sqrt();
            progress(steps + t)?;
        }
        self.runs.push((products, gains));
        Ok(())
    }

    /// What it costs to compute step `from` and then `to`, and nothing between: the square of the final clip's error.
    /// `before` is the step that was computed before `from`, for steps that are extrapolated; None reuses.
    pub fn error(&self, before: Option<usize>, from: usize, to: usize) -> f64 {
        let mut weights = vec![0.0; self.steps];
        let run = |(products, gains): &(Vec<f64>, Vec<f64>)| {
            weights.fill(0.0);
            for t in from + 1..to {
                let ahead = match before {
                    Some(before) if before < from => (t - from) as f64 / (from - before) as f64,
                    _ => 0.0,
                };
                weights[t] += gains[t];
                weights[from] -= gains[t] * (1.0 + ahead);
                weights[before.unwrap_or(from)] += gains[t] * ahead;
            }
            let steps = before.unwrap_or(from).min(from)..to;
            let row = |s: usize| {
                let row = &products[s * self.steps..];
                weights[s] * steps.clone().map(|t| weights[t] * row[t]).sum::<f64>()
            };
            steps.clone().map(row).sum::<f64>()
        };
        self.runs.iter().map(run).sum::<f64>() / self.runs.len() as f64
    }
}

/// u + g·(c − u) of a guided batch [c; u]; an unguided one as it is.
fn guided(residual: &[f32], settings: &Settings) -> Vec<f32> {
    if settings.guidance == 1.0 {
        return residual.to_vec();
    }
    let (c, u) = residual.split_at(residual.len() / 2);
    c.iter().zip(u).map(|(c, u)| u + settings.guidance * (c - u)).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Σ(a − b)²
fn squares(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
