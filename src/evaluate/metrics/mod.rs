//! What a cache costs: how far a video is from the uncached one, and how good it is by itself.
//!
//! - pixel by pixel against the uncached video: [`psnr`], [`ssim`], [`foreground_psnr`];
//! - as digits, with a small classifier: [`Digits`], and the [`frechet`] distance between two sets of frames;
//! - as motion: [`Motion`], [`velocity_error`];
//! - how sure a number is, given that it comes from a few seeds: [`jackknife`].
//!
//! PSNR and SSIM are computed as in the evaluation of TeaCache (<https://github.com/ali-vilab/TeaCache>,
//! `eval/`), on values mapped to [0, 1] by clamp((v + 1)/2, 0, 1), with one difference: that one
//! reads the videos back from lossy files of 8 bits, here they are compared as they were generated.
//! A NaN in either video makes the result NaN.

mod digits;
mod frechet;
mod interval;
mod motion;

pub use digits::{Digits, Seen};
pub use frechet::{Moments, Normal, frechet};
pub use interval::{Estimate, jackknife, speedup, student, unpaired_speedup, wilson};
pub use motion::{Motion, velocity_error};

use crate::video::Video;
use crate::{Error, Result};

/// The side of the SSIM window.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;
/// From this value on, of [0, 1], a pixel is lit. Backgrounds are 0 up to a generated clip's noise, strokes near 1.
const LIT: f64 = 0.1;

/// Peak signal-to-noise ratio in decibels, the mean over frames.
///
/// A frame has 20·log₁₀(1/√MSE), MSE over all its channels, and 100 where MSE < 1e-10.
pub fn psnr(a: &Video, b: &Video) -> Result<f64> {
    check("psnr", a, b)?;
    let size = a.channels * a.height * a.width;
    let frames = a.data.chunks_exact(size).zip(b.data.chunks_exact(size));
    Ok(mean(frames.map(|(a, b)| decibels(mean(a.iter().zip(b).map(|(&a, &b)| (unit(a) - unit(b)).powi(2)))))))
}

/// [`psnr`] over the pixels that are lit in either video: those of which some channel is at least 0.1 of [0, 1].
///
/// Of a clip that is mostly background, PSNR says mostly that the background is black. A frame without a lit pixel is
/// left out; where no frame has one there is nothing to tell apart, 100.
pub fn foreground_psnr(a: &Video, b: &Video) -> Result<f64> {
    check("foreground_psnr", a, b)?;
    let frame = |frame: usize| {
        let planes: Vec<_> = (0..a.channels).map(|c| (a.plane(frame, c), b.plane(frame, c))).collect();
        let value = |v: f32| unit(v) >= LIT || v.is_nan();
        let lit = |i: &usize| planes.iter().any(|(a, b)| value(a[*i]) || value(b[*i]));
        let lit: Vec<usize> = (0..a.height * a.width).filter(lit).collect();
        let square = |(a, b): &(&[f32], &[f32]), i: usize| (unit(a[i]) - unit(b[i])).powi(2);
        let squares = lit.iter().flat_map(|&i| planes.iter().map(move |pair| square(pair, i)));
        (!lit.is_empty()).then(|| decibels(mean(squares)))
    };
    let frames: Vec<f64> = (0..a.frames).filter_map(frame).collect();
    Ok(if frames.is_empty() { 100.0 } else { mean(frames.into_iter()) })
}

/// The PSNR of one frame.
fn decibels(mse: f64) -> f64 {
    if mse < 1e-10 { 100.0 } else { 20.0 * (1.0 / mse.sqrt()).log10() }
}

/// Structural similarity (Wang et al. 2004), the mean over places, channels and frames.
///
/// ```text
/// (2·μa·μb + C1)·(2·σab + C2) / ((μa² + μb² + C1)·(σa² + σb² + C2))
/// ```
///
/// with moments under a Gaussian window of 11 by 11, σ = 1.5, wherever it fits in the frame,
/// C1 = 0.01² and C2 = 0.03².
pub fn ssim(a: &Video, b: &Video) -> Result<f64> {
    check("ssim", a, b)?;
    if a.height < WINDOW || a.width < WINDOW {
        let wanted = format!("frames of at least {WINDOW} by {WINDOW}, the window");
        let got = format!("{} by {}", a.height, a.width);
        return Err(Error::argument("ssim", "a", wanted, got));
    }
    let size = a.height * a.width;
    let planes = a.data.chunks_exact(size).zip(b.data.chunks_exact(size));
    Ok(mean(planes.map(|(pa, pb)| {
        let blur = |f: fn(f64, f64) -> f64| {
            let values = pa.iter().zip(pb).map(|(&a, &b)| f(unit(a), unit(b)));
            blur(&values.collect::<Vec<_>>(), a.width)
        };
        let (ma, mb) = (blur(|a, _| a), blur(|_, b| b));
        let (aa, bb, ab) = (blur(|a, _| a * a), blur(|_, b| b * b), blur(|a, b| a * b));
        mean((0..ma.len()).map(|i| {
            let (ma, mb) = (ma[i], mb[i]);
            let (va, vb, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
            (2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
        }))
    })))
}

/// The window over one plane, where it fits: along rows, then along columns.
fn blur(plane: &[f64], width: usize) -> Vec<f64> {
    let taps = gaussian();
    let weigh = |v: [f64; WINDOW]| (0..WINDOW).map(|k| taps[k] * v[k]).sum::<f64>();
    let inner = width - WINDOW + 1;
    let rows: Vec<f64> = plane
        .chunks_exact(width)
        .flat_map(|row| (0..inner).map(move |x| weigh(std::array::from_fn(|k| row[x + k]))))
        .collect();
    (0..rows.len() - (WINDOW - 1) * inner)
        .map(|i| weigh(std::array::from_fn(|k| rows[i + k * inner])))
        .collect()
}

/// exp(−x²/2σ²) about the centre, of sum one.
fn gaussian() -> [f64; WINDOW] {
    let taps: [f64; WINDOW] = std::array::from_fn(|i| {
        let x = i as f64 - (WINDOW / 2) as f64;
        (-x * x / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|t| t / sum)
}

fn unit(v: f32) -> f64 {
    ((f64::from(v) + 1.0) / 2.0).clamp(0.0, 1.0)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    sum / n as f64
}

fn check(op: &'static str, a: &Video, b: &Video) -> Result<()> {
    a.check(op)?;
    b.check(op)?;
    if a.shape() != b.shape() {
        let wanted = format!("the shape of a, {:?}", a.shape());
        return Err(Error::argument(op, "b", wanted, format!("{:?}", b.shape())));
    }
    Ok(())
}
