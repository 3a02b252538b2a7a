//! `out = (x − mean) / √(variance + ε) · weight + bias` over groups of channels, then SiLU where that follows.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, by_dtype, mul_add, silu};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`group_norm`].
pub static GROUP_NORM: Kernel = Kernel {
    name: "group_norm",
    cpu: cpu_sources!(cpu, tile: [1, 1, 4]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/group_norm"), [1, 1, 1]).needs(Need::CpuAdapter),
        Source::wgsl("tile", wgsl!("group_norm"), [1, 1, 1]),
    ],
    cuda: &[Source::cuda("block", cu!("group_norm"), 512, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    /// Pixels of an image.
    pixels: u32,
    channels: u32,
    groups: u32,
    silu: u32,
    epsilon: f32,
}

/// Channels of a group come in fours.
const QUAD: usize = 4;

/// `out = (x − mean) / √(variance + ε) · weight + bias`, mean and variance of each image's each group of neighbouring
/// channels, over all of its pixels (Wu and He, arXiv 1803.08494, equation 1); then, with `silu`, y·σ(y).
///
/// - `out`: T [B, H, W, C]
/// - `x`: T [B, H, W, C]
/// - `weight`, `bias`: `f32 [C]`
/// - `groups`: G, such that C is a multiple of 4·G
pub fn group_norm(
    gate: Gate<'_>,
    out: &mut Tensor,
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    groups: usize,
    epsilon: f32,
    silu: bool,
) -> Result<()> {
    const OP: &str = "group_norm";
    let dtype = x.float(OP, "x")?;
    let [images, height, width, channels] = x.dims(OP, "x")?;
    out.expect(OP, "out", dtype, *x.shape())?;
    weight.expect(OP, "weight", DType::F32, [channels])?;
    bias.expect(OP, "bias", DType::F32, [channels])?;
    if groups == 0 || x.elements() == 0 || !channels.is_multiple_of(QUAD * groups) {
        let wanted = format!("groups of a multiple of {QUAD} of {channels} channels");
        return Err(Error::argument(OP, "groups", wanted, groups));
    }
    let params = Params {
        pixels: (height * width) as u32,
        channels: channels as u32,
        groups: groups as u32,
        silu: u32::from(silu),
        epsilon,
    };
    Call::new(&GROUP_NORM, gate, &mut [out], &[x, weight, bias])
        .params(&params)
        .work([1, images, groups])
        .row_lengths(&[channels])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.read_dtype(0), groups::<I>(args, part))
}

/// Some neighbouring groups of an image: of each pixel a run of channels.
#[inline(always)]
fn groups<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, images, groups]): &Tile) {
    let p: Params = args.params();
    let (pixels, channels) = (p.pixels as usize, p.channels as usize);
    let (x, weight, bias) = (args.read::<T>(0), args.read::<f32>(1), args.read::<f32>(2));
    let size = channels / p.groups as usize;
    for image in images.clone() {
        let (first, run) = (groups.start * size, groups.len() * size);
        let at = |pixel: usize| (image * pixels + pixel) * channels + first;
        // Of each group, Σ of `term` of an element and its group's centre: pixels in turn, in f32 for a stretch of them, and in
        // f64 across.
        let sums = |centres: &[f32], squares: bool| {
            const STRETCH: usize = 64;
            let mut totals = vec![0.0f64; groups.len()];
            let mut sums = vec![0.0f32; run];
            for start in (0..pixels).step_by(STRETCH) {
                sums.fill(0.0);
                for pixel in start..(start + STRETCH).min(pixels) {
                    let x = &x[at(pixel)..at(pixel) + run];
                    for ((sum, x), centre) in sums.iter_mut().zip(x).zip(centres) {
                        let deviation = x.to_f32() - centre;
                        *sum = mul_add::<I>(deviation, if squares { deviation } else { 1.0 }, *sum);
                    }
                }
                for (total, sums) in totals.iter_mut().zip(sums.chunks_exact(size)) {
                    *total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
                }
            }
            totals.into_iter().map(|total| total / (pixels * size) as f64).collect::<Vec<f64>>()
        };
        let spread = |of_groups: &mut dyn Iterator<Item = f32>| -> Vec<f32> {
            of_groups.flat_map(|x| std::iter::repeat_n(x, size)).collect()
        };
        let mean = spread(&mut sums(&vec![0.0; run], false).into_iter().map(|mean| mean as f32));
        let scale = spread(
            &mut sums(&mean, true).into_iter().map(|variance| 1.0 / (variance as f32 + p.epsilon).sqrt()),
        );
        let (weight, bias) = (&weight[first..first + run], &bias[first..first + run]);
        for pixel in 0..pixels {
            let x = &x[at(pixel)..at(pixel) + run];
            // SAFETY: a run of a pixel's channels belongs to one block.
            let out = unsafe { args.write::<T>(0, at(pixel)..at(pixel) + run) };
            let numbers = mean.iter().zip(&scale).zip(weight.iter().zip(bias));
            for ((out, x), ((mean, scale), (weight, bias))) in out.iter_mut().zip(x).zip(numbers) {
                let y = mul_add::<I>((x.to_f32() - mean) * scale, *weight, *bias);
                *out = T::from_f32(if p.silu != 0 { silu::<I>(y) } else { y });
            }
        }
    }
}
