//! Where TeaCache's coefficients come from: uncached runs, one least-squares polynomial over all their steps.
//!
//! ```text
//! x = Σ|Mₜ − Mₜ₋₁| / Σ|Mₜ₋₁|    M: block 0's modulated input       (what is measured at every step)
//! y = Σ|Oₜ − Oₜ₋₁| / Σ|Oₜ₋₁|    O: the model's output              (what one would like to know)
//! f = argmin Σ (f(x) − y)²       over all steps of all clips, f a polynomial of degree 1 to 4
//! ```
//!
//! This is the paper's procedure (arXiv 2411.19108, section 3.3: pairs of consecutive steps, all of them, not averaged).
//! [`observe`](crate::sample::observe()) records the pairs, [`Fit`] fits them, and a [`Calibration`] keeps the result with
//! all that it depends on: coefficients of one model, step count or guidance do not fit another.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::text;
use crate::cache::{Given, Polynomial, Spec, TeaCache};
use crate::model::{Checkpoint, Prediction, SHIPPED_CALIBRATION};
use crate::sample::Spacing;
use crate::{DType, Error, Result};

/// The highest degree.
pub const DEGREE: usize = 4;

/// The pairs of one uncached clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// What it shows.
    pub class: usize,
    /// The seed of its noise.
    pub seed: u64,
    /// Distances of block 0's modulated input, from step 1 on.
    pub x: Vec<f64>,
    /// Distances of the output, from step 1 on.
    pub y: Vec<f64>,
}

impl Clip {
    /// Whether it is of a run of `steps` steps, with distances that are numbers.
    pub fn check(&self, steps: usize) -> Result<()> {
        let what = || format!("pairs of class {}, seed {}", self.class, self.seed);
        if self.x.len() + 1 != steps || self.y.len() != self.x.len() {
            let got = format!("{}: {} of x, {} of y", what(), self.x.len(), self.y.len());
            return Err(Error::setting(got, format!("{} of each, one a step but the first", steps - 1)));
        }
        match self.x.iter().chain(&self.y).find(|d| !(d.is_finite() && **d >= 0.0)) {
            Some(bad) => Err(Error::setting(format!("{}: {bad}", what()), "distances, 0 or more")),
            None => Ok(()),
        }
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.x.iter().copied().zip(self.y.iter().copied())
    }
}

/// A polynomial and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// 1 to [`DEGREE`].
    pub degree: usize,
    /// c4, c3, c2, c1, c0: highest power first, zeros above the degree.
    pub coefficients: [f64; 5],
    /// The smallest and the largest x.
    pub range: [f64; 2],
    /// The share of y's variance that f(x) explains.
    pub r2: f64,
    /// Pearson's correlation of f(x) and y.
    pub pearson: f64,
    /// R² on clips that were not fitted: five folds (one clip each where there are fewer than five), errors of all
    /// folds together, against the mean of the clips that were. None for one clip.
    pub held_out_r2: Option<f64>,
}

impl Fit {
    /// The least-squares polynomial of `degree` over all pairs of `clips`.
    pub fn of(clips: &[Clip], degree: usize) -> Result<Fit> {
        let all: Vec<_> = clips.iter().flat_map(Clip::points).collect();
        let (coefficients, range) = polynomial(&all, degree)?;
        let f = |x: f64| evaluate(&coefficients, x);
        let folds = clips.len().min(5);
        let mut held_out = (folds > 1).then_some((0.0, 0.0));
        for fold in 0..folds {
            let part = |inside: bool| {
                let clips = clips.iter().enumerate().filter(move |(i, _)| (i % folds == fold) == inside);
                clips.flat_map(|(_, clip)| clip.points()).collect::<Vec<_>>()
            };
            let (test, train) = (part(true), part(false));
            let Some((errors, spread)) = &mut held_out else { break };
            // Too few distances to fit: nothing is known about others.
            let Ok((coefficients, _)) = polynomial(&train, degree) else {
                held_out = None;
                break;
            };
            let mean = mean(train.iter().map(|p| p.1));
            *errors += test.iter().map(|(x, y)| (y - evaluate(&coefficients, *x)).powi(2)).sum::<f64>();
            *spread += test.iter().map(|(_, y)| (y - mean).powi(2)).sum::<f64>();
        }
        let centre = mean(all.iter().map(|p| p.1));
        let errors: f64 = all.iter().map(|(x, y)| (y - f(*x)).powi(2)).sum();
        let spread: f64 = all.iter().map(|(_, y)| (y - centre).powi(2)).sum();
        Ok(Fit {
            degree,
            coefficients,
            range,
            r2: 1.0 - errors / spread,
            pearson: pearson(all.iter().map(|(x, y)| (f(*x), *y))),
            held_out_r2: held_out.map(|(errors, spread)| 1.0 - errors / spread),
        })
    }
}

/// f(x) by Horner, highest power first.
pub fn evaluate(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// Pearson's correlation of pairs; NaN where one side does not vary.
pub fn pearson(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (mx, my) = (mean(pairs.clone().map(|p| p.0)), mean(pairs.clone().map(|p| p.1)));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xy += (x - mx) * (y - my);
        xx += (x - mx).powi(2);
        yy += (y - my).powi(2);
    }
    xy / (xx * yy).sqrt()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    sum / n as f64
}

/// Coefficients of the least-squares polynomial, and the range of x.
fn polynomial(points: &[(f64, f64)], degree: usize) -> Result<([f64; 5], [f64; 2])> {
    if !(1..=DEGREE).contains(&degree) {
        return Err(Error::setting(format!("degree {degree}"), format!("1 to {DEGREE}")));
    }
    let mut distances: Vec<f64> = points.iter().map(|p| p.0).collect();
    distances.sort_by(f64::total_cmp);
    let range = [distances.first(), distances.last()].map(|x| x.copied().unwrap_or(f64::NAN));
    distances.dedup();
    if distances.len() <= degree {
        let wanted = format!("at least {} that differ", degree + 1);
        return Err(Error::setting(format!("{} distances for degree {degree}", distances.len()), wanted));
    }
    // Powers of u in [-1, 1] can be told apart; those of x in [0.01, 0.1] hardly.
    let [low, high] = range;
    let (scale, shift) = (2.0 / (high - low), -(high + low) / (high - low));
    let columns: Vec<Vec<f64>> = (0..=degree)
        .map(|power| points.iter().map(|(x, _)| (scale * x + shift).powi(power as i32)).collect())
        .collect();
    let solution = least_squares(columns, points.iter().map(|p| p.1).collect());
    // f(u) with u = scale·x + shift, multiplied out by Horner: lowest power first.
    let mut f = [0.0; 5];
    for c in solution.iter().rev() {
        let times_x = [0.0, f[0], f[1], f[2], f[3]];
        for (f, shifted) in f.iter_mut().zip(times_x) {
            *f = *f * shift + shifted * scale;
        }
        f[0] += c;
    }
    f.reverse();
    Ok((f, range))
}

/// argmin |A·c − y|² by Householder's QR, A given by its columns, which are independent.
fn least_squares(mut columns: Vec<Vec<f64>>, mut y: Vec<f64>) -> Vec<f64> {
    let n = columns.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for k in 0..n {
        // The reflection that takes column k, from row k on, to a multiple of the first unit vector.
        let mut v = columns[k][k..].to_vec();
        v[0] += dot(&v, &v).sqrt().copysign(v[0]);
        let size = dot(&v, &v);
        for column in columns[k..].iter_mut().chain([&mut y]) {
            let share = 2.0 * dot(&v, &column[k..]) / size;
            column[k..].iter_mut().zip(&v).for_each(|(x, v)| *x -= share * v);
        }
    }
    let mut c = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| columns[j][k] * c[j]).sum();
        c[k] = (y[k] - known) / columns[k][k];
    }
    c
}

/// What coefficients depend on besides the pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The model's name, for people.
    pub model: String,
    /// SHA-256 of the checkpoint file.
    pub sha256: String,
    /// What the model predicts, and with that the sampler.
    pub prediction: Prediction,
    /// Which of the trained times the steps have, for a model that predicts noise. None for velocities, which have no
    /// choice, and for files from before there was one: these had [`Spacing::Leading`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<Spacing>,
    /// Denoising steps.
    pub steps: usize,
    /// The scale of guidance.
    pub guidance: f64,
    /// The type of matrix operands.
    pub dtype: String,
}

impl Binding {
    /// The binding of a run.
    pub fn new(
        checkpoint: &Checkpoint,
        spacing: Spacing,
        steps: usize,
        guidance: f32,
        dtype: DType,
    ) -> Binding {
        let prediction = checkpoint.config().prediction;
        Binding {
            model: checkpoint.name(),
            sha256: checkpoint.sha256(),
            prediction,
            spacing: (prediction == Prediction::Epsilon).then_some(spacing),
            steps,
            // As it was written, not with the digits that f64 adds.
            guidance: guidance.to_string().parse().unwrap_or(guidance.into()),
            dtype: dtype.name().into(),
        }
    }
}

/// Coefficients with all that they depend on: the file `MODEL.teacache.json` beside `MODEL.safetensors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What they hold for.
    #[serde(flatten)]
    pub binding: Binding,
    /// The coefficients and how well they fit.
    #[serde(flatten)]
    pub fit: Fit,
    /// How many clips they come from.
    pub clips: usize,
    /// How many pairs.
    pub pairs: usize,
    /// MagCache's table for the same runs, a number for each step; see [`magnitudes`](crate::sample::magnitudes()).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub magnitudes: Vec<f64>,
}

impl Calibration {
    /// That of the shipped model.
    pub fn shipped() -> Result<Calibration> {
        Calibration::parse(SHIPPED_CALIBRATION).map_err(|why| Error::file("the shipped calibration", why))
    }

    /// Reads one from its file.
    pub fn open(path: &Path) -> Result<Calibration> {
        let text = text::read(path);
        let text = text.map_err(|e| Error::file(path, format!("{e}; wanted a calibration")))?;
        Calibration::parse(&text).map_err(|why| Error::file(path, why))
    }

    /// What `text` says, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Calibration, String> {
        let wanted = "wanted what `steep calibrate` writes";
        let calibration: Calibration =
            serde_json::from_str(text).map_err(|e| format!("not a calibration: {e}; {wanted}"))?;
        let [low, high] = calibration.fit.range;
        if !(low >= 0.0 && low < high && calibration.fit.coefficients.iter().all(|c| c.is_finite())) {
            return Err(format!("range [{low}, {high}] and coefficients; {wanted}"));
        }
        Ok(calibration)
    }

    /// Whether it may serve a run, and what to warn of.
    ///
    /// Other weights are refused: coefficients do not transfer, not even between finetunes of one model. Other steps,
    /// guidance or dtype are warned of: distances are others then, and the range will tell.
    pub fn check(&self, run: &Binding) -> Result<Vec<String>, String> {
        let ours = &self.binding;
        if ours.sha256 != run.sha256 || ours.prediction != run.prediction {
            let short = |hash: &str| hash.chars().take(12).collect::<String>();
            return Err(format!(
                "made for other weights (sha256 {}…, the model's is {}…); wanted `steep calibrate` on these, or \
                 tea:THRESHOLD:identity",
                short(&ours.sha256),
                short(&run.sha256)
            ));
        }
        let mut warnings = vec![];
        let spacing = |binding: &Binding| binding.spacing.unwrap_or(Spacing::Leading).to_string();
        for (what, theirs, this) in [
            ("spacing", spacing(ours), spacing(run)),
            ("steps", ours.steps.to_string(), run.steps.to_string()),
            ("guidance", ours.guidance.to_string(), run.guidance.to_string()),
            ("dtype", ours.dtype.clone(), run.dtype.clone()),
        ] {
            if theirs != this {
                warnings.push(format!("calibrated at {what} {theirs}, used at {this}"));
            }
        }
        Ok(warnings)
    }

    /// TeaCache's rule with these coefficients and their range.
    pub fn rule(&self, threshold: f64, steps: usize) -> TeaCache {
        let mut rule = TeaCache::new(threshold, self.fit.coefficients, steps);
        rule.range = Some(self.fit.range);
        rule
    }
}

/// What the policy of `spec` is given: the fit of `calibration` if it takes one, and the table of its file if it names one.
pub fn given(spec: &Spec, calibration: Option<&Calibration>) -> Result<Given> {
    let fit = calibration.filter(|_| spec.takes_calibration()).map(|c| &c.fit);
    Ok(Given {
        fit: fit.map(|fit| Polynomial { coefficients: fit.coefficients, range: fit.range }),
        magnitudes: spec.file().map(magnitudes).transpose()?,
    })
}

/// MagCache's γ of each step, from a file: JSON, a list of positive numbers or an object that has one as `magnitudes`.
pub fn magnitudes(file: &Path) -> Result<Vec<f64>> {
    let text = text::read(file).map_err(|e| Error::file(file, e))?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::file(file, format!("wanted magnitudes, got no JSON: {e}")))?;
    let list = json.get("magnitudes").unwrap_or(&json).as_array();
    let list = list.map(|list| list.iter().map(|x| x.as_f64().filter(|x| *x > 0.0)).collect::<Option<_>>());
    match list {
        Some(Some(numbers)) if !Vec::is_empty(&numbers) => Ok(numbers),
        _ => {
            Err(Error::file(file, "wanted magnitudes: a list of positive numbers, or an object that has it"))
        }
    }
}

/// Steps over computed steps, all clips together, if the rule decided on the recorded distances.
///
/// The recorded runs were uncached. A cached run's distances differ a little, because its input does.
pub fn ratio(clips: &[Clip], rule: &TeaCache) -> f64 {
    let (mut steps, mut computed) = (0, 0);
    for clip in clips {
        let distances: Vec<_> = [None].into_iter().chain(clip.x.iter().copied().map(Some)).collect();
        let trace = rule.clone().replay(&distances);
        steps += trace.len();
        computed += trace.iter().filter(|s| s.decision.computes()).count();
    }
    steps as f64 / computed as f64
}

/// The smallest threshold, to four digits, at which [`ratio`] reaches `target`; None where none does.
pub fn threshold_for(clips: &[Clip], rule: &TeaCache, target: f64) -> Option<f64> {
    let at = |threshold: f64| {
        let mut rule = rule.clone();
        rule.threshold = threshold;
        ratio(clips, &rule)
    };
    let (mut low, mut high) = (0.0, most(clips, rule));
    if at(low) >= target {
        return Some(low);
    }
    if at(high) < target {
        return None;
    }
    // With f ≥ 0 the number of computed steps falls as the threshold rises.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if at(middle) < target { low = middle } else { high = middle }
    }
    Some(round_up(high))
}

/// A threshold above all sums.
pub fn most(clips: &[Clip], rule: &TeaCache) -> f64 {
    let sum = |clip: &Clip| clip.x.iter().map(|&x| rule.rescale(x).abs()).sum::<f64>();
    2.0 * clips.iter().map(sum).fold(0.0, f64::max) + 1e-3
}

/// To four significant digits.
pub fn round_up(x: f64) -> f64 {
    if x <= 0.0 || !x.is_finite() {
        return x;
    }
    let unit = 10f64.powi(x.log10().floor() as i32 - 3);
    let rounded = (x / unit).ceil() * unit;
    // As it is printed, without the digits that the multiplication left.
    format!("{rounded:.3e}").parse().unwrap_or(rounded)
}
