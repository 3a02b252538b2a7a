//! The sampling loop: the one place where model, cache policy and cached tensors meet.

mod gauge;
mod record;

use crate::cache::{Decision, Indicator, Policy, Step, TeaCache};
use crate::device::Gate;
use crate::model::{Acts, Dit, Prediction};
use crate::ops::{PARTIALS, Update, axpby, denoise, rel_l1, residual_extrapolate};
use crate::{DType, Error, Result, Tensor};

use gauge::Gauge;
pub use record::{Recording, magnitudes, observe};

/// What to sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Denoising steps.
    pub steps: usize,
    /// g in `v = u + g·(c − u)`; 1 samples the condition alone, with half the work.
    pub guidance: f32,
    /// The class of each clip of the batch.
    pub classes: Vec<usize>,
}

/// Where the host learns what the device decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateMode {
    /// The host reads the flag at every step and enqueues what it asks for.
    Host,
    /// The host enqueues everything, the kernels look at the flag, and nothing is read before the end.
    Device,
}

/// A finished run.
pub struct Run {
    /// f32 [Z, F, C, H, W], nominally in [-1, 1].
    pub clips: Vec<f32>,
    /// What happened at each step.
    pub steps: Vec<Record>,
}

/// One step of a run.
#[derive(Debug, Clone)]
pub struct Record {
    /// The model's time, 0 to 1000.
    pub time: f32,
    /// The decision and the numbers behind it.
    pub step: Step,
    /// How far the model's output (`tokens` after the head, all of the batch) moved from the step before, as the
    /// distance is measured. None at step 0, and where [`sample`] was not [`observe`].
    pub output: Option<f64>,
    /// On the device's clock, in milliseconds.
    pub ms: f64,
}

/// What a run reports while it goes on.
pub struct Progress {
    /// Steps that are done.
    pub done: usize,
    /// The last one's decision, if the host knows it already.
    pub decision: Option<Decision>,
}

/// The model's times and the sampler's updates for a whole run: numbers only.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What the model is told, 0 to 1000.
    pub times: Vec<f32>,
    /// What happens to the clip.
    pub updates: Vec<Update>,
    /// At each step, how much of the clip is signal and how much noise: z = a·x + b·noise.
    pub scales: Vec<[f64; 2]>,
}

impl Schedule {
    /// `steps` steps of the sampler that belongs to `prediction`:
    ///
    /// - velocity: Euler along z_t = (1 − t)·x + t·noise from t = 1 to 0 in equal steps; the model sees 1000·t
    ///   (rectified flow, arXiv 2209.03003);
    /// - epsilon: DDIM with η = 0 (arXiv 2010.02502, equation 12) over linear betas 1e-4 to 2e-2 in 1000 steps, times
    ///   i·⌊1000/steps⌋ downwards.
    pub fn new(prediction: Prediction, steps: usize, guidance: f32) -> Result<Schedule> {
        const TRAINED: usize = 1000;
        // Far above any use, and low enough that a wrong number is an error before it is a shortage of memory.
        const MOST: usize = 100_000;
        let most = if prediction == Prediction::Epsilon { TRAINED } else { MOST };
        if !(1..=most).contains(&steps) {
            return Err(Error::setting(format!("steps {steps}"), format!("1 to {most}")));
        }
        if !guidance.is_finite() {
            return Err(Error::setting(format!("guidance {guidance}"), "a finite number"));
        }
        let update = |keep: f64, add: f64| Update { keep: keep as f32, add: add as f32, guidance };
        let n = steps as f64;
        let step = |i: usize| match prediction {
            Prediction::Velocity => {
                let t = 1.0 - i as f64 / n;
                (1000.0 * t, update(1.0, -1.0 / n), [1.0 - t, t])
            }
            Prediction::Epsilon => {
                let t = (steps - 1 - i) * (TRAINED / steps);
                let now = alpha_bar(t);
                let next = if i + 1 == steps { 1.0 } else { alpha_bar(t - TRAINED / steps) };
                // x₀ = (z − √(1−ᾱ)·ε)/√ᾱ;  z' = √ᾱ'·x₀ + √(1−ᾱ')·ε
                let keep = (next / now).sqrt();
                let add = (1.0 - next).sqrt() - keep * (1.0 - now).sqrt();
                (t as f64, update(keep, add), [now.sqrt(), (1.0 - now).sqrt()])
            }
        };
        let (mut times, mut updates, mut scales) = (vec![], vec![], vec![]);
        for (t, update, scale) in (0..steps).map(step) {
            times.push(t as f32);
            updates.push(update);
            scales.push(scale);
        }
        Ok(Schedule { times, updates, scales })
    }
}

/// ᾱ_t: the product of 1 − β up to t, β from 1e-4 to 2e-2 in 1000 equal steps.
fn alpha_bar(t: usize) -> f64 {
    let beta = |i: usize| 1e-4 + (2e-2 - 1e-4) * i as f64 / 999.0;
    (0..=t).map(|i| 1.0 - beta(i)).product()
}

/// A batch on its way through the steps: what every run has, cached or not.
struct Batch {
    schedule: Schedule,
    /// All steps' times, f32 [S, B].
    times: Tensor,
    labels: Tensor,
    /// The clips so far, f32 [Z, F, C, H, W].
    z: Tensor,
    acts: Acts,
}

impl Batch {
    fn new(model: &Dit, settings: &Settings, noise: &[f32]) -> Result<Batch> {
        let (c, device) = (model.config(), model.device());
        let schedule = Schedule::new(c.prediction, settings.steps, settings.guidance)?;
        let clips = settings.classes.len();
        if clips == 0 {
            return Err(Error::setting("no class", "at least one clip"));
        }
        let mut labels = settings.classes.clone();
        // Guidance: the conditional half first, then the unconditional one, in one batch and under one decision.
        if settings.guidance != 1.0 {
            labels.extend(std::iter::repeat_n(c.unconditional(), clips));
        }
        let batch = labels.len();
        let labels = model.labels(&labels)?;
        let times: Vec<f32> = schedule.times.iter().flat_map(|&t| std::iter::repeat_n(t, batch)).collect();
        let times = Tensor::from_f32(device, DType::F32, [settings.steps, batch], &times)?;
        let shape = [clips, c.frames, c.channels, c.height, c.width];
        let z = Tensor::from_f32(device, DType::F32, shape, noise)?;
        let acts = model.acts(batch)?;
        Ok(Batch { schedule, times, labels, z, acts })
    }
}

/// What a run keeps of its computed steps for the skipped ones: the difference that the skipped stretch of the model
/// made, from its input to its output. It belongs to one run, never to the model.
struct Cache {
    residual: Tensor,
    /// That of the computed step before, where skipped steps extrapolate; and what moving it measures.
    before: Option<(Tensor, Tensor)>,
}

impl Cache {
    fn new(like: &Tensor, extrapolates: bool) -> Result<Cache> {
        let kept = || Tensor::zeros(like.device(), DType::F32, *like.shape());
        let sums = || Tensor::zeros(like.device(), DType::F32, [PARTIALS, 2]);
        let before = if extrapolates { Some((kept()?, sums()?)) } else { None };
        Ok(Cache { residual: kept()?, before })
    }

    fn store(&mut self, gate: Gate<'_>, from: &Tensor, to: &Tensor) -> Result<()> {
        if let Some((before, sums)) = &mut self.before {
            // `before` moves on to what is about to be replaced; nobody asks how far that was.
            rel_l1(gate, before, sums, &self.residual)?;
        }
        axpby(gate, &mut self.residual, (1.0, Some(to)), (-1.0, from))
    }

    fn reuse(&self, gate: Gate<'_>, from: &Tensor, to: &mut Tensor, at: (&Tensor, usize)) -> Result<()> {
        match &self.before {
            None => axpby(gate, to, (1.0, Some(from)), (1.0, &self.residual)),
            Some((before, _)) => residual_extrapolate(gate, to, from, &self.residual, before, at),
        }
    }
}

/// What a skipped step leaves out.
enum Stretch {
    /// The transformer's blocks.
    Blocks,
    /// Those after the first.
    OtherBlocks,
    /// The whole model, from the clip to the prediction: f32 [Z, F, C, H, W].
    Model(Tensor),
}

impl Stretch {
    fn new(rule: Option<&TeaCache>, z: &Tensor) -> Result<Stretch> {
        Ok(match rule.map(|rule| rule.indicator) {
            Some(Indicator::FirstBlock) => Stretch::OtherBlocks,
            Some(Indicator::Output) => Stretch::Model(Tensor::zeros(z.device(), DType::F32, *z.shape())?),
            _ => Stretch::Blocks,
        })
    }

    /// What every step runs before it is decided.
    fn before(&self, model: &Dit, b: &mut Batch, i: usize, moved: Option<&mut Tensor>) -> Result<()> {
        if let Stretch::Model(_) = self {
            return Ok(());
        }
        model.embed(&mut b.acts, &b.z, (&b.times, i), &b.labels)?;
        model.probe(&mut b.acts, moved)?;
        match self {
            Stretch::OtherBlocks => model.first_block(&mut b.acts, Gate::Open),
            _ => Ok(()),
        }
    }

    /// What every step runs once it is decided: what a first block added is measured before frames are told apart.
    fn begin(&self, model: &Dit, b: &mut Batch) -> Result<()> {
        match self {
            Stretch::OtherBlocks => model.tell_frames(&mut b.acts, Gate::Open),
            _ => Ok(()),
        }
    }

    /// The stretch itself.
    fn run(&mut self, gate: Gate<'_>, model: &Dit, b: &mut Batch, i: usize) -> Result<()> {
        match self {
            Stretch::Blocks => model.blocks(&mut b.acts, gate),
            Stretch::OtherBlocks => model.other_blocks(&mut b.acts, gate),
            Stretch::Model(v) => {
                model.evaluate(gate, &mut b.acts, &b.z, (&b.times, i), &b.labels)?;
                let as_is = Update { keep: 0.0, add: 1.0, ..b.schedule.updates[i] };
                denoise(gate, v, &b.acts.tokens, model.config().patch, as_is)
            }
        }
    }

    /// Where it begins and ends.
    fn ends<'a>(&'a mut self, b: &'a mut Batch) -> (&'a Tensor, &'a mut Tensor) {
        match self {
            Stretch::Blocks => (&b.acts.stack_in, &mut b.acts.x),
            Stretch::OtherBlocks => (&b.acts.first, &mut b.acts.x),
            Stretch::Model(v) => (&b.z, v),
        }
    }

    /// What every step runs after it: the head, where that is not left out, and the sampler's update.
    fn after(&self, model: &Dit, b: &mut Batch, i: usize) -> Result<()> {
        let update = b.schedule.updates[i];
        if let Stretch::Model(v) = self {
            return axpby(Gate::Open, &mut b.z, (update.keep, None), (update.add, v));
        }
        model.head(&mut b.acts)?;
        denoise(Gate::Open, &mut b.z, &b.acts.tokens, model.config().patch, update)
    }
}

/// Samples one clip for each class from `noise`, f32 [Z, F, C, H, W].
///
/// A policy that needs nothing measured is asked about all steps before the first; otherwise the device measures and
/// evaluates the rule at each step (see [`tea_gate`](crate::ops::tea_gate())). `progress` is called after each step and
/// may stop the run with an error.
pub async fn sample(
    model: &Dit,
    settings: &Settings,
    noise: &[f32],
    policy: &mut dyn Policy,
    mode: GateMode,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Run> {
    let (device, steps) = (model.device(), settings.steps);
    let mut batch = Batch::new(model, settings, noise)?;
    let mut stretch = Stretch::new(policy.tea(), &batch.z)?;
    let mut cache = match policy.reuses() {
        true => Some(Cache::new(stretch.ends(&mut batch).1, policy.extrapolates())?),
        false => None,
    };
    let mut gauge = policy.tea().map(|rule| Gauge::new(model, rule, &batch)).transpose()?;
    let mut decided: Vec<Step> = match gauge {
        None => (0..steps).map(|i| policy.decide(i, None)).collect(),
        Some(_) => vec![],
    };
    let mut trace = gauge::trace(device, steps, &decided)?;
    let mut flag = Tensor::from_u32(device, [1], &[1])?;

    let mut marks = vec![device.mark()];
    for i in 0..steps {
        stretch.before(model, &mut batch, i, gauge.as_mut().and_then(Gauge::signal))?;
        let decision = match &mut gauge {
            None => decided.get(i).map(|step| step.decision),
            Some(gauge) => {
                gauge.decide(i, (&mut flag, &mut trace), &batch)?;
                match mode {
                    GateMode::Host => Some(gauge.read(i, &flag).await?),
                    GateMode::Device => None,
                }
            }
        };
        // What the host knows, it enqueues or leaves out; what only the device knows, the kernels decide.
        let (computed, skipped) = match decision {
            None => (Some(Gate::If(&flag)), Some(Gate::Unless(&flag))),
            Some(Decision::Skipped) => (None, Some(Gate::Open)),
            Some(_) => (Some(Gate::Open), None),
        };
        stretch.begin(model, &mut batch)?;
        if let Some(gate) = computed {
            stretch.run(gate, model, &mut batch, i)?;
            let (from, to) = stretch.ends(&mut batch);
            if let Some(cache) = &mut cache {
                cache.store(gate, from, to)?;
            }
            if let Some(gauge) = &mut gauge {
                gauge.learn(gate, from, to)?;
            }
        }
        if let (Some(gate), Some(cache)) = (skipped, &cache) {
            let (from, to) = stretch.ends(&mut batch);
            cache.reuse(gate, from, to, (&trace, i))?;
        }
        stretch.after(model, &mut batch, i)?;
        marks.push(device.mark());
        progress(Progress { done: i + 1, decision })?;
    }

    if let Some(gauge) = &gauge {
        decided = gauge.steps(&trace.read_f32().await?);
    }
    let clips = batch.z.read_f32().await?;
    let seconds = device.seconds(&marks).await?;
    let record = |((step, time), s)| Record { time, step, output: None, ms: 1e3 * s };
    let steps = decided.into_iter().zip(batch.schedule.times).zip(seconds).map(record).collect();
    Ok(Run { clips, steps })
}
