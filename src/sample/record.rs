//! What an uncached run tells about the cached ones.

use super::{GateMode, Method, Moment, Progress, Run, Watch};
use crate::cache::{IDENTITY, Measure, Policy, Rule, TeaCache};
use crate::device::Gate;
use crate::generate::Generate;
use crate::ops::{PARTIALS, TRACE_COLUMNS, TeaStep, axpby, norm_ratio, rel_l1, tea_gate};
use crate::{DType, Error, Result, Tensor, memory};

/// What TeaCache's polynomial is fitted on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The run: at each step how far the modulated input moved, as [`Step::distance`](crate::cache::Step::distance).
    pub run: Run,
    /// At each step how far the model's output moved (`tokens` after the head, all of the batch), measured in the same
    /// way. None at step 0.
    pub outputs: Vec<Option<f64>>,
}

/// Runs without a cache, and measures at each step how far the modulated input and the model's output moved.
pub async fn observe(
    generate: &Generate<'_>,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Observed> {
    let steps = generate.steps;
    // A gate that never skips, for its division and its trace.
    let rule = TeaCache::new(0.0, IDENTITY, steps);
    let policy = Policy::threshold(Measure::Signal, rule.clone());
    let mut watch = Outputs { steps, rule, device: None, progress };
    // Nothing waits before the end.
    let run = generate.clone().gate(GateMode::Device).run_with(policy, &mut watch).await?;
    let trace = match &watch.device {
        Some(device) => device.trace.read_f32().await?,
        None => vec![],
    };
    let distances = trace.chunks_exact(TRACE_COLUMNS).map(|row| f64::from(row[0]));
    let outputs = distances.enumerate().map(|(i, d)| (i > 0).then_some(d)).collect();
    Ok(Observed { run, outputs })
}

/// Watches how far the output moves.
struct Outputs<'a> {
    steps: usize,
    rule: TeaCache,
    device: Option<OnDevice>,
    progress: &'a mut dyn FnMut(Progress) -> Result<()>,
}

struct OnDevice {
    before: Tensor,
    partials: Tensor,
    flag: Tensor,
    state: Tensor,
    trace: Tensor,
}

impl Watch for Outputs<'_> {
    async fn step(&mut self, moment: &Moment<'_>) -> Result<()> {
        let (tokens, index) = (&moment.streams.tokens, moment.step);
        if self.device.is_none() {
            let zeros =
                |shape: &[usize]| Tensor::zeros(tokens.device(), DType::F32, crate::Shape::try_from(shape)?);
            self.device = Some(OnDevice {
                before: zeros(tokens.shape().dims())?,
                partials: zeros(&[PARTIALS, 2])?,
                flag: Tensor::from_u32(tokens.device(), [1], &[1])?,
                state: zeros(&[2])?,
                trace: zeros(&[self.steps, TRACE_COLUMNS])?,
            });
        }
        let Some(OnDevice { before, partials, flag, state, trace }) = &mut self.device else { return Ok(()) };
        rel_l1(Gate::Open, before, partials, tokens)?;
        let (rule, forced) = (self.rule.on_device(), self.rule.forced(index));
        tea_gate(Gate::Open, flag, state, trace, partials, TeaStep { rule: &rule, index, forced })
    }

    async fn done(&mut self, progress: Progress) -> Result<()> {
        (self.progress)(progress)
    }
}

/// MagCache's table: γ of each step of an uncached run, the mean over tokens of ‖R_t‖ / ‖R_{t−1}‖ (arXiv 2506.09045,
/// equation 3), R what the transformer stack adds to its input. The first step, which has none before it, counts 1.
///
/// Both halves of a guided batch count alike: they share one decision.
pub async fn magnitudes(generate: &Generate<'_>) -> Result<Vec<f64>> {
    let mut watch = Magnitudes { ratios: vec![], device: None, tokens: 1.0 };
    generate.run_with(Policy::off(generate.steps), &mut watch).await?;
    Ok(watch.ratios)
}

struct Magnitudes {
    ratios: Vec<f64>,
    tokens: f64,
    /// The residual now and a step ago, the sums that moving it leaves, and those of ratios.
    device: Option<[Tensor; 4]>,
}

impl Watch for Magnitudes {
    async fn step(&mut self, moment: &Moment<'_>) -> Result<()> {
        let (x, stack_in) = (&moment.streams.x, &moment.streams.stack_in);
        if self.device.is_none() {
            let like = || Tensor::zeros(x.device(), DType::F32, *x.shape());
            let sums = |columns| Tensor::zeros(x.device(), DType::F32, [PARTIALS, columns]);
            self.device = Some([like()?, like()?, sums(2)?, sums(1)?]);
            let rows = x.shape().dims().split_last().map_or(1, |(_, rows)| rows.iter().product());
            self.tokens = rows as f64;
        }
        let Some([now, before, moved, sums]) = &mut self.device else { return Ok(()) };
        axpby(Gate::Open, now, (1.0, Some(x)), (-1.0, stack_in))?;
        if moment.step == 0 {
            self.ratios.push(1.0);
        } else {
            norm_ratio(Gate::Open, sums, now, before)?;
            let sum: f64 = sums.read_f32().await?.iter().map(|x| f64::from(*x)).sum();
            self.ratios.push(sum / self.tokens);
        }
        // Moves `before` on.
        rel_l1(Gate::Open, before, moved, now)
    }

    async fn done(&mut self, _: Progress) -> Result<()> {
        Ok(())
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
    /// Records one more run, of as many steps as all the others. Takes S²/2 evaluations of the model.
    ///
    /// Holds all residuals of the run on the host: S·B·F·N·d numbers. `progress` is told of steps done, of 2·S, and
    /// may stop it with an error. Fails for a sampler that remembers predictions: a run cannot begin in its middle.
    pub async fn add(
        &mut self,
        generate: &Generate<'_>,
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let steps = generate.steps;
        if self.steps != 0 && self.steps != steps {
            return Err(Error::setting(format!("{steps} steps"), format!("{} as before", self.steps)));
        }
        if generate.method != Method::FirstOrder {
            return Err(Error::setting(format!("sampler {}", generate.method), Method::FirstOrder));
        }
        // Before anything is made of as many steps.
        generate.schedule()?;
        self.steps = steps;
        let mut watch = Residuals { clips: vec![], residuals: vec![], difference: None, progress };
        let last = generate.run_with(Policy::off(steps), &mut watch).await?.clips;
        let Residuals { clips, residuals, .. } = watch;

        let guided: Vec<Vec<f32>> = residuals.iter().map(|r| guided(r, generate.scale())).collect();
        let mut products = memory::filled(steps.saturating_mul(steps), 0.0, "products of residuals")?;
        for s in 0..steps {
            for t in 0..=s {
                let product = dot(&guided[s], &guided[t]);
                (products[s * steps + t], products[t * steps + s]) = (product, product);
            }
        }
        let mut gains = vec![0.0; steps];
        for t in 1..steps {
            // The rest of the run, from the clip and the residual that step t − 1 left, if step t alone is skipped.
            let rule = Rule::schedule((0..steps).map(|i| i != t));
            let mut rest = generate.begin(Policy { rule, ..Policy::off(steps) })?;
            rest.batch.z.write_f32(&clips[t])?;
            if let Some(kept) = &mut rest.kept {
                kept.residual.write_f32(&residuals[t - 1])?;
            }
            rest.run(t..steps, &mut |_: Progress| Ok(())).await?;
            let moved = squares(&rest.batch.z.read_f32().await?, &last).sqrt();
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

/// Keeps the clip before each step, and its residual.
struct Residuals<'a> {
    clips: Vec<Vec<f32>>,
    residuals: Vec<Vec<f32>>,
    difference: Option<Tensor>,
    progress: &'a mut dyn FnMut(usize) -> Result<()>,
}

impl Watch for Residuals<'_> {
    async fn step(&mut self, moment: &Moment<'_>) -> Result<()> {
        let (x, stack_in) = (&moment.streams.x, &moment.streams.stack_in);
        let difference = match &mut self.difference {
            Some(difference) => difference,
            none => none.insert(Tensor::zeros(x.device(), DType::F32, *x.shape())?),
        };
        axpby(Gate::Open, difference, (1.0, Some(x)), (-1.0, stack_in))?;
        self.clips.push(moment.z.read_f32().await?);
        self.residuals.push(difference.read_f32().await?);
        Ok(())
    }

    async fn done(&mut self, progress: Progress) -> Result<()> {
        (self.progress)(progress.done)
    }
}

/// u + g·(c − u) of a guided batch [c; u]; an unguided one as it is.
fn guided(residual: &[f32], guidance: f32) -> Vec<f32> {
    if guidance == 1.0 {
        return residual.to_vec();
    }
    let (c, u) = residual.split_at(residual.len() / 2);
    c.iter().zip(u).map(|(c, u)| u + guidance * (c - u)).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Σ(a − b)²
fn squares(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
