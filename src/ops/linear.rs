//! `out = epilogue(x · wᵀ + bias)`, the matrix product with what follows it in the same pass.

use bytemuck::{Pod, Zeroable};

use super::shared::{Rows, SMALL, WIDE, dot, matmul, widen};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, Scratch, by_dtype, gelu, mul_add, silu};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`linear`].
pub static LINEAR: Kernel = Kernel {
    name: "linear",
    cpu: cpu_sources!(cpu, tile: [1, 256, 192]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/linear"), [1, 64, 64]).needs(Need::CpuAdapter).multiple(4),
        Source::wgsl("tile", wgsl!("linear"), [1, 64, 64]).multiple(4),
        Source::wgsl("naive", wgsl!("ladder/linear_naive"), [1, 64, 4]),
    ],
    cuda: &[
        Source::cuda("mma", cu!("linear"), 128, [1, 128, 128])
            .needs(Need::Sm80)
            .halves()
            .multiple(8)
            // The sums need more than the four stages.
            .shared("4 * 128 * (128 + 4)")
            .suited_to(|[_, rows, columns]| rows.div_ceil(128) * columns.div_ceil(128) >= WIDE),
        // For products of few tiles.
        Source::cuda("mma_small", cu!("linear"), 128, [1, 64, 64])
            .needs(Need::Sm80)
            .halves()
            .multiple(8)
            .with(SMALL)
            .shared("4 * 2 * (64 + 64) * 32"),
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

#[inline(always)]
fn to_f32<I: Isa, T: Element>(args: &Arguments<'_>, part: &Tile) {
    tile::<I, T, f32>(args, part)
}

#[inline(always)]
fn to_same<I: Isa, T: Element>(args: &Arguments<'_>, part: &Tile) {
    tile::<I, T, T>(args, part)
}

/// One tile of `out`: products into working memory that stays in the cache, then the epilogue, row by row.
#[inline(always)]
fn tile<I: Isa, T: Element, O: Element>(args: &Arguments<'_>, Tile([_, rows, columns]): &Tile) {
    let p: Params = args.params();
    let (x, w, bias) = (args.read::<T>(0), args.read::<T>(1), args.read::<f32>(2));
    let (k, n) = (p.depth as usize, p.columns as usize);
    let (m, width) = (rows.len(), columns.len());
    let (x, w) = (&x[rows.start * k..rows.end * k], &w[columns.start * k..columns.end * k]);

    let is_f32 = size_of::<T>() == size_of::<f32>();
    let widened = if is_f32 || m < 4 { 0 } else { (m + width) * k };
    let mut scratch = Scratch::take(m * width + widened);
    let (y, wide) = scratch.floats().split_at_mut(m * width);
    if m < 4 {
        // Too few rows to pay for packing: read the weights once, as they are.
        for (j, w) in w.chunks_exact(k).enumerate() {
            for (i, x) in x.chunks_exact(k).enumerate() {
                y[i * width + j] = dot::<I, T>(x, w);
            }
        }
    } else {
        let (x, w): (&[f32], &[f32]) = if is_f32 {
            (bytemuck::cast_slice(x), bytemuck::cast_slice(w))
        } else {
            let (wide_x, wide_w) = wide[..widened].split_at_mut(m * k);
            widen(x, wide_x);
            widen(w, wide_w);
            (wide_x, wide_w)
        };
        let (at, stride) = (y.as_mut_ptr(), width);
        let row = |at| Rows { at, stride: k };
        // SAFETY: x has m rows of k, w `width` rows of k, y m rows of `width`.
        unsafe { matmul([m, width, k], row(x.as_ptr()), row(w.as_ptr()), Rows { at, stride }) };
    }

    let bias = &bias[columns.clone()];
    for (i, y) in rows.clone().zip(y.chunks_exact(width)) {
        let at = i * n + columns.start..i * n + columns.end;
        // SAFETY: blocks are disjoint tiles of the output, and this is one row of this block's.
        let out = unsafe { args.write::<O>(0, at.clone()) };
        let alphas = || {
            let sample = i / p.rows_per_sample as usize;
            let start = sample * p.mods_columns as usize + p.alpha_at as usize;
            &args.read::<f32>(3)[start + columns.start..start + columns.end]
        };
        let row = out.iter_mut().zip(y).zip(bias);
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
