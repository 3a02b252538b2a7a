//! `x = patches(z) · wᵀ + bias + pos`: a convolution whose kernel is its stride, then the positional table.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::shared::{Ends, matmul, tiles};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`patch_embed`].
pub static PATCH_EMBED: Kernel = Kernel {
    name: "patch_embed",
    cpu: cpu_sources!(cpu, tile: [1, 64, 2048], tiles: tiles, panels: Panels),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/patch_embed"), [1, 64, 64])
            .with(&[("FEW_ROWS", 0)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("tile", wgsl!("patch_embed"), [1, 64, 64]).multiple(4),
        Source::wgsl("naive", wgsl!("ladder/patch_embed_naive"), [1, 64, 4]),
    ],
    cuda: &[Source::cuda("tile", cu!("patch_embed"), 256, [1, 32, 64])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    samples: u32,
    frames: u32,
    channels: u32,
    height: u32,
    width: u32,
    patch_size: u32,
    dim: u32,
    /// Tokens of all Z samples, and how many times they go into x: once, or once for each half of a guided batch.
    rows: u32,
    copies: u32,
}

/// `x[b, f, n] = w · patch n of z[b mod Z, f] + bias + pos[n]`, patches in row-major order.
///
/// - `x`: f32 [B, F, N, d]; B a multiple of Z, so that both halves of a guided batch read one clip
/// - `z`: f32 [Z, F, C, H, W]
/// - `w`: T [d, C, p, p]
/// - `bias`: `f32 [d]`
/// - `pos`: f32 [N, d]
pub fn patch_embed(
    gate: Gate<'_>,
    x: &mut Tensor,
    z: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    pos: &Tensor,
) -> Result<()> {
    const OP: &str = "patch_embed";
    let [samples, frames, channels, height, width] = z.dims(OP, "z")?;
    z.expect(OP, "z", DType::F32, *z.shape())?;
    let [dim, w_channels, patch, patch_w] = w.dims(OP, "w")?;
    let square = w_channels == channels && patch == patch_w && patch > 0;
    if !square || height % patch != 0 || width % patch != 0 {
        let wanted = format!("[d, {channels}, p, p] with p dividing {height} and {width}");
        return Err(Error::argument(OP, "w", wanted, format!("{w:?}")));
    }
    w.float(OP, "w")?;
    let tokens = (height / patch) * (width / patch);
    let [batch, ..] = x.dims::<4>(OP, "x")?;
    if samples == 0 || batch % samples != 0 {
        return Err(Error::argument(OP, "x", format!("a multiple of {samples} samples"), batch));
    }
    x.expect(OP, "x", DType::F32, [batch, frames, tokens, dim])?;
    bias.expect(OP, "bias", DType::F32, [dim])?;
    pos.expect(OP, "pos", DType::F32, [tokens, dim])?;
    let params = Params {
        samples: samples as u32,
        frames: frames as u32,
        channels: channels as u32,
        height: height as u32,
        width: width as u32,
        patch_size: patch as u32,
        dim: dim as u32,
        rows: (samples * frames * tokens) as u32,
        copies: (batch / samples) as u32,
    };
    Call::new(&PATCH_EMBED, gate, &mut [x], &[z, w, bias, pos])
        .params(&params)
        .work([1, samples * frames * tokens, dim])
        .row_lengths(&[dim, channels * patch * patch])
        .constants(&[
            ("PATCH", params.patch_size),
            ("ACROSS", (width / patch) as u32),
            ("TOKENS", tokens as u32),
        ])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.read_dtype(1), tile::<I>(args, part))
}

#[inline(always)]
fn tile<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, rows, columns]): &Tile) {
    let p: Params = args.params();
    let k = (p.channels * p.patch_size * p.patch_size) as usize;
    matmul::<I, T, false>(&Patches { args, p }, args.matrix(1, k), rows.clone(), columns.clone());
}

/// Rows of x are patches; what follows are bias, position and copies.
struct Patches<'a> {
    args: &'a Arguments<'a>,
    p: Params,
}

impl Patches<'_> {
    /// Tokens across a frame, and in all of it.
    #[inline(always)]
    fn tokens(&self) -> (usize, usize) {
        let across = self.p.width / self.p.patch_size;
        (across as usize, (self.p.height / self.p.patch_size * across) as usize)
    }
}

/// Few numbers: for the lengths that models have, no call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    match from.len() {
        8 => to[..8].copy_from_slice(&from[..8]),
        4 => to[..4].copy_from_slice(&from[..4]),
        2 => to[..2].copy_from_slice(&from[..2]),
        _ => to.copy_from_slice(from),
    }
}

impl Ends for Patches<'_> {
    #[inline(always)]
    fn load<I: Isa>(&self, row: usize, depth: Range<usize>, to: &mut [f32]) {
        let p = &self.p;
        let (c, h, w, size) =
            (p.channels as usize, p.height as usize, p.width as usize, p.patch_size as usize);
        let z = self.args.read::<f32>(0);
        let (across, tokens) = self.tokens();
        let (image, token) = (row / tokens, row % tokens);
        let corner = image * c * h * w + token / across * size * w + token % across * size;
        // Line by line; the first and the last may be cut. No division for each of them: it would take longer than a line.
        let (line, mut from) = (depth.start / size, depth.start % size);
        let (mut channel, mut y) = (line / size, line % size);
        let mut to = to;
        while !to.is_empty() {
            let at = corner + channel * h * w + y * w + from;
            let (some, rest) = to.split_at_mut(to.len().min(size - from));
            to = rest;
            copy(&z[at..at + some.len()], some);
            from = 0;
            y += 1;
            if y == size {
                (channel, y) = (channel + 1, 0);
            }
        }
    }

    #[inline(always)]
    fn store<I: Isa>(&self, row: usize, columns: Range<usize>, y: &[f32]) {
        let (p, args) = (&self.p, self.args);
        let dim = p.dim as usize;
        let bias = &args.read::<f32>(2)[columns.clone()];
        let pos = &args.read::<f32>(3)[row % self.tokens().1 * dim..][columns.clone()];
        for copy in 0..p.copies as usize {
            let at = (copy * p.rows as usize + row) * dim;
            // SAFETY: tiles of each copy are disjoint, and this is a row of this block's.
            let x = unsafe { args.write::<f32>(0, at + columns.start..at + columns.end) };
            for (((x, y), b), pos) in x.iter_mut().zip(y).zip(bias).zip(pos) {
                *x = y + b + pos;
            }
        }
    }
}
