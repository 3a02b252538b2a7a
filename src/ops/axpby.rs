//! `out = a·x + b·y`, the scaled sum of two tensors.

use bytemuck::{Pod, Zeroable};

use super::shared::TILE;
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Result, Tensor};

/// See [`axpby`].
pub static AXPBY: Kernel = Kernel {
    name: "axpby",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/axpby"), [1, 1, TILE])
            .with(&[("TILE", TILE as u32)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", wgsl!("axpby"), [1, 1, TILE])
            .with(&[("TILE", TILE as u32), ("WG", 256)])
            .multiple(4),
        Source::wgsl("naive", wgsl!("ladder/axpby_naive"), [1, 1, TILE]).with(&[("TILE", TILE as u32)]),
    ],
    cuda: &[Source::cuda("vec4", cu!("axpby"), 256, [1, 1, 1024])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    in_place: u32,
    a: f32,
    b: f32,
}

/// `out = a·x + b·y`, given as `(a, x)` and `(b, y)`, all tensors f32 and of one shape. Without an x, `out` itself is
/// x. If a = 0, x is not read and may hold anything, NaN too.
///
/// The name is that of the BLAS extension. The sum is fused, `fma(b, y, a·x)`, so factors of ±1 give the bits of a
/// plain sum or difference. Three steps of a cached run are this op:
///
/// - a computed step keeps what the transformer stack did, `residual = 1·out + (−1)·in` (arXiv 2411.19108, section 3.4);
/// - a skipped step adds it to its own input, `out = 1·in + 1·residual`;
/// - a sampler moves the clip z along a prediction v that has the clip's layout, `z = keep·z + add·v`.
pub fn axpby(
    gate: Gate<'_>,
    out: &mut Tensor,
    (a, x): (f32, Option<&Tensor>),
    (b, y): (f32, &Tensor),
) -> Result<()> {
    const OP: &str = "axpby";
    let shape = *out.shape();
    out.expect(OP, "out", DType::F32, shape)?;
    if let Some(x) = x {
        x.expect(OP, "x", DType::F32, shape)?;
    }
    y.expect(OP, "y", DType::F32, shape)?;
    let elements = out.elements();
    let params = Params { elements: elements as u32, in_place: u32::from(x.is_none()), a, b };
    // Every language binds two reads; in place, the first is y again, and nobody looks at it.
    Call::new(&AXPBY, gate, &mut [out], &[x.unwrap_or(y), y])
        .params(&params)
        .work([1, 1, elements])
        .row_lengths(&[elements])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
    let Params { in_place, a, b, .. } = args.params();
    let [x, y] = [0, 1].map(|i| &args.read::<f32>(i)[span.clone()]);
    // SAFETY: blocks are disjoint ranges of the output.
    let out = unsafe { args.write::<f32>(0, span.clone()) };
    if a == 0.0 {
        for (out, y) in out.iter_mut().zip(y) {
            *out = mul_add::<I>(b, *y, 0.0);
        }
    } else if in_place != 0 {
        let (fours, rest) = out.as_chunks_mut::<4>();
        let (y, y_rest) = y.as_chunks::<4>();
        for (out, y) in fours.iter_mut().zip(y) {
            *out = I::mul_add_four([b; 4], *y, out.map(|x| a * x));
        }
        for (out, y) in rest.iter_mut().zip(y_rest) {
            *out = mul_add::<I>(b, *y, a * *out);
        }
    } else {
        let (fours, rest) = out.as_chunks_mut::<4>();
        let (x, x_rest) = x.as_chunks::<4>();
        let (y, y_rest) = y.as_chunks::<4>();
        for ((out, x), y) in fours.iter_mut().zip(x).zip(y) {
            *out = I::mul_add_four([b; 4], *y, x.map(|x| a * x));
        }
        for ((out, x), y) in rest.iter_mut().zip(x_rest).zip(y_rest) {
            *out = mul_add::<I>(b, *y, a * *x);
        }
    }
}
