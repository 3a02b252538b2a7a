//! Circular convolution along an axis of the token grid: a filter of frequencies, without a Fourier transform.

use bytemuck::{Pod, Zeroable};

use super::shared::widen;
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, LANES, Scratch, V, by_dtype, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`spectral_filter`].
pub static SPECTRAL_FILTER: Kernel = Kernel {
    name: "spectral_filter",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 12]),
    wgsl: &[Source::wgsl("naive", wgsl!("spectral_filter"), [1, 1, 1024])],
    cuda: &[Source::cuda("vec4", cu!("spectral_filter"), 128, [1, 1, 1024])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outer: u32,
    places: u32,
    stride: u32,
    step: u32,
}

/// `out[o, i, :] = Σ_j kernel[step, (i − j) mod n]·x[o, j, :]`, where rows of `stride` elements are neighbours along
/// the axis, and n of them are all of it.
///
/// Over tokens [B, F, gh, gw, d] the axis of columns has stride d, of rows gw·d, of frames gh·gw·d; n is a row of
/// `kernels` long. One axis after the other filters the grid, where the filter is a product over axes, as SeaCache's
/// is (see [`wiener`](crate::cache::wiener())): axes are short, so this is no more work than a transform.
///
/// - `out`: f32, the shape of `x`
/// - `x`: T
/// - `kernels`: f32 [S, n] of which row `step` counts
pub fn spectral_filter(
    gate: Gate<'_>,
    out: &mut Tensor,
    x: &Tensor,
    (kernels, step): (&Tensor, usize),
    stride: usize,
) -> Result<()> {
    const OP: &str = "spectral_filter";
    x.float(OP, "x")?;
    out.expect(OP, "out", DType::F32, *x.shape())?;
    let [steps, places] = kernels.dims(OP, "kernels")?;
    kernels.expect(OP, "kernels", DType::F32, [steps, places])?;
    if step >= steps {
        return Err(Error::argument(OP, "step", format!("less than {steps}"), step));
    }
    let axis = places * stride;
    if axis == 0 || !x.elements().is_multiple_of(axis) {
        let wanted = format!("{places} rows of it to divide {} elements", x.elements());
        return Err(Error::argument(OP, "stride", wanted, stride));
    }
    let outer = x.elements() / axis;
    let params =
        Params { outer: outer as u32, places: places as u32, stride: stride as u32, step: step as u32 };
    Call::new(&SPECTRAL_FILTER, gate, &mut [out], &[x, kernels])
        .params(&params)
        .work([outer, places, stride])
        .row_lengths(&[stride])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.read_dtype(0), filter::<I>(args, part))
}

/// Columns at a time.
const WIDTH: usize = 4 * LANES;

#[inline(always)]
fn filter<I: Isa, T: Element>(args: &Arguments<'_>, Tile([outer, places, span]): &Tile) {
    let p: Params = args.params();
    let (n, stride, step) = (p.places as usize, p.stride as usize, p.step as usize);
    let x = args.read::<T>(0);
    let kernel = &args.read::<f32>(1)[step * n..(step + 1) * n];
    // As many columns at a time as registers hold sums of, then what is left over. They are copied out of their rows, which
    // may all begin in one place of the cache.
    let mut scratch = Scratch::take(n * WIDTH);
    let copied = &mut scratch.floats()[..n * WIDTH];
    let mut at = span.start;
    while at + WIDTH <= span.end {
        for o in outer.clone() {
            for (j, copied) in copied.chunks_exact_mut(WIDTH).enumerate() {
                widen(&x[(o * n + j) * stride + at..][..WIDTH], copied);
            }
            for i in places.clone() {
                let mut sums = [V::ZERO; 4];
                for (j, x) in copied.chunks_exact(WIDTH).enumerate() {
                    let weight = V::splat(kernel[if j <= i { i - j } else { i + n - j }]);
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = weight.mul_add::<I>(V::load(&x[v * LANES..]), *sum);
                    }
                }
                let first = (o * n + i) * stride + at;
                // SAFETY: a stretch of a row belongs to one block.
                let out = unsafe { args.write::<f32>(0, first..first + WIDTH) };
                for (v, sum) in sums.iter().enumerate() {
                    sum.store(&mut out[v * LANES..]);
                }
            }
        }
        at += WIDTH;
    }
    let rest = at..span.end;
    for o in outer.clone() {
        for i in places.clone() {
            let row = |i: usize| (o * n + i) * stride + rest.start..(o * n + i) * stride + rest.end;
            // SAFETY: as above.
            let out = unsafe { args.write::<f32>(0, row(i)) };
            out.fill(0.0);
            for j in 0..n {
                let weight = kernel[(i + n - j) % n];
                for (out, x) in out.iter_mut().zip(&x[row(j)]) {
                    *out = mul_add::<I>(weight, x.to_f32(), *out);
                }
            }
        }
    }
}
