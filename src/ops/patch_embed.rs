//! `x = patches(z) · wᵀ + bias + pos`: a convolution whose kernel is its stride, then the positional table.

use bytemuck::{Pod, Zeroable};

use super::shared::{Rows, matmul, widen};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, Scratch, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`patch_embed`].
pub static PATCH_EMBED: Kernel = Kernel {
    name: "patch_embed",
    cpu: cpu_sources!(cpu, tile: [1, 64, 1024]),
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
    let (c, h, w, size) = (p.channels as usize, p.height as usize, p.width as usize, p.patch_size as usize);
    let (z, weights) = (args.read::<f32>(0), args.read::<T>(1));
    let (bias, pos) = (args.read::<f32>(2), args.read::<f32>(3));
    let (dim, across) = (p.dim as usize, w / size);
    let tokens = h / size * across;
    let (k, m, n) = (c * size * size, rows.len(), columns.len());

    let mut scratch = Scratch::take((m + n) * k + m * n);
    let (patches, rest) = scratch.floats().split_at_mut(m * k);
    let (wide, y) = rest.split_at_mut(n * k);
    widen(&weights[columns.start * k..columns.end * k], wide);
    for (row, patch) in rows.clone().zip(patches.chunks_exact_mut(k)) {
        let (image, token) = (row / tokens, row % tokens);
        let corner = token / across * size * w + token % across * size;
        for (i, line) in patch.chunks_exact_mut(size).enumerate() {
            let (channel, y) = (i / size, i % size);
            let at = (image * c + channel) * h * w + y * w + corner;
            line.copy_from_slice(&z[at..at + size]);
        }
    }
    let (x, stride) = (patches.as_ptr(), k);
    let (out, weights) = (y.as_mut_ptr(), wide.as_ptr());
    // SAFETY: m patches of k, n rows of weights of k, m rows of n.
    unsafe {
        matmul([m, n, k], Rows { at: x, stride }, Rows { at: weights, stride }, Rows { at: out, stride: n })
    };
    for (row, y) in rows.clone().zip(y.chunks_exact(n)) {
        let pos = &pos[row % tokens * dim..][columns.clone()];
        for copy in 0..p.copies as usize {
            let at = (copy * p.rows as usize + row) * dim;
            // SAFETY: blocks are disjoint tiles of each copy, and this is one row of this block's.
            let x = unsafe { args.write::<f32>(0, at + columns.start..at + columns.end) };
            for (((x, y), b), pos) in x.iter_mut().zip(y).zip(&bias[columns.clone()]).zip(pos) {
                *x = y + b + pos;
            }
        }
    }
}
