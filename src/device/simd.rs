//! Sixteen f32 at a time, in plain Rust: arrays and loops that the compiler turns into vector instructions once they
//! are inlined into a function with the right target features.
//!
//! A kernel is written once, generic over [`Isa`], and [`cpu_sources!`](crate::cpu_sources) makes one
//! [`Source`](super::Source) of it per instruction set. Everything between the kernel and the arithmetic must be
//! `#[inline(always)]`: a function or closure that is not inlined is compiled for the baseline and runs ten times
//! slower. Two shapes of loop come out well: plain ones over zipped slices, and arrays of accumulators; [`V`] is for
//! kernels that must say which way the lanes run.

use bytemuck::Pod;
pub use half::{bf16, f16};

mod isa;
mod scratch;

#[cfg(target_arch = "x86_64")]
pub use isa::{Avx2, Avx512, Avx512Bf16};
pub use isa::{Isa, Portable, pairs_pay};
pub use scratch::Scratch;

/// The sources of a CPU kernel `fn body<I: Isa>(&Arguments<'_>, &Tile)`, one per instruction set, best first.
///
/// `body` is `#[inline(always)]`, and so is what it calls. `tile` is how much of the work one call of it does; after it,
/// `tiles` may name a function for [`Source::tiled`](super::Source::tiled), `panels` the
/// [layout](super::Layout) of matrices that `body` takes beside rows, and `pairs` a second `body` for the sources of
/// processors that multiply pairs of bf16, which takes panels of pairs.
///
/// ```
/// use steep::cpu_sources;
/// use steep::device::Source;
/// use steep::device::cpu::{Arguments, Tile};
/// use steep::device::simd::Isa;
///
/// static SOURCES: &[Source] = cpu_sources!(negate, tile: [1, 1, 1 << 14]);
///
/// #[inline(always)]
/// fn negate<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
///     // SAFETY: tiles are disjoint ranges of the output.
///     let out = unsafe { args.write::<f32>(0, span.clone()) };
///     for (out, x) in out.iter_mut().zip(&args.read::<f32>(0)[span.clone()]) {
///         *out = -x;
///     }
/// }
/// ```
#[macro_export]
macro_rules! cpu_sources {
    ($body:ident, tile: $tile:expr $(, tiles: $tiles:expr $(, panels: $panels:ident $(, pairs: $pairs:ident)?)?)?) => {{
        const TILE: [usize; 3] = $tile;
        const PORTABLE: fn(&$crate::device::cpu::Arguments<'_>, &$crate::device::cpu::Tile) =
            $body::<$crate::device::simd::Portable>;
        &[
            $($($(
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi2")]
                    fn run(args: &$crate::device::cpu::Arguments<'_>, tile: &$crate::device::cpu::Tile) {
                        $pairs::<$crate::device::simd::Avx512Bf16>(args, tile)
                    }
                    // SAFETY: what the function needs is what the source says.
                    let source = unsafe {
                        $crate::device::Source::cpu("avx512_bf16", $crate::device::Need::Avx512Bf16, run, TILE)
                    };
                    let source = source.only($crate::DType::BF16).multiple(2).tiled($tiles);
                    source.arranged($crate::device::Layout::PairPanels).where_it_pays($crate::device::simd::pairs_pay)
                },
            )?)?)?
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
                fn run(args: &$crate::device::cpu::Arguments<'_>, tile: &$crate::device::cpu::Tile) {
                    $body::<$crate::device::simd::Avx512>(args, tile)
                }
                // SAFETY: what the function needs is what the source says.
                unsafe { $crate::device::Source::cpu("avx512", $crate::device::Need::Avx512, run, TILE) }$(.tiled($tiles)$(.arranged($crate::device::Layout::$panels))?)?
            },
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c,bmi2")]
                fn run(args: &$crate::device::cpu::Arguments<'_>, tile: &$crate::device::cpu::Tile) {
                    $body::<$crate::device::simd::Avx2>(args, tile)
                }
                // SAFETY: as above.
                unsafe { $crate::device::Source::cpu("avx2", $crate::device::Need::Avx2, run, TILE) }$(.tiled($tiles)$(.arranged($crate::device::Layout::$panels))?)?
            },
            // SAFETY: a function for any processor.
            unsafe { $crate::device::Source::cpu("portable", $crate::device::Need::Nothing, PORTABLE, TILE) }$(.tiled($tiles)$(.arranged($crate::device::Layout::$panels))?)?,
        ]
    }};
}
pub use cpu_sources;

/// Lanes of a [`V`].
pub const LANES: usize = 16;

/// Sixteen f32.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct V(pub [f32; LANES]);

impl V {
    /// Zeros.
    pub const ZERO: V = V([0.0; LANES]);

    /// `x` in every lane.
    #[inline(always)]
    pub fn splat(x: f32) -> V {
        V([x; LANES])
    }

    /// The first 16 elements; `x` may be longer.
    #[inline(always)]
    pub fn load(x: &[f32]) -> V {
        let mut v = V::ZERO;
        v.0.copy_from_slice(&x[..LANES]);
        v
    }

    /// Writes to the first 16 elements.
    #[inline(always)]
    pub fn store(self, x: &mut [f32]) {
        x[..LANES].copy_from_slice(&self.0);
    }

    /// Lane by lane.
    #[inline(always)]
    pub fn map(self, f: impl Fn(f32) -> f32) -> V {
        let mut r = self;
        for x in &mut r.0 {
            *x = f(*x);
        }
        r
    }

    /// Lane by lane with another vector.
    #[inline(always)]
    pub fn zip(self, b: V, f: impl Fn(f32, f32) -> f32) -> V {
        let mut r = self;
        for (x, y) in r.0.iter_mut().zip(b.0) {
            *x = f(*x, y);
        }
        r
    }

    /// `self * b + c`, fused where the instruction set has it.
    #[inline(always)]
    pub fn mul_add<I: Isa>(self, b: V, c: V) -> V {
        I::mul_add(self, b, c)
    }

    /// The greater, lane by lane; `b` where `self` is NaN.
    #[inline(always)]
    pub fn max(self, b: V) -> V {
        self.zip(b, |x, y| if x > y { x } else { y })
    }

    /// |x|, lane by lane.
    #[inline(always)]
    pub fn abs(mut self) -> V {
        for x in &mut self.0 {
            *x = x.abs();
        }
        self
    }

    /// The sum of the lanes, as a tree.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let (x, mut eight, mut four) = (self.0, [0.0; 8], [0.0; 4]);
        for i in 0..8 {
            eight[i] = x[i] + x[i + 8];
        }
        for i in 0..4 {
            four[i] = eight[i] + eight[i + 4];
        }
        (four[0] + four[2]) + (four[1] + four[3])
    }

    /// e^x, lane by lane.
    #[inline(always)]
    pub fn exp<I: Isa>(mut self) -> V {
        // A loop: a function handed to `map` may be called instead of inlined.
        for x in &mut self.0 {
            *x = exp::<I>(*x);
        }
        self
    }
}

impl V {
    /// [`exp2_of_negative`], lane by lane.
    #[inline(always)]
    pub fn exp2_of_negative<I: Isa>(mut self) -> V {
        for x in &mut self.0 {
            *x = exp2_of_negative::<I>(*x);
        }
        self
    }
}

impl std::ops::Add for V {
    type Output = V;
    #[inline(always)]
    fn add(self, b: V) -> V {
        self.zip(b, |x, y| x + y)
    }
}
impl std::ops::Sub for V {
    type Output = V;
    #[inline(always)]
    fn sub(self, b: V) -> V {
        self.zip(b, |x, y| x - y)
    }
}
impl std::ops::Mul for V {
    type Output = V;
    #[inline(always)]
    fn mul(self, b: V) -> V {
        self.zip(b, |x, y| x * y)
    }
}

/// `a * b + c`, fused where the instruction set has it.
#[inline(always)]
pub fn mul_add<I: Isa + ?Sized>(a: f32, b: f32, c: f32) -> f32 {
    if I::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x to 2 units in the last place, without branches: x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^r by a polynomial of
/// degree 6 (its coefficients are Cephes' `expf`), 2^n put together from bits. Below -86.9 the result is 0 (e^-86.9 is
/// 1.8e-38: subnormals begin here), above 88.7 infinity, NaN stays NaN.
#[inline(always)]
pub fn exp<I: Isa>(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -86.9;
    const HIGHEST: f32 = 88.722_83;
    // Adding and taking away 1.5·2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    let shifted = mul_add::<I>(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<I>(n, -LN2_HIGH, clamped);
    let r = mul_add::<I>(n, -LN2_LOW, r);
    let p = mul_add::<I>(r, 1.987_569_1e-4, 1.398_2e-3);
    let p = mul_add::<I>(p, r, 8.333_452e-3);
    let p = mul_add::<I>(p, r, 4.166_579_6e-2);
    let p = mul_add::<I>(p, r, 1.666_666_6e-1);
    let p = mul_add::<I>(p, r, 0.5);
    let y = mul_add::<I>(p, r * r, r) + 1.0;
    // n reaches 128, one more than an exponent holds: 2^n = 2^(n-1) · 2.
    let exponent = (shifted.to_bits() << 23).wrapping_add(126 << 23);
    let y = y * f32::from_bits(exponent) * 2.0;
    let y = if x < LOWEST { 0.0 } else { y };
    if x > HIGHEST { f32::INFINITY } else { y }
}

/// 2^x for x ≤ 0, to 2 units in the last place: x = n + f with |f| ≤ 1/2, 2^f by a polynomial of degree 6 (its coefficients
/// are Cephes' `exp2f`). Nine operations less than [`exp`]: the rounding of x is exact, and there is no upper end. Below −125
/// the result is 2^−125, which is nothing beside the 1 of a softmax's largest weight; NaN stays NaN.
#[inline(always)]
pub fn exp2_of_negative<I: Isa>(x: f32) -> f32 {
    const LOWEST: f32 = -125.0;
    // Adding and taking away 1.5·2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < LOWEST { LOWEST } else { x };
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    let p = mul_add::<I>(f, 1.535_336_2e-4, 1.339_887_4e-3);
    let p = mul_add::<I>(p, f, 9.618_437e-3);
    let p = mul_add::<I>(p, f, 5.550_332_5e-2);
    let p = mul_add::<I>(p, f, 2.402_264_8e-1);
    let p = mul_add::<I>(p, f, 6.931_472e-1);
    let y = mul_add::<I>(p, f, 1.0);
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// x·σ(x).
#[inline(always)]
pub fn silu<I: Isa>(x: f32) -> f32 {
    x / (1.0 + exp::<I>(-x))
}

/// GELU with the tanh approximation, as x·σ(2u): u = √(2/π)·(x + 0.044715·x³), since (1 + tanh u)/2 = σ(2u).
#[inline(always)]
pub fn gelu<I: Isa>(x: f32) -> f32 {
    const C: f32 = 1.595_769; // 2·√(2/π)
    let u = C * x * mul_add::<I>(0.044_715 * x, x, 1.0);
    x / (1.0 + exp::<I>(-u))
}

/// An element type that kernels store; arithmetic is always in f32.
pub trait Element: Pod {
    /// Exact.
    fn to_f32(self) -> f32;
    /// Rounded to nearest, ties to even.
    fn from_f32(x: f32) -> Self;

    /// The first 16 elements.
    #[inline(always)]
    fn load(x: &[Self]) -> V {
        let mut v = V::ZERO;
        for (v, x) in v.0.iter_mut().zip(&x[..LANES]) {
            *v = x.to_f32();
        }
        v
    }

    /// Writes to the first 16 elements.
    #[inline(always)]
    fn store(v: V, x: &mut [Self]) {
        for (x, v) in x[..LANES].iter_mut().zip(v.0) {
            *x = Self::from_f32(v);
        }
    }

    /// As [`load`](Self::load) where fewer than 16 are left; the other lanes are `fill`.
    #[inline(always)]
    fn load_tail(x: &[Self], fill: f32) -> V {
        let mut v = V::splat(fill);
        for (v, x) in v.0.iter_mut().zip(x) {
            *v = x.to_f32();
        }
        v
    }

    /// As [`store`](Self::store) where fewer than 16 are left.
    #[inline(always)]
    fn store_tail(v: V, x: &mut [Self]) {
        for (x, v) in x.iter_mut().zip(v.0) {
            *x = Self::from_f32(v);
        }
    }
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
}

// The conversions of the `half` crate choose an instruction at run time, one element at a time; these are the same
// functions in bit arithmetic that vectorises. A test compares them with `half` for every f16 and bf16.
impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        let h = u32::from(self.to_bits());
        let magnitude = h & 0x7fff;
        // Normal numbers change their exponent's bias. Subnormal ones are multiples of 2^-24, converted as integers:
        // as f32 subnormals they would make the processor stumble.
        let normal = (magnitude << 13) + (112 << 23);
        let subnormal = (magnitude as i32 as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
        let bits = if magnitude < 0x400 { subnormal } else { normal };
        let bits = if magnitude >= 0x7c00 { magnitude << 13 | 0x7f80_0000 } else { bits };
        f32::from_bits(bits | (h & 0x8000) << 16)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f16 {
        let (sign, f) = (x.to_bits() >> 16 & 0x8000, x.to_bits() & 0x7fff_ffff);
        let special = if f > 0x7f80_0000 { 0x7e00 | f >> 13 & 0x3ff } else { 0x7c00 };
        // Adding 0.5 aligns a subnormal's last place with f32's, and rounds.
        let small = (f32::from_bits(f) + 0.5).to_bits().wrapping_sub(126 << 23);
        let normal = f.wrapping_sub((112 << 23) - 0xfff).wrapping_add(f >> 13 & 1) >> 13;
        let bits = if f < 113 << 23 { small } else { normal };
        let bits = if f >= 143 << 23 { special } else { bits };
        f16::from_bits((bits | sign) as u16)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> bf16 {
        let f = x.to_bits();
        let rounded = f.wrapping_add(0x7fff + (f >> 16 & 1)) >> 16;
        let quiet = f >> 16 | 0x40;
        let nan = f & 0x7fff_ffff > 0x7f80_0000;
        bf16::from_bits(if nan { quiet } else { rounded } as u16)
    }
}

/// Calls `f::<I, T>(args)` with T the element type of a dtype that is known at run time, a float type:
/// `by_dtype!(dtype, f::<I>(args))`.
#[macro_export]
macro_rules! by_dtype {
    ($dtype:expr, $f:ident::<$isa:ident>($($arg:expr),*)) => {
        match $dtype {
            $crate::DType::F32 => $f::<$isa, f32>($($arg),*),
            $crate::DType::F16 => $f::<$isa, $crate::device::simd::f16>($($arg),*),
            $crate::DType::BF16 => $f::<$isa, $crate::device::simd::bf16>($($arg),*),
            $crate::DType::U32 => unreachable!("ops check dtypes before they call"),
        }
    };
}
pub use by_dtype;

/// Copies around the cache: an ordinary store first reads the line it is about to overwrite, a streaming one does not.
/// For outputs that no cache holds; followed by [`streamed`] before anybody else may look.
#[inline(always)]
pub fn stream(dst: &mut [u8], src: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if dst.as_ptr().cast::<std::arch::x86_64::__m128i>().is_aligned() && dst.len().is_multiple_of(16) {
        use std::arch::x86_64::*;
        for (dst, src) in dst.chunks_exact_mut(16).zip(src.chunks_exact(16)) {
            // SAFETY: both are 16 bytes, the destination is aligned, and SSE2 is part of x86-64.
            unsafe { _mm_stream_si128(dst.as_mut_ptr().cast(), _mm_loadu_si128(src.as_ptr().cast())) };
        }
        return;
    }
    dst.copy_from_slice(src);
}

/// Orders what was [`stream`]ed before what follows.
#[inline(always)]
pub fn streamed() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    };
}

/// Asks for a slice's lines before they are needed.
#[inline(always)]
pub fn prefetch<T>(x: &[T]) {
    for at in (0..x.len()).step_by(64 / size_of::<T>()) {
        prefetch_line(x, at);
    }
}

/// Asks for the line of `x[at]` before it is needed; it may lie past the end.
#[inline(always)]
pub fn prefetch_line<T>(x: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_conversions_agree_with_the_half_crate() {
        for bits in 0..=u16::MAX {
            let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
            for (ours, theirs) in [(Element::to_f32(h), h.to_f32()), (Element::to_f32(b), b.to_f32())] {
                assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{bits:#x}");
            }
        }
        // Every f32 whose low bits are around a tie of either type, and the ends.
        for high in 0..=u16::MAX {
            for low in [0u16, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(high) << 16 | u32::from(low));
                let (h, b) = (<f16 as Element>::from_f32(x), <bf16 as Element>::from_f32(x));
                if x.is_nan() {
                    assert!(h.is_nan() && b.is_nan(), "{x:?}");
                } else {
                    assert_eq!(h.to_bits(), f16::from_f32(x).to_bits(), "{x:?}");
                    assert_eq!(b.to_bits(), bf16::from_f32(x).to_bits(), "{x:?}");
                }
            }
        }
    }

    #[test]
    fn transpose_turns_rows_into_lanes() {
        fn check<I: Isa>() {
            let rows = std::array::from_fn(|i| V(std::array::from_fn(|j| (i * LANES + j) as f32)));
            for (j, row) in I::transpose(rows).iter().enumerate() {
                assert_eq!(row.0, std::array::from_fn(|i| (i * LANES + j) as f32));
            }
        }
        check::<Portable>();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            check::<Avx512>();
        }
    }

    #[test]
    fn exp_is_within_two_ulps() {
        fn check<I: Isa>() {
            for i in -86_900..88_700 {
                let x = i as f32 * 1e-3 + 1e-5;
                let (ours, exact) = (exp::<I>(x), f64::from(x).exp());
                let error = (f64::from(ours) - exact).abs() / exact;
                assert!(error <= 2.0 * f64::from(f32::EPSILON), "e^{x}: {ours} {exact}");
            }
            assert_eq!(exp::<I>(0.0), 1.0);
            assert_eq!(exp::<I>(-1e4), 0.0);
            assert_eq!(exp::<I>(f32::NEG_INFINITY), 0.0);
            assert_eq!(exp::<I>(89.0), f32::INFINITY);
            assert!(exp::<I>(f32::NAN).is_nan());
        }
        check::<Portable>();
        #[cfg(target_arch = "x86_64")]
        check::<Avx2>();
    }

    #[test]
    fn exp2_is_within_two_ulps() {
        fn check<I: Isa>() {
            for i in 0..125_000 {
                let x = i as f32 * -1e-3;
                let (ours, exact) = (exp2_of_negative::<I>(x), f64::from(x).exp2());
                let error = (f64::from(ours) - exact).abs() / exact;
                assert!(error <= 2.0 * f64::from(f32::EPSILON), "2^{x}: {ours} {exact}");
            }
            assert_eq!(exp2_of_negative::<I>(0.0), 1.0);
            assert_eq!([-126.0, -1e30, f32::NEG_INFINITY].map(exp2_of_negative::<I>), [0.5f32.powi(125); 3]);
            assert!(exp2_of_negative::<I>(f32::NAN).is_nan());
        }
        check::<Portable>();
        #[cfg(target_arch = "x86_64")]
        check::<Avx2>();
    }
}
