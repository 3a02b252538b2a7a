//! How sure a number is that comes from a few seeds.

/// A number and half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The number, from all seeds.
    pub value: f64,
    /// The interval is value ± half. None for fewer than two seeds.
    pub half: Option<f64>,
}

impl Estimate {
    /// Whether the interval reaches zero, so that not even the sign of the number is known.
    pub fn is_noise(&self) -> bool {
        self.half.is_some_and(|half| half > self.value.abs())
    }

    /// Whether half the interval is at most `share` of the number. False without an interval.
    pub fn within(&self, share: f64) -> bool {
        self.half.is_some_and(|half| half <= share * self.value.abs())
    }

    /// Whether it is worth printing as a ratio of times: ± 20 % at most.
    pub fn is_timed(&self) -> bool {
        self.within(0.2)
    }

    /// Whether it can be the share of a bound that was reached: it is not above 1 by more than its interval and a twentieth.
    pub fn is_within_bound(&self) -> bool {
        self.value - self.half.unwrap_or(0.0) <= 1.05
    }

    /// The same in another unit.
    pub fn scaled(&self, factor: f64) -> Estimate {
        Estimate { value: factor * self.value, half: self.half.map(|half| factor.abs() * half) }
    }
}

/// How many times as fast the second of each pair of runs was, from their times in any one unit: Σ first / Σ second, with
/// the [`jackknife`]'s interval over pairs.
pub fn speedup(pairs: &[[f64; 2]]) -> Estimate {
    let sum = |which: &[usize], side: usize| which.iter().map(|&i| pairs[i][side]).sum::<f64>();
    jackknife(pairs.len(), |which| sum(which, 0) / sum(which, 1))
}

/// The same of two runs that were not interleaved, from the times of each: mean before / mean after, with Welch's interval
/// (1947) for the relative errors of both.
pub fn unpaired_speedup(before: &[f64], after: &[f64]) -> Estimate {
    // The mean, and the square of its relative error.
    let of = |times: &[f64]| {
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let squares: f64 = times.iter().map(|t| (t - mean).powi(2)).sum();
        (mean, squares / (n - 1.0) / n / mean.powi(2))
    };
    let ((before_mean, a), (after_mean, b)) = (of(before), of(after));
    let value = before_mean / after_mean;
    if before.len() < 2 || after.len() < 2 {
        return Estimate { value, half: None };
    }
    let of_each = a * a / (before.len() - 1) as f64 + b * b / (after.len() - 1) as f64;
    let freedom = if of_each > 0.0 { (a + b).powi(2) / of_each } else { f64::INFINITY };
    let half = student((freedom.min(1e9) as usize).max(1)) * value * (a + b).sqrt();
    Estimate { value, half: Some(half) }
}

/// The 95 % interval of a proportion that was found in `n` independent trials, by Wilson's score (Wilson 1927):
///
/// ```text
/// (p + z²/2n ± z·√(p·(1 − p)/n + z²/4n²)) / (1 + z²/n),   z = 1.96
/// ```
///
/// Other than the jackknife's it lies in [0, 1], and it has a width where all trials agree: 3 of 3 is 44 to 100 %.
pub fn wilson(proportion: f64, n: usize) -> [f64; 2] {
    let (p, n) = (proportion, n as f64);
    let square = NORMAL * NORMAL / n;
    let half = NORMAL * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt();
    let end = |half: f64| ((p + square / 2.0 + half) / (1.0 + square)).clamp(0.0, 1.0);
    [end(-half), end(half)]
}

/// What 97.5 % of the normal distribution lies below.
const NORMAL: f64 = 1.959963984540054;

/// The 95 % interval of a statistic over `n` independent seeds, by the delete-one jackknife (Tukey 1958):
///
/// ```text
/// θᵢ = statistic of all seeds but the i-th;   s² = (n − 1)/n · Σ (θᵢ − mean θ)²;   half = t₀.₉₇₅,ₙ₋₁ · s
/// ```
///
/// For a mean this is Student's interval to the digit; it also serves statistics that are no means, such as a ratio of
/// sums or a Fréchet distance. `statistic` is given the indices of the seeds to use.
pub fn jackknife(n: usize, statistic: impl Fn(&[usize]) -> f64) -> Estimate {
    let all: Vec<usize> = (0..n).collect();
    let value = statistic(&all);
    if n < 2 {
        return Estimate { value, half: None };
    }
    let without = |i: usize| statistic(&[&all[..i], &all[i + 1..]].concat());
    let parts: Vec<f64> = (0..n).map(without).collect();
    let mean = parts.iter().sum::<f64>() / n as f64;
    let squares: f64 = parts.iter().map(|p| (p - mean).powi(2)).sum();
    let error = (squares * (n as f64 - 1.0) / n as f64).sqrt();
    Estimate { value, half: Some(student(n - 1) * error) }
}

/// t₀.₉₇₅: what 97.5 % of Student's distribution with `freedom` ≥ 1 degrees of freedom lies below.
///
/// From a table, and above it from the expansion about the normal quantile (Abramowitz and Stegun, 26.7.5).
pub fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 10] =
        [12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814];
    if let Some(t) = freedom.checked_sub(1).and_then(|i| TABLE.get(i)) {
        return *t;
    }
    let (z, n) = (NORMAL, freedom as f64);
    let odd = |c: [f64; 5]| z * c.iter().fold(0.0, |sum, c| sum * z * z + c);
    z + odd([0.0, 0.0, 0.0, 1.0, 1.0]) / (4.0 * n)
        + odd([0.0, 0.0, 5.0, 16.0, 3.0]) / (96.0 * n.powi(2))
        + odd([0.0, 3.0, 19.0, 17.0, -15.0]) / (384.0 * n.powi(3))
        + odd([79.0, 776.0, 1482.0, -1920.0, -945.0]) / (92160.0 * n.powi(4))
}
