//! `sea:δ`, SeaCache (arXiv 2602.18993, section 4; code in github.com/jiwoogit/SeaCache, and in diffusers'
//! `hooks/sea_cache.py`): TeaCache's rule without a polynomial, on filtered signals. This is the filter.
//!
//! A clip z = a·x + b·noise with a signal whose power falls as S(f) = 1/|f|^p is best undone, frequency by frequency,
//! by the Wiener filter
//!
//! ```text
//! G(f) = a·S / (a²·S + b²)
//! ```
//!
//! Early, only low frequencies are signal; late, nearly all are. The filter over the token grid is the product of one
//! such gain for each axis, divided by its mean, so that distances compare between steps.

use std::f64::consts::TAU;

use super::{Arguments, Entry};
use crate::cache::{IDENTITY, Limits, Measure, Span, TeaCache};

pub static SEA: Entry = Entry {
    name: "sea",
    arguments: ":THRESHOLD",
    skips_when: "the changes of what is signal in the input at the step's time add up to less than THRESHOLD",
    source: Some(("SeaCache", "https://arxiv.org/abs/2602.18993")),
    measure: Measure::FilteredSignal,
    span: Span::Blocks,
    limits: Limits::ALL,
    parse: |text| Arguments::threshold(text, |threshold, steps| TeaCache::new(threshold, IDENTITY, steps)),
};

/// p of a video's S(f) = 1/|f|^p, as the authors set it; 2 is for pictures.
pub const POWER: f64 = 3.0;

/// The filter along one axis of `n` places, at signal and noise scales a and b, as what it does to the places: circular
/// convolution with these numbers, `out[i] = Σ_j kernel[(i − j) mod n]·x[j]`.
///
/// The gain along an axis is real and even, so its inverse Fourier transform is a real, symmetric kernel; and the mean
/// of a product over a grid is the product of the means, so each axis is divided by its own: `kernel[0] = 1`.
pub fn wiener(n: usize, [a, b]: [f64; 2]) -> Vec<f64> {
    // As the authors have it: neither scale is ever 0, and neither is a frequency.
    const TINY: f64 = 1e-16;
    let [a, b] = [a, b].map(|scale| scale.clamp(1e-6, 1.0 - 1e-6));
    let gain = |k: usize| {
        let frequency = k.min(n - k) as f64 / n as f64;
        let power = 1.0 / (frequency.powf(POWER) + TINY);
        a * power / (a * a * power + b * b + TINY)
    };
    let gains: Vec<f64> = (0..n).map(gain).collect();
    let sum: f64 = gains.iter().sum();
    let wave = |k: usize, i: usize| (TAU * (k * i % n) as f64 / n as f64).cos();
    (0..n).map(|i| gains.iter().enumerate().map(|(k, gain)| gain * wave(k, i)).sum::<f64>() / sum).collect()
}
