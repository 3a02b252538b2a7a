//! Instruction sets.

use super::{LANES, V, mul_add};

/// Whether products of pairs of bf16 are faster than those of what they are as f32. AMD's processors do as many in a cycle, of
/// twice the terms; Intel's (Emerald Rapids was measured) half as many.
pub fn pairs_pay() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() != b"GenuineIntel"
    }
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// What a kernel may know about the instructions it is compiled for.
pub trait Isa {
    /// Whether `a * b + c` is one instruction (without it, `mul_add` would be a library call).
    const FMA: bool;
    /// Vector accumulators that fit the register file, with some left for operands.
    const ACCUMULATORS: usize;
    /// Vectors that share a scalar in a product: with as many rows as there are accumulators for, so many that a term has
    /// more multiplications than loads.
    const ACROSS: usize = 1;

    /// Rows of a large product at a time, and vectors of each: as many sums as registers hold beside the operands.
    const BLOCK: (usize, usize);

    /// c and two products: of the lanes' lower halves and of their upper ones, which are bf16.
    #[inline(always)]
    fn add_pairs(_: V, _: V, _: V) -> V {
        unreachable!("for instruction sets that have it")
    }

    /// a·b + c, lane by lane. Explicit where it can be: left to itself, the compiler vectorises a loop over
    /// accumulators across them instead of along their lanes, with gathers.
    #[inline(always)]
    fn mul_add(a: V, b: V, c: V) -> V {
        let mut r = c;
        for i in 0..LANES {
            r.0[i] = mul_add::<Self>(a.0[i], b.0[i], c.0[i]);
        }
        r
    }

    /// a·b + c of four lanes. Where memory is the limit, narrow accesses are the faster ones: on Zen 4 a sum of two streams
    /// that no cache holds takes a quarter less time than with 16 lanes, and in a cache as long.
    #[inline(always)]
    fn mul_add_four(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| mul_add::<Self>(a[i], b[i], c[i]))
    }

    /// Row i of the result is lane i of every row.
    #[inline(always)]
    fn transpose(rows: [V; LANES]) -> [V; LANES] {
        let mut r = [V::ZERO; LANES];
        for (i, row) in rows.iter().enumerate() {
            for (r, x) in r.iter_mut().zip(row.0) {
                r.0[i] = x;
            }
        }
        r
    }
}

/// 32 registers of 16 lanes.
#[cfg(target_arch = "x86_64")]
pub struct Avx512;
/// 16 registers of 8 lanes.
#[cfg(target_arch = "x86_64")]
pub struct Avx2;
/// Whatever the target's baseline has.
pub struct Portable;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    const FMA: bool = true;
    const ACCUMULATORS: usize = 16;
    const ACROSS: usize = 4;
    const BLOCK: (usize, usize) = (9, 3);

    #[inline(always)]
    fn mul_add(a: V, b: V, c: V) -> V {
        use std::arch::x86_64::*;
        // SAFETY: kernels for this instruction set run only where it is; a `V` has room for 16 f32.
        unsafe {
            let (a, b) = (_mm512_loadu_ps(a.0.as_ptr()), _mm512_loadu_ps(b.0.as_ptr()));
            let mut r = c;
            _mm512_storeu_ps(r.0.as_mut_ptr(), _mm512_fmadd_ps(a, b, _mm512_loadu_ps(c.0.as_ptr())));
            r
        }
    }

    #[inline(always)]
    fn mul_add_four(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        fused_four(a, b, c)
    }

    /// Pairs, then pairs of pairs, then quarters of a register.
    #[inline(always)]
    fn transpose(rows: [V; LANES]) -> [V; LANES] {
        use std::arch::x86_64::*;
        // SAFETY: as above.
        unsafe {
            let mut r = [_mm512_setzero_ps(); LANES];
            for i in 0..LANES {
                r[i] = _mm512_loadu_ps(rows[i].0.as_ptr());
            }
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            let mut u = t;
            for i in 0..8 {
                let (from, to) = (i / 2 * 4 + i % 2, i / 2 * 4 + i % 2 * 2);
                let (a, b) = (_mm512_castps_pd(t[from]), _mm512_castps_pd(t[from + 2]));
                u[to] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                u[to + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
            let mut out = u;
            for i in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(u[i], u[i + 4]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(u[i], u[i + 4]);
                let even_high = _mm512_shuffle_f32x4::<0x88>(u[i + 8], u[i + 12]);
                let odd_high = _mm512_shuffle_f32x4::<0xdd>(u[i + 8], u[i + 12]);
                out[i] = _mm512_shuffle_f32x4::<0x88>(even, even_high);
                out[i + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_high);
                out[i + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_high);
                out[i + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_high);
            }
            let mut columns = [V::ZERO; LANES];
            for i in 0..LANES {
                _mm512_storeu_ps(columns[i].0.as_mut_ptr(), out[i]);
            }
            columns
        }
    }
}

/// AVX-512 with products of pairs of bf16, `vdpbf16ps`: products are exact, sums are f32, subnormal numbers count as 0.
#[cfg(target_arch = "x86_64")]
pub struct Avx512Bf16;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512Bf16 {
    const FMA: bool = Avx512::FMA;
    const ACCUMULATORS: usize = Avx512::ACCUMULATORS;
    const ACROSS: usize = Avx512::ACROSS;
    const BLOCK: (usize, usize) = Avx512::BLOCK;

    #[inline(always)]
    fn add_pairs(a: V, b: V, c: V) -> V {
        use std::arch::x86_64::*;
        // SAFETY: kernels for this instruction set run only where it is; a `V` is the size of such a register.
        unsafe {
            let [a, b] = [a, b].map(|v| std::mem::transmute::<V, __m512bh>(v));
            let mut r = c;
            _mm512_storeu_ps(r.0.as_mut_ptr(), _mm512_dpbf16_ps(_mm512_loadu_ps(c.0.as_ptr()), a, b));
            r
        }
    }

    #[inline(always)]
    fn mul_add(a: V, b: V, c: V) -> V {
        Avx512::mul_add(a, b, c)
    }

    #[inline(always)]
    fn mul_add_four(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        fused_four(a, b, c)
    }

    #[inline(always)]
    fn transpose(rows: [V; LANES]) -> [V; LANES] {
        Avx512::transpose(rows)
    }
}

/// Explicit: left to itself, the compiler makes one wide instruction of several narrow ones.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fused_four(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
    use std::arch::x86_64::*;
    let mut r = c;
    // SAFETY: kernels for AVX2 and more run only where FMA is; four f32 are read and written.
    unsafe {
        let [a, b, c] = [a, b, c].map(|x| _mm_loadu_ps(x.as_ptr()));
        _mm_storeu_ps(r.as_mut_ptr(), _mm_fmadd_ps(a, b, c));
    }
    r
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    const FMA: bool = true;
    const ACCUMULATORS: usize = 6;
    const BLOCK: (usize, usize) = (6, 1);

    #[inline(always)]
    fn mul_add(a: V, b: V, c: V) -> V {
        use std::arch::x86_64::*;
        // SAFETY: as above, in two halves.
        unsafe {
            let mut r = c;
            for i in [0, 8] {
                let (a, b) = (_mm256_loadu_ps(a.0.as_ptr().add(i)), _mm256_loadu_ps(b.0.as_ptr().add(i)));
                let c = _mm256_loadu_ps(c.0.as_ptr().add(i));
                _mm256_storeu_ps(r.0.as_mut_ptr().add(i), _mm256_fmadd_ps(a, b, c));
            }
            r
        }
    }

    #[inline(always)]
    fn mul_add_four(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        fused_four(a, b, c)
    }
}

impl Isa for Portable {
    const FMA: bool = cfg!(target_arch = "aarch64");
    const ACCUMULATORS: usize = 4;
    // 32 registers of 4 lanes, or 16.
    const BLOCK: (usize, usize) = if cfg!(target_arch = "aarch64") { (6, 1) } else { (2, 1) };
}
