//! The Fréchet distance between two sets of feature vectors, as FID has it (Heusel et al. 2017, arXiv 1706.08500).

use crate::{Error, Result};

/// Mean and spread of a set of feature vectors, f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    rows: f64,
    /// [w]
    mean: Vec<f64>,
    /// Σ (x − mean)(x − mean)ᵀ, [w, w]
    scatter: Vec<f64>,
}

impl Moments {
    /// Of rows of `width` values, [n, width].
    pub fn of(rows: &[f32], width: usize) -> Result<Moments> {
        if width == 0 || !rows.len().is_multiple_of(width) {
            let got = format!("{} values", rows.len());
            return Err(Error::argument("moments", "rows", format!("rows of {width} values"), got));
        }
        let n = (rows.len() / width) as f64;
        let mut all = Moments { rows: n, mean: vec![0.0; width], scatter: vec![0.0; width * width] };
        for row in rows.chunks_exact(width) {
            row.iter().zip(&mut all.mean).for_each(|(&x, m)| *m += f64::from(x) / n);
        }
        for row in rows.chunks_exact(width) {
            let centred: Vec<f64> = row.iter().zip(&all.mean).map(|(&x, m)| f64::from(x) - m).collect();
            all.spread(&centred, 1.0);
        }
        Ok(all)
    }

    /// Those of several sets together (Chan, Golub and LeVeque 1979). They have one width; there is at least one.
    pub fn join<'a>(sets: impl IntoIterator<Item = &'a Moments>) -> Option<Moments> {
        sets.into_iter().fold(None, |all: Option<Moments>, set| {
            let Some(mut all) = all else { return Some(set.clone()) };
            let rows = all.rows + set.rows;
            if rows > 0.0 {
                let apart: Vec<f64> = set.mean.iter().zip(&all.mean).map(|(s, a)| s - a).collect();
                all.mean.iter_mut().zip(&apart).for_each(|(m, d)| *m += d * set.rows / rows);
                all.scatter.iter_mut().zip(&set.scatter).for_each(|(a, s)| *a += s);
                all.spread(&apart, all.rows * set.rows / rows);
                all.rows = rows;
            }
            Some(all)
        })
    }

    /// The normal distribution with their mean and sample covariance (n − 1). None for fewer than two rows, or where a
    /// value is not finite.
    pub fn normal(&self) -> Option<Normal> {
        let covariance = self.scatter.iter().map(|s| s / (self.rows - 1.0)).collect();
        (self.rows >= 2.0).then(|| Normal { mean: self.mean.clone(), covariance }).filter(Normal::is_finite)
    }

    /// Adds weight·x·xᵀ to the scatter.
    fn spread(&mut self, x: &[f64], weight: f64) {
        for (line, left) in self.scatter.chunks_exact_mut(x.len()).zip(x) {
            line.iter_mut().zip(x).for_each(|(s, right)| *s += weight * left * right);
        }
    }

    /// [`Normal::frechet`]; NaN where one of the two has no [`normal`](Moments::normal). The widths are equal.
    pub fn frechet(&self, other: &Moments) -> f64 {
        self.normal().zip(other.normal()).map_or(f64::NAN, |(a, b)| a.frechet(&b))
    }
}

/// A normal distribution of feature vectors, f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    /// [w]
    mean: Vec<f64>,
    /// [w, w]
    covariance: Vec<f64>,
}

impl Normal {
    /// Of a mean \[w\] and a covariance \[w, w\]: finite, symmetric.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Normal> {
        let (wanted, got) = (mean.len() * mean.len(), covariance.len());
        let normal = Normal { mean, covariance };
        if wanted == got && normal.is_finite() {
            return Ok(normal);
        }
        let wanted = format!("finite values, {wanted} of them");
        Err(Error::argument("normal", "covariance", wanted, format!("{got} values, finite or not")))
    }

    fn is_finite(&self) -> bool {
        self.mean.iter().chain(&self.covariance).all(|x| x.is_finite())
    }

    /// |μa − μb|² + tr(Σa + Σb − 2·(Σa^½·Σb·Σa^½)^½)
    ///
    /// The widths are equal.
    pub fn frechet(&self, other: &Normal) -> f64 {
        let width = self.mean.len();
        let means: f64 = self.mean.iter().zip(&other.mean).map(|(a, b)| (a - b).powi(2)).sum();
        let (values, vectors) = eigen(self.covariance.clone(), width);
        // Σa^½ = V·√Λ·Vᵀ. The products below are symmetric up to rounding.
        let scaled: Vec<f64> =
            (0..width * width).map(|i| vectors[i] * values[i % width].max(0.0).sqrt()).collect();
        let root = product(&scaled, &transposed(&vectors, width), width);
        let inner = product(&product(&root, &other.covariance, width), &root, width);
        let shared: f64 = eigen(inner, width).0.iter().map(|v| v.max(0.0).sqrt()).sum();
        let trace = |n: &Normal| n.covariance.iter().step_by(width + 1).sum::<f64>();
        (means + trace(self) + trace(other) - 2.0 * shared).max(0.0)
    }
}

/// [`Moments::frechet`] of two sets, each [n, width] with at least two rows.
pub fn frechet(a: &[f32], b: &[f32], width: usize) -> Result<f64> {
    for (arg, set) in [("a", a), ("b", b)] {
        if width == 0 || set.len() / width < 2 {
            let got = format!("{} values", set.len());
            return Err(Error::argument(
                "frechet",
                arg,
                format!("rows of {width} values, at least two"),
                got,
            ));
        }
    }
    Ok(Moments::of(a, width)?.frechet(&Moments::of(b, width)?))
}

fn transposed(m: &[f64], n: usize) -> Vec<f64> {
    (0..n * n).map(|i| m[i % n * n + i / n]).collect()
}

fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for (row, out) in a.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (&x, line) in row.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(line).for_each(|(o, y)| *o += x * y);
        }
    }
    out
}

/// Eigenvalues [n], and eigenvectors as the columns of [n, n], of a symmetric matrix: cyclic Jacobi (Golub and Van Loan,
/// *Matrix Computations*, 8.5). Each rotation makes one pair of elements zero; sweeps go on until all are.
fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 60;
    let mut vectors: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % n == i / n))).collect();
    let size = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..SWEEPS {
        let mut largest = 0.0f64;
        for p in 0..n {
            for q in p + 1..n {
                // Both halves, which rounding may have parted.
                let off = (a[p * n + q] + a[q * n + p]) / 2.0;
                largest = largest.max(off.abs());
                if off.abs() <= 1e-18 * size {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    for m in [&mut a, &mut vectors] {
                        let (x, y) = (m[k * n + p], m[k * n + q]);
                        (m[k * n + p], m[k * n + q]) = (c * x - s * y, s * x + c * y);
                    }
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
        if largest <= 1e-15 * size {
            break;
        }
    }
    (a.into_iter().step_by(n + 1).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_diagonalise() {
        let n = 9;
        let noise = crate::noise::normal(3, 0, n * n);
        let a: Vec<f64> = (0..n * n).map(|i| f64::from(noise[i] + noise[i % n * n + i / n])).collect();
        let (values, vectors) = eigen(a.clone(), n);
        let left = product(&a, &vectors, n);
        for i in 0..n * n {
            assert!((left[i] - vectors[i] * values[i % n]).abs() < 1e-12, "{i}");
        }
        let unit = product(&transposed(&vectors, n), &vectors, n);
        for (i, x) in unit.iter().enumerate() {
            assert!((x - f64::from(u8::from(i % n == i / n))).abs() < 1e-13);
        }
        assert_eq!(eigen(vec![0.0; 4], 2).0, [0.0, 0.0]);
    }
}
