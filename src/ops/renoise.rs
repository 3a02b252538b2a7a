//! Fresh noise of the size that the model says: DDPM's step with a learned range of variances.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`renoise`].
pub static RENOISE: Kernel = Kernel {
    name: "renoise",
    cpu: cpu_sources!(cpu, tile: [1, 1, 16]),
    wgsl: &[Source::wgsl("naive", wgsl!("renoise"), [1, 1, 4]).with(&[("TILE", 4), ("WG", 256)])],
    cuda: &[Source::cuda("pixel", cu!("renoise"), 256, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    channels: u32,
    height: u32,
    width: u32,
    patch_size: u32,
    /// Logarithms of the least and the largest variance.
    low: f32,
    high: f32,
    /// Rows of patches, of all frames of all samples.
    bands: u32,
}

/// `z = z + exp((f·high + (1 − f)·low)/2)·noise`, f = (v + 1)/2, where v is what the model says of the variance of each
/// pixel, in the channels behind its prediction (improved DDPM, arXiv 2102.09672, equation 15).
///
/// - `z`: f32 [Z, F, C, H, W]
/// - `tokens`: f32 [B, F, N, p·p·2·C], B = Z or 2·Z, of which the first Z count; pixels of a patch row by row, channels
///   innermost, of which the last C are v
/// - `noise`: f32 [Z, F, C, H, W]
/// - `low`, `high`: logarithms of the variances that v = −1 and v = 1 stand for
pub fn renoise(
    gate: Gate<'_>,
    z: &mut Tensor,
    tokens: &Tensor,
    noise: &Tensor,
    patch: usize,
    [low, high]: [f32; 2],
) -> Result<()> {
    const OP: &str = "renoise";
    let [samples, frames, channels, height, width] = z.dims(OP, "z")?;
    z.expect(OP, "z", DType::F32, *z.shape())?;
    noise.expect(OP, "noise", DType::F32, *z.shape())?;
    if patch == 0 || height % patch != 0 || width % patch != 0 {
        let wanted = format!("a divisor of {height} and {width}");
        return Err(Error::argument(OP, "patch", wanted, patch));
    }
    let n = (height / patch) * (width / patch);
    let [batch, ..] = tokens.dims::<4>(OP, "tokens")?;
    let batch = if batch == 2 * samples { batch } else { samples };
    tokens.expect(OP, "tokens", DType::F32, [batch, frames, n, patch * patch * 2 * channels])?;
    let bands = samples * frames * (height / patch);
    let params = Params {
        channels: channels as u32,
        height: height as u32,
        width: width as u32,
        patch_size: patch as u32,
        low,
        high,
        bands: bands as u32,
    };
    Call::new(&RENOISE, gate, &mut [z], &[tokens, noise])
        .params(&params)
        .work([1, 1, bands])
        .row_lengths(&[width, patch * patch * 2 * channels])
        .constants(&[
            ("PATCH", params.patch_size),
            ("ACROSS", (width / patch) as u32),
            ("DOWN", (height / patch) as u32),
            ("CHANNELS", params.channels),
        ])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, bands]): &Tile) {
    let p: Params = args.params();
    let (c, h, w, size) = (p.channels as usize, p.height as usize, p.width as usize, p.patch_size as usize);
    let (down, across) = (h / size, w / size);
    let token = size * size * 2 * c;
    let (tokens, noise) = (args.read::<f32>(0), args.read::<f32>(1));
    for band in bands.clone() {
        let (image, top) = (band / down, band % down * size);
        for channel in 0..c {
            for y in 0..size {
                let at = ((image * c + channel) * h + top + y) * w;
                // SAFETY: a line of pixels belongs to one band, a band to one block.
                let line = unsafe { args.write::<f32>(0, at..at + w) };
                for (x, (z, noise)) in line.iter_mut().zip(&noise[at..at + w]).enumerate() {
                    let pixel = (y * size + x % size) * 2 * c + c + channel;
                    let f = mul_add::<I>(0.5, tokens[(band * across + x / size) * token + pixel], 0.5);
                    let log = mul_add::<I>(f, p.high - p.low, p.low);
                    *z = mul_add::<I>(libm::expf(0.5 * log), *noise, *z);
                }
            }
        }
    }
}
