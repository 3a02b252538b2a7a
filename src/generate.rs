//! The one call that makes clips.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::cache::{Given, IDENTITY, Measure, Policy, Rule, Spec, TeaCache};
use crate::model::{Condition, Model, Prediction};
use crate::sample::{
    Fresh, GateMode, Method, Progress, Run, Sampler, Sampling, Schedule, Spacing, Watch, number,
};
use crate::{Error, Result, memory, noise};

/// Samples clips with `model`: 50 steps at guidance 3 from the noise of seed 0, of class 0, without a cache, unless told
/// otherwise.
///
/// ```no_run
/// # async fn make() -> steep::Result<()> {
/// use steep::{Device, generate, model::Dit};
///
/// let device = Device::open("auto").await?;
/// let model = Dit::shipped(&device)?;
/// let run = generate(&model).class(7).seed(3).cache("tea:0.1:identity".parse()?).run().await?;
/// println!("{} of {} steps computed", run.computed(), run.steps.len());
/// std::fs::write("seven.gif", run.videos()?[0].picture(8)?.gif(8)?).expect("a file");
/// # Ok(())
/// # }
/// ```
pub fn generate(model: &dyn Model) -> Generate<'_> {
    Generate {
        model,
        condition: Condition::class(0),
        steps: 50,
        guidance: 3.0,
        noise: Noise::Seed(0),
        fresh: None,
        method: Method::FirstOrder,
        spacing: Spacing::Trailing,
        gate: GateMode::Host,
        cache: Spec::off(),
        given: Given::default(),
    }
}

/// What to make, and how. [`generate()`] begins one; its methods change a setting each.
#[derive(Clone)]
pub struct Generate<'m> {
    pub(crate) model: &'m dyn Model,
    condition: Condition,
    pub(crate) steps: usize,
    guidance: f32,
    noise: Noise,
    fresh: Option<Vec<f32>>,
    pub(crate) method: Method,
    spacing: Spacing,
    gate: GateMode,
    cache: Spec,
    given: Given,
}

#[derive(Clone)]
enum Noise {
    Seed(u64),
    These(Vec<f32>),
}

impl<'m> Generate<'m> {
    /// One clip of a class.
    pub fn class(self, class: usize) -> Self {
        self.condition(Condition::class(class))
    }

    /// One clip for each of these, in one batch and under one decision.
    pub fn condition(self, condition: Condition) -> Self {
        Generate { condition, ..self }
    }

    /// Denoising steps.
    pub fn steps(self, steps: usize) -> Self {
        Generate { steps, ..self }
    }

    /// g in v = u + g·(c − u), classifier-free guidance; 1 samples the condition alone, with half the work. Without a
    /// condition there is nothing to guide towards, and g is 1.
    pub fn guidance(self, guidance: f32) -> Self {
        Generate { guidance, ..self }
    }

    /// Noise of this seed ([`noise::normal`], stream 0).
    pub fn seed(self, seed: u64) -> Self {
        Generate { noise: Noise::Seed(seed), ..self }
    }

    /// This noise instead of a seed's: f32 [Z, F, C, H, W], Z the number of conditions.
    pub fn noise(self, noise: Vec<f32>) -> Self {
        Generate { noise: Noise::These(noise), ..self }
    }

    /// What steps add, instead of noise of the seed, where they add noise at all: f32 [S − 1, Z, F, C, H, W].
    pub fn step_noise(self, noise: Vec<f32>) -> Self {
        Generate { fresh: Some(noise), ..self }
    }

    /// How predictions move the clip.
    pub fn sampler(self, method: Method) -> Self {
        Generate { method, ..self }
    }

    /// Which of the trained times the steps have.
    pub fn spacing(self, spacing: Spacing) -> Self {
        Generate { spacing, ..self }
    }

    /// Who acts on the decisions of a policy that measures.
    pub fn gate(self, gate: GateMode) -> Self {
        Generate { gate, ..self }
    }

    /// Skips steps as this policy decides.
    pub fn cache(self, cache: Spec) -> Self {
        Generate { cache, ..self }
    }

    /// What the policy is given: the model's fitted coefficients, its table of magnitudes.
    pub fn given(self, given: Given) -> Self {
        Generate { given, ..self }
    }

    /// The policy that a run follows. A number of steps that no schedule has is an error.
    pub fn policy(&self) -> Result<Policy> {
        self.schedule()?;
        self.cache.policy(self.steps, &self.given)
    }

    /// The times and updates that a run follows.
    pub fn schedule(&self) -> Result<Schedule> {
        let c = self.model.config();
        let schedule = Schedule::new(c.prediction, self.spacing, self.steps, self.scale())?;
        let schedule = schedule.guiding(c.guided_channels());
        match self.method {
            Method::Ddpm if c.prediction != Prediction::Epsilon || !c.learn_sigma => {
                Err(Error::setting("sampler ddpm", "a model that predicts noise and its variances"))
            }
            Method::Ddpm => Ok(schedule.ddpm()),
            _ => Ok(schedule),
        }
    }

    /// All that the clip's values depend on, as records have it: `{device, dtype, sampler, spacing, model, class, cache,
    /// seed, guidance, coefficients, range}`. Noise that is of no seed has none; several classes are a list, and none is
    /// `none`. Only the caller knows what the `model` is called.
    ///
    /// # Errors
    ///
    /// If the policy cannot be made; see [`policy`](Self::policy).
    pub fn settings(&self, model: &str) -> Result<Value> {
        let rule = match self.policy()?.rule {
            Rule::Threshold(rule) => Some(rule),
            Rule::Schedule(_) | Rule::Host(_) => None,
        };
        let Condition::Classes(classes) = &self.condition;
        let class = match &classes[..] {
            _ if self.is_unconditional() => json!("none"),
            [class] => json!(class),
            classes => json!(classes),
        };
        let seed = match self.noise {
            Noise::Seed(seed) => Some(seed),
            Noise::These(_) => None,
        };
        Ok(json!({
            "device": self.model.device().name(),
            "dtype": self.model.dtype().name(),
            "sampler": self.method.to_string(),
            "spacing": self.spacing,
            "model": model,
            "class": class,
            "cache": self.cache.to_string(),
            "seed": seed,
            "guidance": number(self.guidance),
            "coefficients": rule.as_ref().map(|rule| rule.coefficients),
            "range": rule.as_ref().and_then(|rule| rule.range),
        }))
    }

    fn is_unconditional(&self) -> bool {
        self.condition == self.model.unconditional(self.condition.clips())
    }

    /// The guidance that counts.
    pub(crate) fn scale(&self) -> f32 {
        if self.is_unconditional() { 1.0 } else { self.guidance }
    }

    /// Makes the clips. Fails with [`Error::NotFinite`] where one of their values is NaN or infinite, as happens to models
    /// whose activations are too large for f16.
    pub async fn run(&self) -> Result<Run> {
        self.watch(&mut |_: Progress| Ok(())).await
    }

    /// Makes the clips, seen by `watch`, for example a closure that draws progress:
    /// `&mut |p: Progress| { println!("{}", p.done); Ok(()) }`.
    pub async fn watch(&self, watch: &mut impl Watch) -> Result<Run> {
        self.run_with(self.policy()?, watch).await
    }

    /// Makes the clips with a policy that no [`Spec`] names, such as a rule of one's own.
    pub async fn run_with(&self, policy: Policy, watch: &mut impl Watch) -> Result<Run> {
        let mut sampling = self.begin(policy)?;
        sampling.run(0..self.steps, watch).await?;
        sampling.finish().await
    }

    /// Runs four steps that go through every kernel of the run to come, computed and skipped, so that none is compiled
    /// while that is timed.
    pub async fn warm_up(&self) -> Result<()> {
        const STEPS: usize = 4;
        let policy = self.policy()?;
        let rule = match policy.measure {
            Measure::Nothing => Rule::schedule([true, true, false, false]),
            measure => {
                let mut rule = TeaCache::new(f64::INFINITY, IDENTITY, STEPS);
                rule.warmup = measure.steps_before();
                Rule::Threshold(rule)
            }
        };
        let few = self.clone().steps(STEPS);
        few.run_with(Policy { rule, ..policy }, &mut |_: Progress| Ok(())).await.map(drop)
    }

    pub(crate) fn begin(&self, policy: Policy) -> Result<Sampling<'m>> {
        let fresh = match (&self.fresh, &self.noise) {
            (Some(these), _) => Fresh::These(these.clone()),
            (None, Noise::Seed(seed)) => Fresh::Seed(*seed),
            (None, Noise::These(_)) => Fresh::Seed(0),
        };
        let sampler = Sampler::new(self.schedule()?, self.method, fresh);
        let noise = match &self.noise {
            Noise::Seed(seed) => {
                let values = self.condition.clips().checked_mul(self.model.config().clip());
                let mut all = memory::filled(values.unwrap_or(usize::MAX), 0.0, "noise")?;
                noise::fill(*seed, 0, &mut all);
                Cow::Owned(all)
            }
            Noise::These(noise) => match noise.iter().position(|x| !x.is_finite()) {
                Some(at) => {
                    let what = format!("noise: element {at} is {}", noise[at]);
                    return Err(Error::setting(what, "finite numbers"));
                }
                None => Cow::Borrowed(&noise[..]),
            },
        };
        Sampling::new(self.model, &self.condition, &noise, sampler, policy, self.gate)
    }
}
