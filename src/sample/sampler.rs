//! What a prediction does to the clip: the times of a run, the updates, and the predictions of earlier steps.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::decide::Decider;
use super::watch::Moment;
use crate::cache::MOST_STEPS;
use crate::device::Gate;
use crate::model::Prediction;
use crate::ops::{Update, axpby, denoise, renoise};
use crate::{DType, Error, Result, Tensor, memory, noise};

/// How many predictions an update is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The step's own: Euler's method for velocities, DDIM for noise.
    #[default]
    FirstOrder,
    /// The step's own and up to this many less one before it, 2 to 4, in Adams and Bashforth's proportions: for noise,
    /// PLMS (arXiv 2202.09778, equation 12). The first steps, which have fewer before them, take what there is.
    AdamsBashforth(usize),
    /// DDPM (arXiv 2006.11239): each step but the last adds fresh noise, of the variance that the model says within the range
    /// that it was trained with (arXiv 2102.09672). For models that predict noise and variances.
    Ddpm,
}

impl Method {
    /// What can be written.
    pub const NAMES: &str = "first-order (Euler, DDIM), ab2, ab3 or ab4 (Adams-Bashforth, PLMS), or ddpm";

    /// The most predictions that an update is made of.
    pub fn order(self) -> usize {
        match self {
            Method::FirstOrder | Method::Ddpm => 1,
            Method::AdamsBashforth(order) => order.clamp(1, 4),
        }
    }

    /// The factors of the latest predictions, latest first, where `known` of them are there.
    pub fn factors(self, known: usize) -> &'static [f64] {
        const FACTORS: [&[f64]; 4] = [
            &[1.0],
            &[3.0 / 2.0, -1.0 / 2.0],
            &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        ];
        FACTORS[known.clamp(1, self.order()) - 1]
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::FirstOrder => write!(f, "first-order"),
            Method::AdamsBashforth(order) => write!(f, "ab{order}"),
            Method::Ddpm => write!(f, "ddpm"),
        }
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Method> {
        match text {
            "first-order" => Ok(Method::FirstOrder),
            "ab2" => Ok(Method::AdamsBashforth(2)),
            "ab3" => Ok(Method::AdamsBashforth(3)),
            "ab4" => Ok(Method::AdamsBashforth(4)),
            "ddpm" => Ok(Method::Ddpm),
            _ => Err(Error::setting(format!("sampler {text:?}"), Method::NAMES)),
        }
    }
}

/// Which of the trained times the steps of a run have, where a model was trained on a list of them: diffusers'
/// `timestep_spacing`. Models of velocities know one, [`Spacing::Trailing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// From the noisiest time down: round(1000·(S − i)/S) − 1. The run begins at the noise that it is given.
    #[default]
    Trailing,
    /// Both ends: round(999·(S − 1 − i)/(S − 1)), for 2 steps or more. The last step has next to no noise to remove.
    Linspace,
    /// (S − 1 − i)·⌊1000/S⌋: the spacing of DDIM's code and of the paper's runs. It begins where the model expects some
    /// signal already, and far off where S does not divide 1000: at 894 with 150 steps, at 666 with 334.
    Leading,
}

impl Spacing {
    /// Every spacing, the default first.
    pub const ALL: [Spacing; 3] = [Spacing::Trailing, Spacing::Linspace, Spacing::Leading];

    /// The name, as diffusers has it.
    pub fn name(self) -> &'static str {
        match self {
            Spacing::Trailing => "trailing",
            Spacing::Linspace => "linspace",
            Spacing::Leading => "leading",
        }
    }

    /// The time of step `i` of `steps`, of the [`TRAINED`] ones. Rounds halves to even, as numpy does.
    fn time(self, i: usize, steps: usize) -> usize {
        let left = (steps - i) as f64;
        match self {
            Spacing::Trailing => (TRAINED as f64 * left / steps as f64).round_ties_even() as usize - 1,
            Spacing::Linspace => {
                ((TRAINED as f64 - 1.0) * (left - 1.0) / (steps as f64 - 1.0)).round_ties_even() as usize
            }
            Spacing::Leading => (steps - 1 - i) * (TRAINED / steps),
        }
    }
}

impl fmt::Display for Spacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Spacing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Spacing> {
        let named = Spacing::ALL.into_iter().find(|spacing| spacing.name() == text);
        named.ok_or_else(|| {
            let names = Spacing::ALL.map(Spacing::name);
            Error::setting(format!("spacing {text:?}"), format!("{}, {} or {}", names[0], names[1], names[2]))
        })
    }
}

/// The times that models of noise are trained on: 0 to 999.
const TRAINED: usize = 1000;

/// The model's times and the sampler's updates for a whole run: numbers only.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What the model is told, 0 to 1000.
    pub times: Vec<f32>,
    /// What happens to the clip: z = keep·z + add·v, with v the guided prediction.
    pub updates: Vec<Update>,
    /// What would lead from each step to the clean clip at once, if the prediction were all right.
    pub cleans: Vec<Update>,
    /// At each step, how much of the clip is signal and how much noise: z = a·x + b·noise.
    pub scales: Vec<[f64; 2]>,
    /// g in v = u + g·(c − u); 1 takes the conditional prediction alone.
    pub guidance: f32,
    /// Where steps add noise, logarithms of its least and largest variance for each step but the last; empty otherwise.
    pub variances: Vec<[f32; 2]>,
}

impl Schedule {
    /// `steps` steps of the sampler that belongs to `prediction`:
    ///
    /// - velocity: Euler along z_t = (1 − t)·x + t·noise from t = 1 to 0 in equal steps; the model sees 1000·t
    ///   (rectified flow, arXiv 2209.03003);
    /// - epsilon: DDIM with η = 0 (arXiv 2010.02502, equation 12) over linear betas 1e-4 to 2e-2 in 1000 steps, at the
    ///   times of `spacing`. Each update leads to the time of the next step, and the last one to the clean clip.
    ///   (diffusers' DDIM leads ⌊1000/steps⌋ down instead, which is the next step's time with `leading` alone.)
    ///
    /// Fails for no steps, more than the model was trained on, a spacing that the model does not know, and a guidance
    /// that is not finite.
    pub fn new(prediction: Prediction, spacing: Spacing, steps: usize, guidance: f32) -> Result<Schedule> {
        let most = if prediction == Prediction::Epsilon { TRAINED } else { MOST_STEPS };
        if !(1..=most).contains(&steps) {
            return Err(Error::setting(format!("steps {steps}"), format!("1 to {most}")));
        }
        let name = format!("spacing {spacing}");
        if prediction == Prediction::Velocity && spacing != Spacing::Trailing {
            return Err(Error::setting(
                name,
                "trailing: the model predicts velocities, whose steps are equal",
            ));
        }
        if spacing == Spacing::Linspace && steps < 2 {
            return Err(Error::setting(format!("{name} of 1 step"), "at least 2 steps, for both ends"));
        }
        if !guidance.is_finite() {
            return Err(Error::setting(format!("guidance {guidance}"), "a finite number"));
        }
        let update = |keep: f64, add: f64| Update {
            keep: keep as f32,
            add: add as f32,
            guidance,
            channels: usize::MAX,
        };
        let n = steps as f64;
        let step = |i: usize| match prediction {
            Prediction::Velocity => {
                let t = 1.0 - i as f64 / n;
                (1000.0 * t, update(1.0, -1.0 / n), update(1.0, -t), [1.0 - t, t])
            }
            Prediction::Epsilon => {
                let t = spacing.time(i, steps);
                let now = alpha_bar(t);
                let next = if i + 1 == steps { 1.0 } else { alpha_bar(spacing.time(i + 1, steps)) };
                // x₀ = (z − √(1−ᾱ)·ε)/√ᾱ;  z' = √ᾱ'·x₀ + √(1−ᾱ')·ε
                let keep = (next / now).sqrt();
                let add = (1.0 - next).sqrt() - keep * (1.0 - now).sqrt();
                let (signal, noise) = (now.sqrt(), (1.0 - now).sqrt());
                (t as f64, update(keep, add), update(1.0 / signal, -noise / signal), [signal, noise])
            }
        };
        let (mut times, mut updates, mut cleans, mut scales) = (vec![], vec![], vec![], vec![]);
        for (t, update, clean, scale) in (0..steps).map(step) {
            times.push(t as f32);
            updates.push(update);
            cleans.push(clean);
            scales.push(scale);
        }
        Ok(Schedule { times, updates, cleans, scales, guidance, variances: vec![] })
    }

    /// The same times with the updates of DDPM: of each step the mean of what it is drawn from, and the range of its
    /// variance, β̃ to β, between the ᾱ of this step and the next (facebook/DiT's respaced diffusion). Of models that predict
    /// noise, see [`Method::Ddpm`].
    pub fn ddpm(mut self) -> Schedule {
        let squares: Vec<f64> = self.scales.iter().map(|[signal, _]| signal * signal).collect();
        for (i, &now) in squares.iter().enumerate() {
            let next = squares.get(i + 1).copied();
            let (alpha, ahead) = (now / next.unwrap_or(1.0), next.unwrap_or(1.0));
            // x₀ = (z − √(1−ᾱ)·ε)/√ᾱ;  mean = β·√ᾱ'/(1−ᾱ)·x₀ + (1−ᾱ')·√α/(1−ᾱ)·z
            let (of_clean, of_clip) =
                ((1.0 - alpha) * ahead.sqrt() / (1.0 - now), (1.0 - ahead) * alpha.sqrt() / (1.0 - now));
            self.updates[i].keep = (of_clean / now.sqrt() + of_clip) as f32;
            self.updates[i].add = (-of_clean * ((1.0 - now) / now).sqrt()) as f32;
            if next.is_some() {
                let least = (1.0 - alpha) * (1.0 - ahead) / (1.0 - now);
                self.variances.push([least.ln() as f32, (1.0 - alpha).ln() as f32]);
            }
        }
        self
    }

    /// The same, guiding only the first `channels` of the clip.
    pub fn guiding(mut self, channels: usize) -> Schedule {
        for update in self.updates.iter_mut().chain(&mut self.cleans) {
            update.channels = channels;
        }
        self
    }

    /// Whether the prediction is made of a conditional and an unconditional one.
    pub fn guided(&self) -> bool {
        self.guidance != 1.0
    }
}

/// ᾱ_t: the product of 1 − β up to t, β from 1e-4 to 2e-2 in 1000 equal steps.
fn alpha_bar(t: usize) -> f64 {
    let beta = |i: usize| 1e-4 + (2e-2 - 1e-4) * i as f64 / 999.0;
    (0..=t).map(|i| 1.0 - beta(i)).product()
}

/// Moves the clip along its schedule, and remembers as many predictions as its method wants.
pub(crate) struct Sampler {
    pub schedule: Schedule,
    method: Method,
    /// Predictions f32 [Z, F, C, H, W] of the last steps; that of step i is at i modulo the method's order.
    history: Vec<Tensor>,
    noise: Fresh,
}

/// Where the noise that steps add comes from.
pub(crate) enum Fresh {
    /// That of step i is stream i + 1 of a seed.
    Seed(u64),
    /// This, f32 [S − 1, Z, F, C, H, W].
    These(Vec<f32>),
}

impl Sampler {
    pub fn new(schedule: Schedule, method: Method, noise: Fresh) -> Sampler {
        Sampler { schedule, method, history: vec![], noise }
    }

    /// Adds the noise of step `i`, if that step adds any.
    fn renoise(&mut self, batch: &mut Batch<'_>, i: usize) -> Result<()> {
        let Some(&range) = self.schedule.variances.get(i) else { return Ok(()) };
        let Batch { config, pass, z, .. } = batch;
        let n = z.elements();
        let fresh = match &self.noise {
            Fresh::Seed(seed) => {
                let mut all = memory::filled(n, 0.0, "noise")?;
                noise::fill(*seed, i as u64 + 1, &mut all);
                Cow::Owned(all)
            }
            Fresh::These(all) => match all.get(i * n..(i + 1) * n) {
                Some(these) => Cow::Borrowed(these),
                None => {
                    let wanted = format!("{} for each of {} steps", n, self.schedule.variances.len());
                    return Err(Error::setting(format!("noise of steps: {} values", all.len()), wanted));
                }
            },
        };
        let fresh = Tensor::from_f32(z.device(), DType::F32, *z.shape(), &fresh)?;
        renoise(Gate::Open, z, &pass.streams().tokens, &fresh, config.patch, range)
    }

    /// What a watcher sees of step `i`.
    pub fn moment<'a>(&self, batch: &'a Batch<'_>, decider: &'a Decider, i: usize) -> Moment<'a> {
        let Batch { config, pass, z, prediction, .. } = batch;
        Moment {
            step: i,
            z,
            streams: pass.streams(),
            prediction: prediction.as_ref(),
            patch: config.patch,
            clean: self.schedule.cleans[i],
            decider,
        }
    }

    /// Step `i`: the clip moves on.
    pub fn advance(&mut self, batch: &mut Batch<'_>, i: usize) -> Result<()> {
        let (always, update, order) = (Gate::Open, self.schedule.updates[i], self.method.order());
        let Batch { config, pass, z, prediction, .. } = batch;
        let tokens = &pass.streams().tokens;
        if order == 1 {
            match prediction {
                Some(v) => axpby(always, z, (update.keep, None), (update.add, v))?,
                None => denoise(always, z, tokens, config.patch, update)?,
            }
            return self.renoise(batch, i);
        }
        while self.history.len() < order {
            self.history.push(Tensor::zeros(z.device(), DType::F32, *z.shape())?);
        }
        let latest = &mut self.history[i % order];
        match prediction {
            Some(v) => axpby(always, latest, (0.0, Some(v)), (1.0, v))?,
            None => denoise(always, latest, tokens, config.patch, Update { keep: 0.0, add: 1.0, ..update })?,
        }
        for (ago, factor) in self.method.factors(i + 1).iter().enumerate() {
            let keep = if ago == 0 { update.keep } else { 1.0 };
            let add = (f64::from(update.add) * factor) as f32;
            axpby(always, z, (keep, None), (add, &self.history[(i - ago) % order]))?;
        }
        Ok(())
    }
}
