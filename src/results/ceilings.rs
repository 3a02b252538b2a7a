//! What this machine can do at best, measured in the same run as what is compared with it.

use memmap2::MmapMut;
use rayon::prelude::*;

use crate::cases::bench::{Bound, time};
use crate::cases::{Case, normal_numbers};
use crate::device::Gate;
use crate::model::Footprint;
use crate::ops::{Epilogue, axpby, linear};
use crate::{DType, Device, Error, Result, Tensor};

/// Several ways to reach each bound; the best one counts.
pub struct Ceilings {
    device: Device,
    ways: Vec<Way>,
}

struct Way {
    bound: Bound,
    /// Bytes or operations of one run.
    amount: f64,
    run: Box<dyn FnMut() -> Result<()>>,
}

impl Ceilings {
    /// The memory that it takes to check a case and time it beside them.
    pub fn beside(case: &Case, device: &Device) -> Footprint {
        // A buffer in all for the streams and the matrices; on the CPU two more for each of two ways to copy.
        let buffers = if matches!(device, Device::Cpu(_)) { 5 } else { 1 };
        let mut all = case.footprint();
        all.device.push(("ceilings", (buffers * BUFFER) as u64));
        all
    }

    /// Makes the buffers.
    ///
    /// # Errors
    ///
    /// If there is no memory for them.
    pub fn new(device: &Device, dtype: DType) -> Result<Ceilings> {
        // Any device: two streams in and one out; a matrix product in the dtype that is benchmarked.
        let mut ways = vec![add(device)?, product(device, dtype)?];
        // In a browser the ops are the best there is: one thread, no pages to ask for, and less memory.
        if device.name() == "cpu" && cfg!(not(target_arch = "wasm32")) {
            ways.extend([copy(copy_ordinary)?, copy(copy_streaming)?, product_all_threads()]);
        }
        Ok(Ceilings { device: device.clone(), ways })
    }

    /// What they are the ceilings of.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The best rate now in bytes or operations a second, from about `seconds` for each way.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn measure(&mut self, bound: Bound, seconds: f64) -> Result<f64> {
        let mut best: f64 = 0.0;
        for way in self.ways.iter_mut().filter(|way| way.bound == bound) {
            best = best.max(way.amount / time(&self.device, seconds, &mut way.run).await?);
        }
        Ok(best)
    }
}

/// A tensor of normal numbers. Never zeros: predictable data lets hardware run faster than it ever will at work.
fn normal<const N: usize>(device: &Device, dtype: DType, shape: [usize; N], seed: u64) -> Result<Tensor> {
    Tensor::from_f32(device, dtype, shape, &normal_numbers(seed, shape.iter().product(), 0.0, 1.0))
}

/// Bytes of each copied buffer; last-level caches are an eighth of it or less.
const BUFFER: usize = 256 << 20;
/// Side of the multiplied matrices.
const SIDE: usize = 2048;
/// Operations of their product.
const PRODUCT: f64 = 2.0 * SIDE as f64 * SIDE as f64 * SIDE as f64;

fn add(device: &Device) -> Result<Way> {
    let stream = |seed| normal(device, DType::F32, [BUFFER / 16], seed);
    let (mut out, a, b) = (stream(1)?, stream(2)?, stream(3)?);
    let amount = 3.0 * out.bytes() as f64;
    let run = Box::new(move || axpby(Gate::Open, &mut out, (1.0, Some(&a)), (1.0, &b)));
    Ok(Way { bound: Bound::Copy, amount, run })
}

fn product(device: &Device, dtype: DType) -> Result<Way> {
    let (x, w) = (normal(device, dtype, [SIDE, SIDE], 1)?, normal(device, dtype, [SIDE, SIDE], 2)?);
    let bias = normal(device, DType::F32, [SIDE], 3)?;
    let mut out = Tensor::zeros(device, dtype, [SIDE, SIDE])?;
    let run = Box::new(move || linear(Gate::Open, &mut out, &x, &w, &bias, Epilogue::Bias));
    Ok(Way { bound: Bound::Matmul, amount: PRODUCT, run })
}

/// The `gemm-f32` crate as it divides the work itself.
fn product_all_threads() -> Way {
    let (x, w) = (normal_numbers(1, SIDE * SIDE, 0.0, 1.0), normal_numbers(2, SIDE * SIDE, 0.0, 1.0));
    let mut out = vec![0f32; SIDE * SIDE];
    let (row, threads) = (SIDE as isize, gemm_common::Parallelism::Rayon(0));
    let run = Box::new(move || {
        let (out, x, w) = (out.as_mut_ptr(), x.as_ptr(), w.as_ptr());
        // SAFETY: three square row-major matrices, and outᵀ = w · xᵀ; `out` is ours alone.
        unsafe {
            gemm_f32::gemm::f32::get_gemm_fn()(
                SIDE, SIDE, SIDE, out, row, 1, false, w, 1, row, x, row, 1, 0.0, 1.0, false, false, false,
                threads,
            )
        };
        Ok(())
    });
    Way { bound: Bound::Matmul, amount: PRODUCT, run }
}

fn copy(copy: fn(&mut [u64], &[u64])) -> Result<Way> {
    let (mut to, mut from) = (pages()?, pages()?);
    for (i, x) in bytemuck::cast_slice_mut::<u8, u64>(&mut from).iter_mut().enumerate() {
        *x = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    let run = Box::new(move || {
        // Pieces that fit the second-level cache, dealt to all threads.
        const PIECE: usize = (256 << 10) / 8;
        let to: &mut [u64] = bytemuck::cast_slice_mut(&mut to);
        let from: &[u64] = bytemuck::cast_slice(&from);
        to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).for_each(|(to, from)| copy(to, from));
        assert!(to[BUFFER / 16] == from[BUFFER / 16]);
        Ok(())
    });
    Ok(Way { bound: Bound::Copy, amount: 2.0 * BUFFER as f64, run })
}

/// Memory like that of tensors: in large pages where the system has them.
fn pages() -> Result<MmapMut> {
    let map = MmapMut::map_anon(BUFFER).map_err(|e| Error::device("cpu", e))?;
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(map)
}

fn copy_ordinary(to: &mut [u64], from: &[u64]) {
    to.copy_from_slice(from);
}

/// Stores that go around the cache: an ordinary one reads the line that it is about to overwrite.
#[cfg(target_arch = "x86_64")]
fn copy_streaming(to: &mut [u64], from: &[u64]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_storeu_si128, _mm_stream_si128};
    for (to, from) in to.chunks_exact_mut(2).zip(from.chunks_exact(2)) {
        let (to, from): (*mut __m128i, *const __m128i) = (to.as_mut_ptr().cast(), from.as_ptr().cast());
        // SAFETY: both are 16 bytes; SSE2 is part of x86-64, and the streaming store is for aligned addresses only.
        unsafe {
            match to.is_aligned() {
                true => _mm_stream_si128(to, _mm_loadu_si128(from)),
                false => _mm_storeu_si128(to, _mm_loadu_si128(from)),
            }
        }
    }
    // SAFETY: as above. Streamed lines are in memory before another thread is told that the copy is done.
    unsafe { _mm_sfence() }
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_streaming(to: &mut [u64], from: &[u64]) {
    to.copy_from_slice(from);
}
