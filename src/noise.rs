//! Standard normal noise that is the same bits on every platform.
//!
//! Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011) makes
//! the bits, Box-Muller makes them normal:
//!
//! ```text
//! w = philox(counter = (block, stream), key = seed)      four 32-bit words
//! u = (w1·2³² + w0) >> 11,  v = (w3·2³² + w2) >> 11      two 53-bit integers
//! r = √(−2·ln((u + 1)·2⁻⁵³)),  θ = 2π·v·2⁻⁵³
//! normal[2·block] = r·cos θ,  normal[2·block + 1] = r·sin θ
//! ```
//!
//! The generator is a function of its counter, so there is no state to carry and each value
//! depends on its own index only. The logarithm, sine and cosine are those of the `libm` crate:
//! the system's differ in the last bits from one platform to the next.

use std::f64::consts::TAU;

/// `n` draws from the standard normal distribution.
///
/// `seed` names the run and `stream` what the noise is for, so that two uses in one run do not
/// share values. A longer request begins with the shorter one.
pub fn normal(seed: u64, stream: u64, n: usize) -> Vec<f32> {
    let mut all = vec![0.0; n];
    fill(seed, stream, &mut all);
    all
}

/// [`normal`], into memory that is there.
pub fn fill(seed: u64, stream: u64, into: &mut [f32]) {
    for (block, values) in into.chunks_mut(2).enumerate() {
        values.copy_from_slice(&pair(seed, stream, block as u64)[..values.len()]);
    }
}

/// Box-Muller on one block of Philox.
fn pair(seed: u64, stream: u64, block: u64) -> [f32; 2] {
    const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
    let [b0, b1] = words(block);
    let [s0, s1] = words(stream);
    let [w0, w1, w2, w3] = philox([b0, b1, s0, s1], words(seed));
    let integer = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)) >> 11;
    // The first lies in (0, 1], where the logarithm is finite, the second in [0, 1).
    let radius = libm::sqrt(-2.0 * libm::log((integer(w0, w1) + 1) as f64 * UNIT));
    let (sin, cos) = libm::sincos(TAU * (integer(w2, w3) as f64 * UNIT));
    [(radius * cos) as f32, (radius * sin) as f32]
}

/// Low word, high word.
fn words(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// Philox4x32-10: ten rounds over a counter of four words and a key of two.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let [low0, high0] = words(0xD251_1F53 * u64::from(c0));
        let [low1, high1] = words(0xCD9E_8D57 * u64::from(c2));
        [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `kat_vectors` of the Random123 distribution.
    #[test]
    fn philox_gives_the_published_answers() {
        let ones = u32::MAX;
        for (counter, key, answer) in [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([ones; 4], [ones; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), answer);
        }
    }

    /// Worked out from the formula at the top in another language, with its own logarithm.
    #[test]
    fn the_bits_are_fixed() {
        let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(normal(0, 0, 5)), [0xbecb9b14, 0xbe9eec28, 0x3fb1841e, 0x3ea88ea2, 0xbe52b9a4]);
        assert_eq!(
            bits(normal(u64::MAX - 1, 7 << 32 | 3, 4)),
            [0xbe6b04a3, 0xc01cd1ec, 0x40253cdb, 0xbfbb5755]
        );
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let n = 1_000_000;
        let x: Vec<f64> = normal(42, 1, n).into_iter().map(f64::from).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        let moment = |p: i32| x.iter().map(|v| (v - mean).powi(p)).sum::<f64>() / n as f64;
        // Five standard errors each: √(1/n), √(2/n), √(6/n), √(24/n).
        assert!(mean.abs() < 0.005, "mean {mean}");
        let variance = moment(2);
        assert!((variance - 1.0).abs() < 0.0071, "variance {variance}");
        let skewness = moment(3) / variance.powf(1.5);
        assert!(skewness.abs() < 0.0123, "skewness {skewness}");
        let kurtosis = moment(4) / variance.powi(2);
        assert!((kurtosis - 3.0).abs() < 0.0245, "kurtosis {kurtosis}");
        let largest = x.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!((4.0..7.0).contains(&largest), "largest {largest}");
    }

    #[test]
    fn neighbours_are_uncorrelated() {
        let n = 1_000_000;
        let x = normal(3, 0, n);
        for lag in 1..4 {
            let products = x.iter().zip(&x[lag..]);
            let r = products.map(|(&a, &b)| f64::from(a * b)).sum::<f64>() / n as f64;
            assert!(r.abs() < 0.005, "lag {lag}: {r}");
        }
    }

    #[test]
    fn a_longer_request_begins_with_the_shorter() {
        let long = normal(9, 2, 101);
        for n in [0, 1, 2, 7, 100] {
            assert_eq!(normal(9, 2, n), long[..n]);
        }
    }

    #[test]
    fn seeds_and_streams_differ_in_all_their_bits() {
        let base = normal(1, 1, 8);
        for bit in 0..64 {
            let other = 1 ^ (1 << bit);
            assert_ne!(normal(other, 1, 8), base, "seed bit {bit}");
            assert_ne!(normal(1, other, 8), base, "stream bit {bit}");
        }
        assert_ne!(normal(1, 2, 8), normal(2, 1, 8));
    }
}
