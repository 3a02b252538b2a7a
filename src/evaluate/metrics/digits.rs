//! A small classifier of digits: a judge of clips that knows nothing of the model that drew them.
//!
//! ```text
//! frame [1, H, W] in [-1, 1]
//! conv 3×3, stride 2, pad 1, 1 → 16, ReLU;   conv 16 → 32, ReLU;   conv 32 → 64, ReLU
//! features = mean over places [64];   logits = linear(features) [10]
//! ```

use std::path::Path;

use super::Normal;
use crate::model::TensorFile;
use crate::video::Video;
use crate::{DType, Error, Result};

/// Channels before, between and after the three convolutions.
const CHANNELS: [usize; 4] = [1, 16, 32, 64];

/// The classifier's weights.
pub struct Digits {
    /// Of each convolution: [out, in, 3, 3] and [out].
    convolutions: Vec<(Vec<f32>, Vec<f32>)>,
    /// [classes, 64] and [classes].
    linear: (Vec<f32>, Vec<f32>),
    /// Side of the frames, and the features of real ones.
    real: Vec<(usize, Normal)>,
}

/// Sides of the frames that a file may describe.
const SIDES: [usize; 2] = [32, 64];

/// What the classifier makes of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// [F, 64]: what it sees in each frame, for [`frechet`](super::frechet()).
    pub features: Vec<f32>,
    /// [F, classes]
    pub logits: Vec<f32>,
    /// The class of the largest mean logit over frames. None where the clip is not finite.
    pub class: Option<usize>,
}

impl Digits {
    /// The number of [`Seen::features`] of a frame.
    pub const FEATURES: usize = CHANNELS[3];

    /// The classifier that comes with the crate: single digits of 20×20 on 32×32 (and 28×28 on 64×64), trained apart
    /// from the model on the same digits; on held-out ones it is right about 97 of 100 frames.
    pub fn shipped() -> Result<Digits> {
        let bytes: &'static [u8] = include_bytes!("../../../models/digits.safetensors");
        Digits::parse(&TensorFile::from_bytes("the shipped classifier", bytes)?)
    }

    /// Reads `conv1.weight` [16, 1, 3, 3], `conv1.bias` and so on to `conv3`, and `linear.weight` [classes, 64],
    /// `linear.bias`; F32 or F16. What is known of real clips, it may have: `real32_mean` \[64\], `real32_covariance`
    /// \[64, 64\], and `real64_…` for frames of 64×64.
    pub fn open(path: impl AsRef<Path>) -> Result<Digits> {
        Digits::parse(&TensorFile::open(path)?)
    }

    fn parse(file: &TensorFile) -> Result<Digits> {
        let shape = |name: &str| file.info(name).map(|info| &info.shape[..]);
        let tensor = |name: &str, wanted: &[usize]| match shape(name) {
            None => Err(file.error(format!("{name} is missing (wanted {wanted:?})"))),
            Some(got) if got != wanted => Err(file.error(format!("{name} is {got:?} (wanted {wanted:?})"))),
            Some(_) => {
                let mut values = vec![];
                file.append_f32(name, DType::F32, &mut values)?;
                Ok(values)
            }
        };
        let convolution = |i: usize| {
            let (from, to) = (CHANNELS[i], CHANNELS[i + 1]);
            let name = format!("conv{}", i + 1);
            Ok((
                tensor(&format!("{name}.weight"), &[to, from, 3, 3])?,
                tensor(&format!("{name}.bias"), &[to])?,
            ))
        };
        let convolutions = (0..3).map(convolution).collect::<Result<_>>()?;
        let classes = shape("linear.bias").map_or(10, |bias| bias.iter().product());
        let weight = tensor("linear.weight", &[classes, Digits::FEATURES])?;
        let linear = (weight, tensor("linear.bias", &[classes])?);
        let mut real = vec![];
        for side in SIDES.into_iter().filter(|side| file.info(&format!("real{side}_mean")).is_some()) {
            let part = |name: &str, shape: &[usize]| {
                let values = tensor(&format!("real{side}_{name}"), shape)?;
                Ok(values.into_iter().map(f64::from).collect())
            };
            let (one, two) = ([Digits::FEATURES], [Digits::FEATURES; 2]);
            real.push((side, Normal::new(part("mean", &one)?, part("covariance", &two)?)?));
        }
        Ok(Digits { convolutions, linear, real })
    }

    /// What it sees in the frames of real clips of a size, where that is known: of the shipped one, 2000 held-out clips
    /// of 32×32 and as many of 64×64.
    pub fn real(&self, [height, width]: [usize; 2]) -> Option<&Normal> {
        self.real.iter().find(|(side, _)| [height, width] == [*side; 2]).map(|(_, normal)| normal)
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.linear.1.len()
    }

    /// Looks at every frame of a grey clip.
    pub fn look(&self, clip: &Video) -> Result<Seen> {
        const OP: &str = "digits";
        clip.check(OP)?;
        if clip.channels != 1 {
            return Err(Error::argument(OP, "clip", "one channel", clip.channels));
        }
        let features: Vec<f32> = (0..clip.frames)
            .flat_map(|f| self.features(clip.plane(f, 0), [clip.height, clip.width]))
            .collect();
        let (weight, bias) = &self.linear;
        let dot = |row: &[f32], x: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
        let frame = |x: &[f32]| {
            let rows = weight.chunks_exact(Digits::FEATURES).zip(bias);
            rows.map(|(row, b)| dot(row, x) + b).collect::<Vec<_>>()
        };
        let logits: Vec<f32> = features.chunks_exact(Digits::FEATURES).flat_map(frame).collect();
        let total =
            |class: usize| logits.iter().skip(class).step_by(self.classes()).map(|&x| f64::from(x)).sum();
        let totals: Vec<f64> = (0..self.classes()).map(total).collect();
        let best = (0..totals.len()).max_by(|&a, &b| totals[a].total_cmp(&totals[b]));
        let class = best.filter(|_| totals.iter().all(|t| t.is_finite()));
        Ok(Seen { features, logits, class })
    }

    /// The features of one frame.
    fn features(&self, frame: &[f32], mut size: [usize; 2]) -> Vec<f32> {
        let mut x = frame.to_vec();
        for ((weight, bias), from) in self.convolutions.iter().zip(CHANNELS) {
            x = convolve(&x, from, size, weight, bias);
            size = size.map(|n| n.div_ceil(2));
        }
        let places = size[0] * size[1];
        x.chunks_exact(places).map(|plane| plane.iter().sum::<f32>() / places as f32).collect()
    }
}

/// ReLU of a convolution 3×3, stride 2, pad 1: [from, H, W] to [to, ⌈H/2⌉, ⌈W/2⌉].
fn convolve(x: &[f32], from: usize, [height, width]: [usize; 2], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (down, across) = (height.div_ceil(2), width.div_ceil(2));
    let mut out = Vec::with_capacity(bias.len() * down * across);
    for (kernel, &bias) in weight.chunks_exact(9 * from).zip(bias) {
        for row in 0..down {
            for column in 0..across {
                let mut sum = bias;
                for (plane, taps) in x.chunks_exact(height * width).zip(kernel.chunks_exact(9)) {
                    for (i, tap) in taps.iter().enumerate() {
                        // Of the padded frame: one less is the frame's own place.
                        let (y, x) = (2 * row + i / 3, 2 * column + i % 3);
                        if (1..=height).contains(&y) && (1..=width).contains(&x) {
                            sum += tap * plane[(y - 1) * width + x - 1];
                        }
                    }
                }
                // `max` would turn NaN into 0.
                out.push(if sum < 0.0 { 0.0 } else { sum });
            }
        }
    }
    out
}
