//! How sure a number is that comes from a few seeds.

/// A number and half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The number, from all seeds.
    pub value: f64,
    /// The interval is value ± half. None for fewer than two seeds.
    pub half: Option<f64>,
}

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
    let (z, n) = (1.959963984540054f64, freedom as f64);
    let odd = |c: [f64; 5]| z * c.iter().fold(0.0, |sum, c| sum * z * z + c);
    z + odd([0.0, 0.0, 0.0, 1.0, 1.0]) / (4.0 * n)
        + odd([0.0, 0.0, 5.0, 16.0, 3.0]) / (96.0 * n.powi(2))
        + odd([0.0, 3.0, 19.0, 17.0, -15.0]) / (384.0 * n.powi(3))
        + odd([79.0, 776.0, 1482.0, -1920.0, -945.0]) / (92160.0 * n.powi(4))
}
