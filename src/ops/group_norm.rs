//! `out = (x − mean) / √(variance + ε) · weight + bias` over groups of channels, then SiLU where that follows.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, LANES, V, by_dtype, silu};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`group_norm`].
pub static GROUP_NORM: Kernel = Kernel {
    name: "group_norm",
    cpu: cpu_sources!(cpu, tile: [1, 1, 8]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/group_norm"), [1, 1, 1])
            .needs(Need::CpuAdapter)
            .turning(|[pixels, quads]| turns(pixels * quads, 4)),
        Source::wgsl("tile", wgsl!("group_norm"), [1, 1, 1])
            .turning(|[pixels, quads]| turns(pixels * quads, 256)),
        // After `tile` until a GPU says otherwise.
        Source::wgsl("subgroup", wgsl!("subgroup/group_norm"), [1, 1, 1])
            .needs(Need::FixedSubgroups)
            .turning(|[pixels, quads]| turns(pixels * quads, 4 * 8)),
        Source::wgsl("naive", wgsl!("ladder/group_norm_naive"), [1, 1, 64])
            .turning(|[pixels, quads]| 3 * pixels * (quads + 1)),
    ],
    cuda: &[Source::cuda("block", cu!("group_norm"), 512, [1, 1, 1])],
};

/// Turns of the loops over a group of so many vectors of four channels, on so many invocations or more.
const fn turns(vectors: usize, invocations: usize) -> usize {
    3 * vectors.div_ceil(4 * invocations)
}

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
        .loops([height * width, channels / groups / QUAD])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.read_dtype(0), groups::<I>(args, part))
}

/// Some neighbouring groups of an image: of each pixel a run of channels, a vector of them at a time.
#[inline(always)]
fn groups<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, images, groups]): &Tile) {
    let p: Params = args.params();
    let (pixels, channels) = (p.pixels as usize, p.channels as usize);
    let (weight, bias) = (args.read::<f32>(1), args.read::<f32>(2));
    let size = channels / p.groups as usize;
    let (first, run) = (groups.start * size, groups.len() * size);
    for image in images.clone() {
        let run = Run { x: &args.read::<T>(0)[image * pixels * channels..], channels, pixels, first, run };
        // Of groups, then of their channels.
        let of_channels = |sums: &[f64], f: &dyn Fn(f64) -> f64| -> Vec<f32> {
            let groups = sums.chunks_exact(size).map(|sums| sums.iter().sum::<f64>());
            let all = groups.map(|sum| f(sum / (pixels * size) as f64) as f32);
            all.flat_map(|x| std::iter::repeat_n(x, size)).collect()
        };
        let mean = of_channels(&run.sums::<I, false>(None), &|mean| mean);
        let scale = of_channels(&run.sums::<I, true>(Some(&mean)), &|variance| {
            f64::from(1.0 / (variance as f32 + p.epsilon).sqrt())
        });
        let affine = |of: &'_ [f32], at: usize| run.vector(&of[first..], at);
        for at in (0..run.run).step_by(LANES) {
            let (mean, scale) = (run.vector(&mean, at), run.vector(&scale, at));
            let (weight, bias) = (affine(weight, at), affine(bias, at));
            for pixel in 0..pixels {
                let x = run.pixel(pixel);
                let mut y = ((run.vector(x, at) - mean) * scale).mul_add::<I>(weight, bias);
                if p.silu != 0 {
                    for y in &mut y.0 {
                        *y = silu::<I>(*y);
                    }
                }
                let width = LANES.min(run.run - at);
                let start = (image * pixels + pixel) * channels + first + at;
                // SAFETY: a run of a pixel's channels belongs to one block.
                let out = unsafe { args.write::<T>(0, start..start + width) };
                match width {
                    LANES => T::store(y, out),
                    _ => T::store_tail(y, out),
                }
            }
        }
    }
}

/// Neighbouring channels of all pixels of an image.
struct Run<'a, T> {
    x: &'a [T],
    channels: usize,
    pixels: usize,
    first: usize,
    run: usize,
}

impl<T: Element> Run<'_, T> {
    /// The run's channels of a pixel.
    #[inline(always)]
    fn pixel(&self, pixel: usize) -> &[T] {
        &self.x[pixel * self.channels + self.first..][..self.run]
    }

    /// A vector of channels, the last of which may lie behind the run.
    #[inline(always)]
    fn vector<E: Element>(&self, of: &[E], at: usize) -> V {
        match self.run - at {
            left if left < LANES => E::load_tail(&of[at..at + left], 0.0),
            _ => E::load(&of[at..]),
        }
    }

    /// Of each channel Σ x, or Σ (x − mean)²: in f32 for a stretch of pixels, in f64 across.
    #[inline(always)]
    fn sums<I: Isa, const SQUARES: bool>(&self, mean: Option<&[f32]>) -> Vec<f64> {
        const STRETCH: usize = 64;
        let mut totals = vec![0.0; self.run.next_multiple_of(LANES)];
        for start in (0..self.pixels).step_by(STRETCH) {
            for at in (0..self.run).step_by(LANES) {
                let centre = mean.map_or(V::ZERO, |mean| self.vector(mean, at));
                let (one, mut sums) = (V::splat(1.0), V::ZERO);
                for pixel in start..(start + STRETCH).min(self.pixels) {
                    let deviation = self.vector(self.pixel(pixel), at) - centre;
                    sums = deviation.mul_add::<I>(if SQUARES { deviation } else { one }, sums);
                }
                for (total, sum) in totals[at..].iter_mut().zip(sums.0) {
                    *total += f64::from(sum);
                }
            }
        }
        totals.truncate(self.run);
        totals
    }
}
