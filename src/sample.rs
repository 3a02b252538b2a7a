//! The sampling loop: the one place where model, cache policy and cached tensors meet.

use crate::cache::{Decision, IDENTITY, Policy, Step, TeaCache};
use crate::device::Gate;
use crate::model::{Dit, Prediction};
use crate::ops::{
    PARTIALS, TRACE_COLUMNS, TeaStep, Update, denoise, rel_l1, residual_reuse, residual_store, tea_gate,
};
use crate::{DType, Device, Error, Result, Tensor};

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
            Prediction::Velocity => (1000.0 * (1.0 - i as f64 / n), update(1.0, -1.0 / n)),
            Prediction::Epsilon => {
                let t = (steps - 1 - i) * (TRAINED / steps);
                let now = alpha_bar(t);
                let next = if i + 1 == steps { 1.0 } else { alpha_bar(t - TRAINED / steps) };
                // x₀ = (z − √(1−ᾱ)·ε)/√ᾱ;  z' = √ᾱ'·x₀ + √(1−ᾱ')·ε
                let keep = (next / now).sqrt();
                (t as f64, update(keep, (1.0 - next).sqrt() - keep * (1.0 - now).sqrt()))
            }
        };
        let (times, updates) = (0..steps).map(step).map(|(t, u)| (t as f32, u)).unzip();
        Ok(Schedule { times, updates })
    }
}

/// ᾱ_t: the product of 1 − β up to t, β from 1e-4 to 2e-2 in 1000 equal steps.
fn alpha_bar(t: usize) -> f64 {
    let beta = |i: usize| 1e-4 + (2e-2 - 1e-4) * i as f64 / 999.0;
    (0..=t).map(|i| 1.0 - beta(i)).product()
}

/// What a TeaCache run keeps on the device to decide with. It belongs to one run, never to the model.
struct Tea {
    rule: TeaCache,
    partials: Tensor,
    flag: Tensor,
    state: Tensor,
    trace: Tensor,
}

impl Tea {
    fn new(device: &Device, rule: TeaCache, steps: usize) -> Result<Tea> {
        Ok(Tea {
            rule,
            partials: Tensor::zeros(device, DType::F32, [PARTIALS, 2])?,
            flag: Tensor::from_u32(device, [1], &[1])?,
            state: Tensor::zeros(device, DType::F32, [2])?,
            trace: Tensor::zeros(device, DType::F32, [steps, TRACE_COLUMNS])?,
        })
    }

    fn decide(&mut self, index: usize) -> Result<()> {
        let step = TeaStep { rule: &self.rule, index };
        tea_gate(Gate::Open, &mut self.flag, &mut self.state, &mut self.trace, &self.partials, step)
    }

    fn decision(&self, index: usize, computes: bool) -> Decision {
        match (self.rule.forced(index), computes) {
            (true, _) => Decision::Forced,
            (_, true) => Decision::Computed,
            (_, false) => Decision::Skipped,
        }
    }
}

/// Measures how far the model's output moves from step to step, on the device: a gate that is never asked, for its
/// division and its trace.
struct Meter {
    gate: Tea,
    previous: Tensor,
}

impl Meter {
    fn new(like: &Tensor, steps: usize) -> Result<Meter> {
        let device = like.device();
        let gate = Tea::new(device, TeaCache::new(0.0, IDENTITY, steps), steps)?;
        Ok(Meter { gate, previous: Tensor::zeros(device, DType::F32, *like.shape())? })
    }

    fn measure(&mut self, index: usize, output: &Tensor) -> Result<()> {
        rel_l1(Gate::Open, &mut self.previous, &mut self.gate.partials, output)?;
        self.gate.decide(index)
    }
}

/// Samples without a cache, and measures what TeaCache's polynomial is fitted on: at each step the distance of the
/// indicator ([`Step::distance`]) and that of the output ([`Record::output`]).
pub async fn observe(
    model: &Dit,
    settings: &Settings,
    noise: &[f32],
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Run> {
    let mut policy = TeaCache::new(0.0, IDENTITY, settings.steps);
    run(model, settings, noise, &mut policy, GateMode::Device, true, progress).await
}

/// Samples one clip for each class from `noise`, f32 [Z, F, C, H, W].
///
/// `policy` is asked once for each step; a TeaCache rule is evaluated by the device (see
/// [`tea_gate`](crate::ops::tea_gate())). `progress` is called after each step and may stop the run with an error.
pub async fn sample(
    model: &Dit,
    settings: &Settings,
    noise: &[f32],
    policy: &mut dyn Policy,
    mode: GateMode,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Run> {
    run(model, settings, noise, policy, mode, false, progress).await
}

async fn run(
    model: &Dit,
    settings: &Settings,
    noise: &[f32],
    policy: &mut dyn Policy,
    mode: GateMode,
    outputs: bool,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Run> {
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
    let mut z = Tensor::from_f32(device, DType::F32, shape, noise)?;
    let mut a = model.acts(batch)?;
    let mut residual = match policy.reuses() {
        true => Some(Tensor::zeros(device, DType::F32, *a.x.shape())?),
        false => None,
    };
    let mut tea = match policy.tea() {
        Some(rule) => Some(Tea::new(device, rule.clone(), settings.steps)?),
        None => None,
    };
    let mut meter = match outputs {
        true => Some(Meter::new(&a.tokens, settings.steps)?),
        false => None,
    };

    let mut marks = vec![device.mark()];
    let mut decided = Vec::new();
    for (i, update) in schedule.updates.iter().enumerate() {
        model.embed(&mut a, &z, (&times, i), &labels)?;
        let decision = match &mut tea {
            None => {
                model.probe(&mut a, None)?;
                decided.push(policy.decide(i, None));
                Some(decided[i].decision)
            }
            Some(tea) => {
                model.probe(&mut a, Some(&mut tea.partials))?;
                tea.decide(i)?;
                match mode {
                    GateMode::Host => Some(tea.decision(i, tea.flag.read().await? != [0; 4])),
                    GateMode::Device => None,
                }
            }
        };
        // What the host knows, it enqueues or leaves out; what only the device knows, the kernels decide.
        let (computed, skipped) = match (decision, &tea) {
            (None, Some(tea)) => (Some(Gate::If(&tea.flag)), Some(Gate::Unless(&tea.flag))),
            (Some(Decision::Skipped), _) => (None, Some(Gate::Open)),
            _ => (Some(Gate::Open), None),
        };
        if let Some(gate) = computed {
            model.blocks(&mut a, gate)?;
            if let Some(residual) = &mut residual {
                residual_store(gate, residual, &a.x, &a.stack_in)?;
            }
        }
        if let (Some(gate), Some(residual)) = (skipped, &residual) {
            residual_reuse(gate, &mut a.x, &a.stack_in, residual)?;
        }
        model.head(&mut a)?;
        if let Some(meter) = &mut meter {
            meter.measure(i, &a.tokens)?;
        }
        denoise(Gate::Open, &mut z, &a.tokens, c.patch, *update)?;
        marks.push(device.mark());
        progress(Progress { done: i + 1, decision })?;
    }

    if let Some(tea) = &tea {
        let trace = tea.trace.read_f32().await?;
        let rows = trace.chunks_exact(TRACE_COLUMNS).enumerate();
        decided = rows.map(|(i, row)| recorded(tea, i, row)).collect();
    }
    let mut moved = vec![None; settings.steps];
    if let Some(meter) = &meter {
        let trace = meter.gate.trace.read_f32().await?;
        let distances = trace.iter().step_by(TRACE_COLUMNS).map(|&d| Some(f64::from(d)));
        moved = distances.collect();
        moved[0] = None;
    }
    let clips = z.read_f32().await?;
    let seconds = device.seconds(&marks).await?;
    let record = |(((step, time), s), output)| Record { time, step, output, ms: 1e3 * s };
    let steps = decided.into_iter().zip(schedule.times).zip(seconds).zip(moved).map(record).collect();
    Ok(Run { clips, steps })
}

/// A row of the device's trace in the policy's words.
fn recorded(tea: &Tea, index: usize, row: &[f32]) -> Step {
    // There is nothing to compare step 0 with; any other distance is reported, also where it is not a number.
    let number = |x: f32| Some(f64::from(x)).filter(|x| !x.is_nan());
    Step {
        decision: tea.decision(index, row[3] != 0.0),
        distance: if index == 0 { None } else { Some(f64::from(row[0])) },
        rescaled: number(row[1]),
        accumulated: f64::from(row[2]),
    }
}
