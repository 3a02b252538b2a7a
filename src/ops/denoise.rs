//! Unpatchify, classifier-free guidance and the sampler's update, in one pass over the clip.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`denoise`].
pub static DENOISE: Kernel = Kernel {
    name: "denoise",
    cpu: cpu_sources!(cpu, tile: [1, 1, 16]),
    wgsl: &[Source::wgsl("naive", wgsl!("denoise"), [1, 1, 4]).with(&[("TILE", 4), ("WG", 256)])],
    cuda: &[Source::cuda("pixel", cu!("denoise"), 256, [1, 1, 1])],
};

/// One step of a sampler, as numbers: every deterministic one is linear in the clip and the prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// What the clip is multiplied by; at 0 the clip is not read.
    pub keep: f32,
    /// What the prediction is multiplied by.
    pub add: f32,
    /// g in `v = u + g·(c − u)`; used only where the tokens come in two halves.
    pub guidance: f32,
    /// How many of the clip's channels are guided, from the first on; the others take c. More than there are is all.
    pub channels: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    frames: u32,
    channels: u32,
    height: u32,
    width: u32,
    patch_size: u32,
    /// Channels of a token's pixel: more than the clip's where the model also predicts variances.
    predicted: u32,
    /// Channels that are guided; 0 where the tokens have no second half.
    guided: u32,
    keep: f32,
    add: f32,
    guidance: f32,
    /// Rows of patches, of all frames of all samples.
    bands: u32,
}

/// `z = keep·z + add·v`, where v is the model's prediction for each pixel: `v = c` of unguided tokens, and
/// `v = u + g·(c − u)` where the first half of the batch is conditional (c) and the second is not (u). Channels past the
/// guided ones are c.
///
/// - `z`: f32 [Z, F, C, H, W]
/// - `tokens`: f32 [B, F, N, p·p·P], B = Z or 2·Z; pixels of a patch row by row, P ≥ C channels innermost, of which the
///   first C are used
pub fn denoise(gate: Gate<'_>, z: &mut Tensor, tokens: &Tensor, patch: usize, update: Update) -> Result<()> {
    const OP: &str = "denoise";
    let [samples, frames, channels, height, width] = z.dims(OP, "z")?;
    z.expect(OP, "z", DType::F32, *z.shape())?;
    if patch == 0 || height % patch != 0 || width % patch != 0 {
        let wanted = format!("a divisor of {height} and {width}");
        return Err(Error::argument(OP, "patch", wanted, patch));
    }
    let n = (height / patch) * (width / patch);
    let [batch, _, _, pixels] = tokens.dims(OP, "tokens")?;
    let predicted = pixels / (patch * patch);
    tokens.expect(OP, "tokens", DType::F32, [batch, frames, n, patch * patch * predicted])?;
    if (batch != samples && batch != 2 * samples) || predicted < channels {
        let wanted = format!("{samples} or {} samples, {channels} channels", 2 * samples);
        return Err(Error::argument(OP, "tokens", wanted, format!("{tokens:?}")));
    }
    let bands = samples * frames * (height / patch);
    let params = Params {
        frames: frames as u32,
        channels: channels as u32,
        height: height as u32,
        width: width as u32,
        patch_size: patch as u32,
        predicted: predicted as u32,
        guided: if batch == samples { 0 } else { update.channels.min(channels) as u32 },
        keep: update.keep,
        add: update.add,
        guidance: update.guidance,
        bands: bands as u32,
    };
    Call::new(&DENOISE, gate, &mut [z], &[tokens])
        .params(&params)
        .work([1, 1, bands])
        .row_lengths(&[width, pixels])
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
    let (c, h, w) = (p.channels as usize, p.height as usize, p.width as usize);
    let (size, predicted) = (p.patch_size as usize, p.predicted as usize);
    let (down, across) = (h / size, w / size);
    let token = size * size * predicted;
    let tokens = args.read::<f32>(0);
    let half = tokens.len() / 2;
    for band in bands.clone() {
        let (image, top) = (band / down, band % down * size);
        let first = band * across * token;
        for channel in 0..c {
            let unconditional = if channel < p.guided as usize { half } else { 0 };
            for y in 0..size {
                let at = ((image * c + channel) * h + top + y) * w;
                // SAFETY: a line of pixels belongs to one band, a band to one block.
                let line = unsafe { args.write::<f32>(0, at..at + w) };
                let patches = line.chunks_exact_mut(size).enumerate();
                for (patch, line) in patches {
                    let at = first + patch * token + y * size * predicted + channel;
                    // Where there is but one channel, a line of a patch lies in one piece: whole vectors.
                    match predicted {
                        1 => {
                            let (whole, rest) = line.as_chunks_mut::<8>();
                            let done = 8 * whole.len();
                            for (line, i) in whole.iter_mut().zip((0..).step_by(8)) {
                                pixels::<I>(&p, line, at + i, tokens, unconditional, 1);
                            }
                            if !rest.is_empty() {
                                pixels::<I>(&p, rest, at + done, tokens, unconditional, 1);
                            }
                        }
                        _ => pixels::<I>(&p, line, at, tokens, unconditional, predicted),
                    }
                }
            }
        }
    }
}

/// Pixels of a line within a patch; the tokens' numbers for them begin at `at`, `apart` from one another.
#[inline(always)]
fn pixels<I: Isa>(
    p: &Params,
    line: &mut [f32],
    at: usize,
    tokens: &[f32],
    unconditional: usize,
    apart: usize,
) {
    let n = (line.len() - 1) * apart + 1;
    let (said, without) = (&tokens[at..at + n], &tokens[unconditional + at..unconditional + at + n]);
    for (x, z) in line.iter_mut().enumerate() {
        let (c, u) = (said[x * apart], without[x * apart]);
        let v = if unconditional > 0 { mul_add::<I>(p.guidance, c - u, u) } else { c };
        let kept = if p.keep == 0.0 { 0.0 } else { p.keep * *z };
        *z = mul_add::<I>(p.add, v, kept);
    }
}
