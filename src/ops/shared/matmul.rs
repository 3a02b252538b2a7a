//! The matrix product of CPU kernels: the `gemm-f32` crate on one tile.

use gemm_common::Parallelism;

use crate::device::simd::{Element, Isa, LANES, V};

/// A row-major matrix that starts at `at`; consecutive rows are `stride` elements apart.
#[derive(Clone, Copy)]
pub struct Rows<P> {
    pub at: P,
    pub stride: usize,
}

/// out[m, n] = x[m, k] · w[n, k]ᵀ on the calling thread. `out` is overwritten, never read.
///
/// # Safety
/// `x` holds m rows of k, `w` n rows of k, `out` m rows of n, and nobody else touches `out`.
pub unsafe fn matmul(size: [usize; 3], x: Rows<*const f32>, w: Rows<*const f32>, out: Rows<*mut f32>) {
    // SAFETY: as the caller vouches.
    unsafe { product(size, x, w, out, false) }
}

/// [`matmul`] onto what `out` holds.
///
/// # Safety
/// As for `matmul`.
pub unsafe fn add_matmul(size: [usize; 3], x: Rows<*const f32>, w: Rows<*const f32>, out: Rows<*mut f32>) {
    // SAFETY: as the caller vouches.
    unsafe { product(size, x, w, out, true) }
}

unsafe fn product(
    [m, n, k]: [usize; 3],
    x: Rows<*const f32>,
    w: Rows<*const f32>,
    out: Rows<*mut f32>,
    add: bool,
) {
    // gemm wants its result in columns: outᵀ[n, m] = w[n, k] · xᵀ[k, m].
    let (out_columns, w_rows, x_columns) = (out.stride as isize, w.stride as isize, x.stride as isize);
    // SAFETY: the strides describe the matrices that the caller vouches for.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n,
            m,
            k,
            out.at,
            out_columns,
            1,
            add,
            w.at,
            1,
            w_rows,
            x.at,
            x_columns,
            1,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}

/// x·y over elements of any stored type.
#[inline(always)]
pub fn dot<I: Isa, T: Element>(x: &[T], y: &[T]) -> f32 {
    let (mut even, mut odd) = (V::ZERO, V::ZERO);
    let (xs, ys) = (x.chunks_exact(2 * LANES), y.chunks_exact(2 * LANES));
    let (x_tail, y_tail) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        even = T::load(x).mul_add::<I>(T::load(y), even);
        odd = T::load(&x[LANES..]).mul_add::<I>(T::load(&y[LANES..]), odd);
    }
    for (x, y) in x_tail.chunks(LANES).zip(y_tail.chunks(LANES)) {
        even = T::load_tail(x, 0.0).mul_add::<I>(T::load_tail(y, 0.0), even);
    }
    (even + odd).sum()
}

/// Widens `src` into `dst`, which is as long.
#[inline(always)]
pub fn widen<T: Element>(src: &[T], dst: &mut [f32]) {
    let (s, d) = (src.chunks_exact(LANES), dst.chunks_exact_mut(LANES));
    let tail = s.remainder();
    let done = src.len() - tail.len();
    for (s, d) in s.zip(d) {
        T::load(s).store(d);
    }
    for (d, s) in dst[done..].iter_mut().zip(tail) {
        *d = s.to_f32();
    }
}
