//! Every op again, naively: plain loops in f64, for tests and benches to compare with.
//!
//! Nothing here is shared with a fast path. Tensors are flat slices, row-major; dimensions come as one array, named
//! as in [`ops`](crate::ops): B samples, F frames, N tokens of a frame, d channels.

use half::{bf16, f16};

use crate::cache::{Policy, Step, TeaCache};
use crate::ops::{FREQUENCIES, Over, Update};
use crate::{DType, noise};

/// `n` normal numbers with the given mean and standard deviation.
pub fn data(seed: u64, n: usize, offset: f32, scale: f32) -> Vec<f32> {
    noise::normal(seed, 0, n).into_iter().map(|x| offset + scale * x).collect()
}

/// The values that a tensor of `dtype` holds after `x` was written to it.
pub fn round(dtype: DType, x: &[f32]) -> Vec<f32> {
    let round = |x: &f32| match dtype {
        DType::F32 | DType::U32 => *x,
        DType::F16 => f16::from_f32(*x).to_f32(),
        DType::BF16 => bf16::from_f32(*x).to_f32(),
    };
    x.iter().map(round).collect()
}

/// The same values as f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The largest error, as a share of the largest number there should be.
pub fn max_error(got: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let error = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    if largest > 0.0 { error / largest } else { error }
}

/// Σ(ours − theirs)² / Σ theirs²: 0 where they agree, infinite where anything is NaN.
pub fn nmse(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let (mut error, mut size) = (0.0, 0.0);
    for (&a, &b) in ours.iter().zip(theirs) {
        let a = f64::from(a);
        error += (a - b) * (a - b);
        size += b * b;
    }
    match error / size {
        _ if error == 0.0 && size.is_finite() => 0.0,
        ratio if ratio.is_nan() => f64::INFINITY,
        ratio => ratio,
    }
}

/// x / (1 + e^−x)
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
pub fn gelu(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + u.tanh())
}

/// `x[b, f, n, j] = Σ w[j, c, y, x]·z[b mod Z, f, c, ..] + bias[j] + pos[n, j]` → [B, F, N, d];
/// dimensions are [B, Z, F, C, H, W, p, d].
pub fn patch_embed(
    z: &[f64],
    w: &[f64],
    bias: &[f64],
    pos: &[f64],
    [batch, samples, frames, channels, height, width, p, dim]: [usize; 8],
) -> Vec<f64> {
    let (down, across) = (height / p, width / p);
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..down * across {
                let (top, left) = (n / across * p, n % across * p);
                for j in 0..dim {
                    let mut sum = 0.0;
                    for c in 0..channels {
                        for y in 0..p {
                            for x in 0..p {
                                let image = (b % samples * frames + f) * channels + c;
                                let pixel = z[(image * height + top + y) * width + left + x];
                                sum += w[((j * channels + c) * p + y) * p + x] * pixel;
                            }
                        }
                    }
                    out.push(sum + bias[j] + pos[n * dim + j]);
                }
            }
        }
    }
    out
}

/// `out[b] = [cos(t_b·f₀), .., sin(t_b·f₀), ..]`, f_k = 10000^(−k/128) → [B, 256].
pub fn time_embed(times: &[f64]) -> Vec<f64> {
    let mut out = vec![];
    for t in times {
        let angle = |k: usize| t * 10000f64.powf(-(k as f64) / FREQUENCIES as f64);
        out.extend((0..FREQUENCIES).map(|k| angle(k).cos()));
        out.extend((0..FREQUENCIES).map(|k| angle(k).sin()));
    }
    out
}

/// `c = time + table[label]` and `SiLU(c)`, both [B, d]; labels past the table mean its last row.
pub fn label_embed(time: &[f64], table: &[f64], labels: &[u32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let last = table.len() / dim - 1;
    let mut c = vec![];
    for (b, &label) in labels.iter().enumerate() {
        for j in 0..dim {
            c.push(time[b * dim + j] + table[last.min(label as usize) * dim + j]);
        }
    }
    let act = c.iter().map(|&c| silu(c)).collect();
    (c, act)
}

/// `out[b, f, n, j] = x[b, f, n, j] + table[f, j]`; dimensions are [B, F, N, d].
pub fn temporal_embed(x: &[f64], table: &[f64], [batch, frames, tokens, dim]: [usize; 4]) -> Vec<f64> {
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..tokens {
                for j in 0..dim {
                    out.push(x[((b * frames + f) * tokens + n) * dim + j] + table[f * dim + j]);
                }
            }
        }
    }
    out
}

/// What [`linear`] does with y = x·wᵀ + bias.
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// y
    Bias,
    /// SiLU(y)
    Silu,
    /// GELU(y), tanh
    Gelu,
    /// `onto[i, j] + mods[b, chunk·n + j]·y[i, j]`
    Residual {
        /// [samples, c·n]
        mods: &'a [f64],
        /// B: row i is of sample i / (rows / B).
        samples: usize,
        /// Which chunk of n columns is α.
        chunk: usize,
        /// [rows, n]
        onto: &'a [f64],
    },
}

/// `out = epilogue(x·wᵀ + bias)` → [rows, n]; dimensions are [rows, k, n], w is [n, k].
pub fn linear(x: &[f64], w: &[f64], bias: &[f64], [rows, k, n]: [usize; 3], epilogue: Epilogue) -> Vec<f64> {
    let mut out = vec![];
    for i in 0..rows {
        for j in 0..n {
            let mut y = bias[j];
            for c in 0..k {
                y += x[i * k + c] * w[j * k + c];
            }
            out.push(match epilogue {
                Epilogue::Bias => y,
                Epilogue::Silu => silu(y),
                Epilogue::Gelu => gelu(y),
                Epilogue::Residual { mods, samples, chunk, onto } => {
                    let sample = i / (rows / samples);
                    onto[i * n + j] + mods[sample * (mods.len() / samples) + chunk * n + j] * y
                }
            });
        }
    }
    out
}

/// `out = (x − mean) / √(variance + 1e-6)·(1 + scale) + shift` per row of d; dimensions are [samples, rows, d], mods
/// are [samples, c·d] and `shift`, `scale` count chunks of d.
pub fn modulate(
    x: &[f64],
    mods: &[f64],
    [samples, rows, dim]: [usize; 3],
    shift: usize,
    scale: usize,
) -> Vec<f64> {
    let mut out = vec![];
    for i in 0..rows {
        let row = &x[i * dim..(i + 1) * dim];
        let mean = row.iter().sum::<f64>() / dim as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / dim as f64;
        let sample = i / (rows / samples);
        let mods = &mods[sample * (mods.len() / samples)..];
        for j in 0..dim {
            let normal = (row[j] - mean) / (variance + 1e-6).sqrt();
            out.push(normal * (1.0 + mods[scale * dim + j]) + mods[shift * dim + j]);
        }
    }
    out
}

/// `out = softmax(q·kᵀ / √h)·v` per head → [B, F, N, heads·h]; dimensions are [B, F, N, heads, h], qkv is
/// [B, F, N, 3·heads·h].
pub fn attention(qkv: &[f64], [batch, frames, tokens, heads, h]: [usize; 5], over: Over) -> Vec<f64> {
    let dim = heads * h;
    let mut out = vec![];
    for b in 0..batch {
        for f in 0..frames {
            for n in 0..tokens {
                // The rows this token attends to.
                let others: Vec<usize> = match over {
                    Over::Tokens => (0..tokens).map(|n| (b * frames + f) * tokens + n).collect(),
                    Over::Frames => (0..frames).map(|f| (b * frames + f) * tokens + n).collect(),
                };
                let row = (b * frames + f) * tokens + n;
                for head in 0..heads {
                    let at = |row: usize, part: usize, c: usize| qkv[(row * 3 + part) * dim + head * h + c];
                    let mut p = vec![];
                    for &other in &others {
                        let score: f64 = (0..h).map(|c| at(row, 0, c) * at(other, 1, c)).sum();
                        p.push(score / (h as f64).sqrt());
                    }
                    let max = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    p.iter_mut().for_each(|p| *p = (*p - max).exp());
                    let total: f64 = p.iter().sum();
                    for c in 0..h {
                        let sum: f64 = p.iter().zip(&others).map(|(p, &other)| p * at(other, 2, c)).sum();
                        out.push(sum / total);
                    }
                }
            }
        }
    }
    out
}

/// `[Σ|cur − prev|, Σ|prev|]`.
pub fn rel_l1(cur: &[f64], prev: &[f64]) -> [f64; 2] {
    let (mut change, mut size) = (0.0, 0.0);
    for (c, p) in cur.iter().zip(prev) {
        change += (c - p).abs();
        size += p.abs();
    }
    [change, size]
}

/// [`modulate`], and [`rel_l1`] of its result against `signal`.
pub fn modulate_rel_l1(
    signal: &[f64],
    x: &[f64],
    mods: &[f64],
    dims: [usize; 3],
    shift: usize,
    scale: usize,
) -> (Vec<f64>, [f64; 2]) {
    let cur = modulate(x, mods, dims, shift, scale);
    let sums = rel_l1(&cur, signal);
    (cur, sums)
}

/// One decision: `d = Σ partials[.., 0] / Σ partials[.., 1]` (none at step 0), handed to the rule.
pub fn tea_gate(rule: &mut TeaCache, step: usize, partials: &[f64]) -> Step {
    let sum = |column: usize| partials.iter().skip(column).step_by(2).sum::<f64>();
    rule.decide(step, (step > 0).then(|| sum(0) / sum(1)))
}

/// `a·x + b·y`, given as (a, x) and (b, y).
pub fn axpby((a, x): (f32, &[f64]), (b, y): (f32, &[f64])) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| f64::from(a) * x + f64::from(b) * y).collect()
}

/// `stack_out = stack_in + residual + (residual − before)·ahead`, ahead = (step − last)/(last − earlier), where
/// `computed` tells of each step before `step` whether it computed, and `last` and `earlier` are the last two that did;
/// 0 where there are not two.
pub fn residual_extrapolate(
    stack_in: &[f64],
    residual: &[f64],
    before: &[f64],
    computed: &[bool],
) -> Vec<f64> {
    let steps: Vec<usize> = (0..computed.len()).filter(|&i| computed[i]).collect();
    let ahead = match steps[..] {
        [.., earlier, last] => (computed.len() - last) as f64 / (last - earlier) as f64,
        _ => 0.0,
    };
    (0..stack_in.len()).map(|i| stack_in[i] + residual[i] + (residual[i] - before[i]) * ahead).collect()
}

/// `[Σ|(out − in) − kept|, Σ|kept|]`.
pub fn residual_distance(out: &[f64], input: &[f64], kept: &[f64]) -> [f64; 2] {
    rel_l1(&axpby((1.0, out), (-1.0, input)), kept)
}

/// `out[o, i, c] = Σ_j kernel[(i − j) mod n]·x[o, j, c]`; `stride` is the number of c.
pub fn spectral_filter(x: &[f64], kernel: &[f64], stride: usize) -> Vec<f64> {
    let n = kernel.len();
    let at = |e: usize| {
        let (c, i, o) = (e % stride, e / stride % n, e / stride / n);
        (0..n).map(|j| kernel[(i + n - j) % n] * x[(o * n + j) * stride + c]).sum()
    };
    (0..x.len()).map(at).collect()
}

/// `[Σ outputs[.., 0]·Σ moved[.., 0], Σ inputs[.., 0]·Σ sizes[.., 1]]`.
pub fn easy_distance(moved: &[f64], inputs: &[f64], outputs: &[f64], sizes: &[f64]) -> [f64; 2] {
    let sum = |x: &[f64], column: usize| x.iter().skip(column).step_by(2).sum::<f64>();
    [sum(outputs, 0) * sum(moved, 0), sum(inputs, 0) * sum(sizes, 1)]
}

/// `Σ ‖cur[row]‖ / ‖prev[row]‖` over rows of `dim`.
pub fn norm_ratio(cur: &[f64], prev: &[f64], dim: usize) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    cur.chunks(dim).zip(prev.chunks(dim)).map(|(cur, prev)| norm(cur) / norm(prev)).sum()
}

/// `z = keep·z + add·v`, v = c or u + g·(c − u) where tokens are [c; u] → [Z, F, C, H, W]; dimensions are
/// [B, Z, F, C, H, W, p, P], tokens are [B, F, N, p·p·P].
pub fn denoise(
    z: &[f64],
    tokens: &[f64],
    [batch, samples, frames, channels, height, width, p, predicted]: [usize; 8],
    update: Update,
) -> Vec<f64> {
    let (down, across) = (height / p, width / p);
    let (keep, add) = (f64::from(update.keep), f64::from(update.add));
    let mut out = vec![];
    for s in 0..samples {
        for f in 0..frames {
            for c in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let at = |b: usize| {
                            let token = (b * frames + f) * down * across + y / p * across + x / p;
                            tokens[((token * p + y % p) * p + x % p) * predicted + c]
                        };
                        let mut v = at(s);
                        if batch > samples {
                            let u = at(samples + s);
                            v = u + f64::from(update.guidance) * (v - u);
                        }
                        // At 0 the clip is not read: it may be NaN.
                        let kept = if keep == 0.0 { 0.0 } else { keep * z[out.len()] };
                        out.push(kept + add * v);
                    }
                }
            }
        }
    }
    out
}
