//! `out = conv(x) + bias + add`, a convolution as a matrix product whose rows are windows of an image.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::shared::{Ends, LARGE, SMALL, matmul, tiles, widen};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`conv2d`].
pub static CONV2D: Kernel = Kernel {
    name: "conv2d",
    cpu: cpu_sources!(cpu, tile: [1, 256, 96], tiles: tiles, panels: Panels),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/conv2d"), [1, 64, 64])
            .with(&[("FEW_ROWS", 0)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("tile", wgsl!("conv2d"), [1, 64, 64]).multiple(4),
        Source::wgsl("naive", wgsl!("ladder/conv2d_naive"), [1, 64, 4]),
    ],
    cuda: &[
        LARGE.source("mma", cu!("conv2d"), 32),
        SMALL.source("mma_small", cu!("conv2d"), 32),
        Source::cuda("tile", cu!("ladder/conv2d_tile"), 256, [1, 64, 64]),
    ],
};

/// What a convolution does besides: by default nothing.
#[derive(Clone, Copy, Default)]
pub struct Conv2d<'a> {
    /// Whether it sees every pixel of `x` as a square of two by two: nearest-neighbour upsampling, of which no tensor is
    /// made.
    pub doubled: bool,
    /// Added to the result: T, the shape of `out`.
    pub add: Option<&'a Tensor>,
    /// Whether max(0, ·) comes last.
    pub relu: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    /// Pixels of all images of `out`.
    rows: u32,
    /// Channels of `out`.
    columns: u32,
    channels: u32,
    height: u32,
    width: u32,
    /// Rows and columns of a window.
    size: u32,
    /// 2 where `x` has half as many rows and columns as `out`, or 1.
    up: u32,
    add: u32,
    /// What a result is at least: 0 with ReLU.
    least: f32,
}

/// `out = conv(x, w) + bias + add`, windows of s×s pixels around each pixel, zeros outside of the image, stride 1.
///
/// - `out`: T [B, H, W, O]
/// - `x`: T [B, H, W, C]; [B, H/2, W/2, C] where it is [doubled](Conv2d::doubled)
/// - `w`: T [O, s, s, C], s odd; `torch.nn.Conv2d` has [O, C, s, s]
/// - `bias`: `f32 [O]`
pub fn conv2d(
    gate: Gate<'_>,
    out: &mut Tensor,
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    options: Conv2d<'_>,
) -> Result<()> {
    const OP: &str = "conv2d";
    let dtype = x.float(OP, "x")?;
    let [images, rows, columns, channels] = x.dims(OP, "x")?;
    let [outputs, size, across, _] = w.dims(OP, "w")?;
    if size != across || size.is_multiple_of(2) || x.elements() == 0 {
        return Err(Error::argument(OP, "w", format!("[O, s, s, {channels}], s odd"), format!("{w:?}")));
    }
    w.expect(OP, "w", dtype, [outputs, size, size, channels])?;
    bias.expect(OP, "bias", DType::F32, [outputs])?;
    let up = if options.doubled { 2 } else { 1 };
    let (height, width) = (up * rows, up * columns);
    out.expect(OP, "out", dtype, [images, height, width, outputs])?;
    if let Some(add) = options.add {
        add.expect(OP, "add", dtype, *out.shape())?;
    }
    let params = Params {
        rows: (images * height * width) as u32,
        columns: outputs as u32,
        channels: channels as u32,
        height: height as u32,
        width: width as u32,
        size: size as u32,
        up: up as u32,
        add: u32::from(options.add.is_some()),
        least: if options.relu { 0.0 } else { f32::MIN },
    };
    // Where there is nothing to add, the place in the list is x's.
    Call::new(&CONV2D, gate, &mut [out], &[x, w, bias, options.add.unwrap_or(x)])
        .params(&params)
        .work([1, images * height * width, outputs])
        .row_lengths(&[outputs, channels])
        .constants(&[
            ("SIZE", params.size),
            ("UP", params.up),
            ("HEIGHT", params.height),
            ("WIDTH", params.width),
            ("CHANNELS", params.channels),
            ("ADD", params.add),
        ])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.read_dtype(0), tile::<I>(args, part))
}

#[inline(always)]
fn tile<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, rows, columns]): &Tile) {
    let p: Params = args.params();
    let w = args.matrix(1, (p.size * p.size * p.channels) as usize);
    let windows = Windows { args, p, x: args.read::<T>(0) };
    matmul::<I, T, false>(&windows, w, rows.clone(), columns.clone());
}

/// Rows of the product are windows of x; what follows are bias, what is added, and ReLU.
struct Windows<'a, T> {
    args: &'a Arguments<'a>,
    p: Params,
    x: &'a [T],
}

impl<T: Element> Ends for Windows<'_, T> {
    #[inline(always)]
    fn load<I: Isa>(&self, row: usize, depth: Range<usize>, to: &mut [f32]) {
        let c = self.p.channels as usize;
        // Pixel by pixel of the window; the first and the last may be cut.
        let mut done = 0;
        while done < to.len() {
            let (tap, from) = ((depth.start + done) / c, (depth.start + done) % c);
            let some = (c - from).min(to.len() - done);
            let to = &mut to[done..done + some];
            match self.p.source(row, tap) {
                Some(pixel) => widen(&self.x[pixel * c + from..][..some], to),
                None => to.fill(0.0),
            }
            done += some;
        }
    }

    #[inline(always)]
    fn store<I: Isa>(&self, row: usize, columns: Range<usize>, y: &[f32]) {
        let (p, args, n) = (&self.p, self.args, self.p.columns as usize);
        let at = row * n + columns.start..row * n + columns.end;
        // SAFETY: tiles of the output are disjoint, and this is a row of this block's.
        let out = unsafe { args.write::<T>(0, at.clone()) };
        let sums = out.iter_mut().zip(y.iter().zip(&args.read::<f32>(2)[columns]));
        if p.add != 0 {
            for ((out, (y, b)), add) in sums.zip(&args.read::<T>(3)[at]) {
                *out = T::from_f32((y + b + add.to_f32()).max(p.least));
            }
        } else {
            for (out, (y, b)) in sums {
                *out = T::from_f32((y + b).max(p.least));
            }
        }
    }
}

impl Params {
    /// The pixel of x that pixel `row` of `out` sees at place `tap` of its window: None outside of the image.
    #[inline(always)]
    fn source(&self, row: usize, tap: usize) -> Option<usize> {
        let (height, width, size) = (self.height as usize, self.width as usize, self.size as usize);
        let (image, y, x) = (row / width / height, row / width % height, row % width);
        let y = (y + tap / size).checked_sub(size / 2).filter(|y| *y < height)?;
        let x = (x + tap % size).checked_sub(size / 2).filter(|x| *x < width)?;
        let up = self.up as usize;
        Some((image * (height / up) + y / up) * (width / up) + x / up)
    }
}
