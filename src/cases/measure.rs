//! How near a result is to what it should be.

use std::sync::Arc;

use half::{bf16, f16};

use super::Values;
use crate::{DType, noise};

/// `n` normal numbers. They repeat after 2^20: nobody wants to wait for more.
pub fn normal_numbers(seed: u64, n: usize, mean: f32, std: f32) -> Vec<f32> {
    const PERIOD: usize = 1 << 20;
    let some: Vec<f32> = noise::normal(seed, 0, n.min(PERIOD)).into_iter().map(|x| mean + std * x).collect();
    if n <= PERIOD { some } else { some.iter().copied().cycle().take(n).collect() }
}

/// The values that a tensor of `dtype` holds after `x` was written to it.
pub fn round(dtype: DType, x: &[f32]) -> Vec<f32> {
    let round = |x: &f32| match dtype {
        DType::F32 | DType::U32 => *x,
        DType::F16 => f16::from_f32(*x).to_f32(),
        DType::BF16 => bf16::from_f32(*x).to_f32(),
    };
    x.iter().map(round).collect()
}

/// The same values as f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Σ(ours − theirs)² / Σ theirs²: 0 where they agree, infinite where anything is NaN.
pub fn nmse(ours: &[f64], theirs: &[f64]) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (&a, &b) in ours.iter().zip(theirs) {
        error += (a - b) * (a - b);
        size += b * b;
    }
    match error / size {
        _ if ours.len() != theirs.len() => f64::INFINITY,
        _ if error == 0.0 && size.is_finite() => 0.0,
        ratio if ratio.is_nan() => f64::INFINITY,
        ratio => ratio,
    }
}

/// The sum of each column of a matrix.
pub fn totals(x: &[f32], columns: usize) -> Vec<f64> {
    (0..columns).map(|c| x.iter().skip(c).step_by(columns).map(|&x| f64::from(x)).sum()).collect()
}

/// What is compared, with what, and how near it must be.
pub struct Check {
    /// For people: an output, or what is made of one.
    pub what: &'static str,
    /// What is compared.
    pub of: Of,
    /// What it should be.
    pub want: Vec<f64>,
    /// The largest error that passes.
    pub bound: Bound,
    /// Where the bound comes from.
    pub why: &'static str,
}

/// Something made of what a call has written.
pub type Derived = Arc<dyn Fn(&Values, &[Vec<f32>]) -> Vec<f64> + Send + Sync>;

/// What of a call's results is compared.
pub enum Of {
    /// A written tensor, whole.
    Output(usize),
    /// Some elements of a written tensor, by index.
    Elements(usize, Vec<usize>),
    /// The sum of each column of a written tensor: how partial sums are divided is the kernel's affair.
    Totals {
        /// Which written tensor.
        output: usize,
        /// How many columns it has.
        columns: usize,
    },
    /// Something made of the operands before the call and the written tensors after it.
    Derived(Derived),
}

/// The largest error that passes.
#[derive(Debug, Clone)]
pub enum Bound {
    /// Each element is the f32 that is nearest to the expected value, NaN for NaN.
    Exact,
    /// The [`nmse`] of an output that is stored as the type, where the number bounds that of the f32 arithmetic before.
    Stored(DType, f64),
    /// |got − want| ≤ bound·|want| for each element, or ≤ bound where want is 0.
    Relative(f64),
    /// |got − want| ≤ bound for each element, with bounds of their own. NaN passes for NaN, infinity for itself.
    Each(Vec<f64>),
}

impl Check {
    /// Of a whole output.
    pub fn output(
        what: &'static str,
        output: usize,
        want: Vec<f64>,
        bound: Bound,
        why: &'static str,
    ) -> Check {
        Check { what, of: Of::Output(output), want, bound, why }
    }

    /// Of the totals of partial sums, one for each column.
    pub fn totals(what: &'static str, output: usize, want: &[f64], bound: Bound, why: &'static str) -> Check {
        Check { what, of: Of::Totals { output, columns: want.len() }, want: want.into(), bound, why }
    }

    /// What is compared, of these results.
    pub fn got(&self, values: &Values, after: &[Vec<f32>]) -> Vec<f64> {
        match &self.of {
            Of::Output(i) => wide(&after[*i]),
            Of::Elements(i, at) => at.iter().map(|&at| f64::from(after[*i][at])).collect(),
            Of::Totals { output, columns } => totals(&after[*output], *columns),
            Of::Derived(make) => make(values, after),
        }
    }

    /// Compares.
    pub fn judge(&self, values: &Values, after: &[Vec<f32>]) -> Finding {
        let got = self.got(values, after);
        let (error, most, fault) = match got.len() == self.want.len() {
            true => self.bound.judge(&got, &self.want),
            false => (f64::INFINITY, 0.0, Some(format!("{} numbers, wanted {}", got.len(), self.want.len()))),
        };
        let fault = fault.map(|fault| format!("{}: {fault} ({})", self.what, self.why));
        Finding { what: self.what, error, most, share: share(&got, &self.want), fault }
    }
}

/// What came out of a comparison.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was compared.
    pub what: &'static str,
    /// The error, in the terms of its bound.
    pub error: f64,
    /// The largest error that passes; where elements have bounds of their own, 1, and the error is a share of it.
    pub most: f64,
    /// The largest error of an element, as a share of the largest number there should be.
    pub share: f64,
    /// What is wrong, if anything.
    pub fault: Option<String>,
}

impl Finding {
    /// Of something that is right or wrong and nothing in between.
    pub fn plain(what: &'static str, fault: Option<String>) -> Finding {
        let error = f64::from(u8::from(fault.is_some()));
        Finding { what, error, most: 0.0, share: 0.0, fault: fault.map(|fault| format!("{what}: {fault}")) }
    }
}

/// The largest error, as a share of the largest number there should be.
fn share(got: &[f64], want: &[f64]) -> f64 {
    let most = |x: &mut dyn Iterator<Item = f64>| x.filter(|x| x.is_finite()).fold(0.0, f64::max);
    let largest = most(&mut want.iter().map(|x| x.abs()));
    let error = most(&mut got.iter().zip(want).map(|(a, b)| (a - b).abs()));
    if largest > 0.0 { error / largest } else { error }
}

/// Rounding to f16 moves a number by at most 2^-11 of it, to bf16 by 2^-8.
pub(super) fn unit(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1.0 / 2048.0,
        DType::BF16 => 1.0 / 256.0,
        DType::F32 | DType::U32 => 0.0,
    }
}

impl Bound {
    /// The error, the largest that passes, and what is wrong if it does not.
    fn judge(&self, got: &[f64], want: &[f64]) -> (f64, f64, Option<String>) {
        let pairs = || got.iter().copied().zip(want.iter().copied());
        // The worst element, by its error as a share of what passes.
        let worst = |share: &dyn Fn(usize, f64, f64) -> f64| {
            let mut worst = (0, 0.0);
            for (i, (got, want)) in pairs().enumerate() {
                let same = got == want || (got.is_nan() && want.is_nan());
                let share = if same { 0.0 } else { share(i, got, want) };
                // NaN is as wrong as can be.
                let share = if share.is_nan() { f64::INFINITY } else { share };
                if share > worst.1 {
                    worst = (i, share);
                }
            }
            worst
        };
        let element = |i: usize| format!("element {i} is {}, wanted {}", got[i], want[i]);
        match self {
            Bound::Exact => {
                let wrong = pairs().position(|(got, want)| {
                    let want = f64::from(want as f32);
                    got != want && !(got.is_nan() && want.is_nan())
                });
                (f64::from(u8::from(wrong.is_some())), 0.0, wrong.map(element))
            }
            Bound::Stored(dtype, f32) => {
                // Errors where the type's normal numbers end do not count.
                let floor = if *dtype == DType::F16 { 0.5f64.powi(25) } else { 1e-35 };
                if let Some(i) = pairs().position(|(got, want)| got.is_nan() && !want.is_nan()) {
                    return (f64::INFINITY, 0.0, Some(element(i)));
                }
                let near = |(got, want): (f64, f64)| if (got - want).abs() <= floor { got } else { want };
                let (error, most) =
                    (nmse(got, &pairs().map(near).collect::<Vec<_>>()), (unit(*dtype) + f32.sqrt()).powi(2));
                let fault = || {
                    let (i, _) = worst(&|_, got, want| (got - want).abs());
                    format!("NMSE {error:.2e}, at most {most:.2e}; {}", element(i))
                };
                (error, most, (error > most).then(fault))
            }
            Bound::Relative(bound) => {
                let relative =
                    |_, got: f64, want: f64| (got - want).abs() / if want == 0.0 { 1.0 } else { want.abs() };
                let (i, error) = worst(&relative);
                let fault = || format!("{}, relative error {error:.2e}, at most {bound:.2e}", element(i));
                (error, *bound, (error > *bound).then(fault))
            }
            Bound::Each(bounds) => {
                let (i, error) = worst(&|i, got, want| (got - want).abs() / bounds[i]);
                let fault = || format!("{}, may be {:.2e} away", element(i), bounds[i]);
                (error, 1.0, (error > 1.0).then(fault))
            }
        }
    }
}
