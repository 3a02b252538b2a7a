//! `out = epilogue(x · wᵀ + bias)`, the matrix product with what follows it in the same pass.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::shared::{Ends, HALF, LARGE, SMALL, TINY, dot, matmul, tiles, widen};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, Scratch, bf16, by_dtype, gelu, mul_add, silu};
use crate::device::{Call, Gate, Kernel, Layout, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`linear`].
pub static LINEAR: Kernel = Kernel {
    name: "linear",
    cpu: cpu_sources!(cpu, tile: [1, 256, 96], tiles: tiles, panels: Panels, pairs: pairs),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/linear"), [1, 64, 64]).needs(Need::CpuAdapter).multiple(4),
        Source::wgsl("tile", wgsl!("linear"), [1, 64, 64]).multiple(4),
        // After `tile` until a GPU says otherwise.
        Source::wgsl("subgroup", wgsl!("subgroup/linear"), [1, 64, 64])
            .needs(Need::FixedSubgroups)
            .multiple(4),
        Source::wgsl("naive", wgsl!("ladder/linear_naive"), [1, 64, 4]),
    ],
    cuda: &[
        LARGE.source("mma", cu!("linear"), 8),
        HALF.source("mma_half", cu!("linear"), 8),
        SMALL.source("mma_small", cu!("linear"), 8),
        TINY.source("mma_tiny", cu!("linear"), 8),
        Source::cuda("tile", cu!("ladder/linear_tile"), 256, [1, 64, 128]),
        Source::cuda("naive", cu!("ladder/linear_naive"), 256, [1, 1, 256]),
    ],
};

/// Calls of so few rows get shaders of their own.
const FEW_ROWS: usize = 8;

/// What happens to `y = x·wᵀ + bias` before it is stored.
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// out = y
    Bias,
    /// out = y·σ(y)
    Silu,
    /// out = GELU(y), tanh approximation
    Gelu,
    /// out = onto + α·y: a transformer block's way back into the residual stream, with adaLN-Zero's α (DiT, arXiv
    /// 2212.09748, section 3.2).
    Residual {
        /// Modulation, f32 [B, c·n]; row b belongs to the b-th of B equal runs of rows of `x`.
        mods: &'a Tensor,
        /// Which of the c chunks of n is α.
        chunk: usize,
        /// f32, the shape of `out`; `None` adds onto `out` itself.
        onto: Option<&'a Tensor>,
    },
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    columns: u32,
    depth: u32,
    epilogue: u32,
    /// Rows that share a row of modulation, its length, and where α starts in it.
    rows_per_sample: u32,
    mods_columns: u32,
    alpha_at: u32,
}

const BIAS: u32 = 0;
const SILU: u32 = 1;
const GELU: u32 = 2;
const RESIDUAL: u32 = 3;
const RESIDUAL_ONTO: u32 = 4;

/// `out = epilogue(x · wᵀ + bias)` with f32 accumulation.
///
/// - `out`: T or f32, [.., n]; f32 with [`Epilogue::Residual`]
/// - `x`: T [.., k]
/// - `w`: T [n, k], rows are outputs as in `torch.nn.Linear`
/// - `bias`: `f32 [n]`
pub fn linear(
    gate: Gate<'_>,
    out: &mut Tensor,
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    epilogue: Epilogue<'_>,
) -> Result<()> {
    const OP: &str = "linear";
    let [n, k] = w.dims(OP, "w")?;
    let dtype = x.float(OP, "x")?;
    w.expect(OP, "w", dtype, [n, k])?;
    bias.expect(OP, "bias", DType::F32, [n])?;
    if k == 0 || x.shape().dims().last() != Some(&k) {
        return Err(Error::argument(OP, "x", format!("[.., {k}]"), format!("{x:?}")));
    }
    let rows = x.elements() / k;
    let fits = out.shape().dims().last() == Some(&n) && out.elements() == rows * n;
    if !fits || (out.dtype() != dtype && out.dtype() != DType::F32) {
        let wanted = format!("{dtype} or f32, {rows} rows of {n}");
        return Err(Error::argument(OP, "out", wanted, format!("{out:?}")));
    }
    let mut params = Params {
        rows: rows as u32,
        columns: n as u32,
        depth: k as u32,
        epilogue: BIAS,
        rows_per_sample: 1,
        mods_columns: 0,
        alpha_at: 0,
    };
    // Every language binds the same five reads; those that the epilogue does not use repeat the bias.
    let (mut mods_read, mut onto_read) = (bias, bias);
    match epilogue {
        Epilogue::Bias => {}
        Epilogue::Silu => params.epilogue = SILU,
        Epilogue::Gelu => params.epilogue = GELU,
        Epilogue::Residual { mods, chunk, onto } => {
            let [samples, columns] = mods.dims(OP, "mods")?;
            let fits = (chunk + 1) * n <= columns && samples > 0 && rows.is_multiple_of(samples);
            if !fits || mods.dtype() != DType::F32 {
                let wanted = format!("f32 [B, c·{n}], B dividing {rows}, c > {chunk}");
                return Err(Error::argument(OP, "mods", wanted, format!("{mods:?}")));
            }
            if out.dtype() != DType::F32 {
                return Err(Error::argument(OP, "out", "f32 (residual stream)", out.dtype()));
            }
            params.epilogue = RESIDUAL;
            params.rows_per_sample = (rows / samples) as u32;
            params.mods_columns = columns as u32;
            params.alpha_at = (chunk * n) as u32;
            mods_read = mods;
            if let Some(onto) = onto {
                onto.expect(OP, "onto", DType::F32, *out.shape())?;
                params.epilogue = RESIDUAL_ONTO;
                onto_read = onto;
            }
        }
    }
    Call::new(&LINEAR, gate, &mut [out], &[x, w, bias, mods_read, onto_read])
        .params(&params)
        .work([1, rows, n])
        .row_lengths(&[n, k])
        .constants(&[("EPILOGUE", params.epilogue), ("FEW_ROWS", u32::from(rows <= FEW_ROWS))])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    if args.write_dtype(0) == DType::F32 {
        by_dtype!(args.read_dtype(0), to_f32::<I>(args, part))
    } else {
        by_dtype!(args.read_dtype(0), to_same::<I>(args, part))
    }
}

/// bf16 operands as they are, two terms at a time.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
fn pairs<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    match args.write_dtype(0) {
        DType::F32 => pair_tile::<I, f32>(args, part),
        _ => pair_tile::<I, bf16>(args, part),
    }
}

#[inline(always)]
fn pair_tile<I: Isa, O: Element>(args: &Arguments<'_>, part: &Tile) {
    let mut p: Params = args.params();
    // Two numbers of 16 bits look like one of 32 until they are multiplied.
    p.depth /= 2;
    let (w, Tile([_, rows, columns])) = (args.matrix(1, p.depth as usize), part);
    if (p.rows as usize) < FEW && w.layout == Layout::Rows {
        return tile::<I, bf16, O>(args, part);
    }
    let x = args.read::<f32>(0);
    let ends = Linear { args, p, x, o: PhantomData::<O> };
    matmul::<I, f32, true>(&ends, w, rows.clone(), columns.clone());
}

#[inline(always)]
fn to_f32<I: Isa, T: Element>(args: &Arguments<'_>, part: &Tile) {
    tile::<I, T, f32>(args, part)
}

#[inline(always)]
fn to_same<I: Isa, T: Element>(args: &Arguments<'_>, part: &Tile) {
    tile::<I, T, T>(args, part)
}

/// Fewer rows do not pay for packing the weights.
const FEW: usize = 4;

/// One tile of `out`.
#[inline(always)]
fn tile<I: Isa, T: Element, O: Element>(args: &Arguments<'_>, Tile([_, rows, columns]): &Tile) {
    let p: Params = args.params();
    let (k, ends) = (p.depth as usize, Linear { args, p, x: args.read::<T>(0), o: PhantomData::<O> });
    let w = args.matrix::<T>(1, k);
    if p.rows as usize >= FEW || w.layout != Layout::Rows {
        return matmul::<I, T, false>(&ends, w, rows.clone(), columns.clone());
    }
    // The weights are read once, as they are.
    let (width, of) = (columns.len(), |i: usize| i * k..(i + 1) * k);
    let mut scratch = Scratch::take(rows.len() * width);
    let y = &mut scratch.floats()[..rows.len() * width];
    for (at, j) in columns.clone().enumerate() {
        for (y, i) in y.chunks_exact_mut(width).zip(rows.clone()) {
            y[at] = dot::<I, T>(&ends.x[of(i)], &w.of[of(j)]);
        }
    }
    for (y, i) in y.chunks_exact(width).zip(rows.clone()) {
        ends.store::<I>(i, columns.clone(), y);
    }
}

/// What surrounds the product: rows of `T`, and the epilogue to rows of `O`.
struct Linear<'a, T, O> {
    args: &'a Arguments<'a>,
    p: Params,
    x: &'a [T],
    o: PhantomData<O>,
}

impl<T: Element, O: Element> Ends for Linear<'_, T, O> {
    #[inline(always)]
    fn rows(&self) -> Option<&[f32]> {
        if size_of::<T>() == 4 { bytemuck::try_cast_slice(self.x).ok() } else { None }
    }

    #[inline(always)]
    fn load<I: Isa>(&self, row: usize, depth: Range<usize>, to: &mut [f32]) {
        let row = &self.x[row * self.p.depth as usize..][..self.p.depth as usize];
        widen(&row[depth], to);
    }

    #[inline(always)]
    fn store<I: Isa>(&self, i: usize, columns: Range<usize>, y: &[f32]) {
        let (p, args) = (&self.p, self.args);
        let n = p.columns as usize;
        let at = i * n + columns.start..i * n + columns.end;
        // SAFETY: tiles of the output are disjoint, and this is a row of this block's.
        let out = unsafe { args.write::<O>(0, at.clone()) };
        let alphas = || {
            let sample = i / p.rows_per_sample as usize;
            let start = sample * p.mods_columns as usize + p.alpha_at as usize;
            &args.read::<f32>(3)[start + columns.start..start + columns.end]
        };
        let row = out.iter_mut().zip(y).zip(&args.read::<f32>(2)[columns.clone()]);
        match p.epilogue {
            SILU => {
                for ((out, y), b) in row {
                    *out = O::from_f32(silu::<I>(y + b));
                }
            }
            GELU => {
                for ((out, y), b) in row {
                    *out = O::from_f32(gelu::<I>(y + b));
                }
            }
            RESIDUAL => {
                for (((out, y), b), alpha) in row.zip(alphas()) {
                    *out = O::from_f32(mul_add::<I>(*alpha, y + b, out.to_f32()));
                }
            }
            RESIDUAL_ONTO => {
                for ((((out, y), b), alpha), onto) in row.zip(alphas()).zip(&args.read::<f32>(4)[at]) {
                    *out = O::from_f32(mul_add::<I>(*alpha, y + b, *onto));
                }
            }
            _ => {
                for ((out, y), b) in row {
                    *out = O::from_f32(y + b);
                }
            }
        }
    }
}
