//! Sinusoids of the timestep.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, by_dtype};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`time_embed`].
pub static TIME_EMBED: Kernel = Kernel {
    name: "time_embed",
    cpu: cpu_sources!(cpu, tile: [1, 1, 16]),
    wgsl: &[Source::wgsl("naive", wgsl!("time_embed"), [1, 1, 1])],
    cuda: &[Source::cuda("row", cu!("time_embed"), 128, [1, 1, 1])],
};

/// Frequencies of the embedding, which is twice as wide.
pub const FREQUENCIES: usize = 128;

const LN_10000: f32 = 9.210_340_5;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    batch: u32,
    step: u32,
    divisor: f32,
}

/// `out[b] = [cos(t·f₀), .., cos(t·f₁₂₇), sin(t·f₀), .., sin(t·f₁₂₇)]` with f_k = 10000^(−k/divisor) and t =
/// times[step, b]: cosines first. facebook/DiT's `timestep_embedding` divides by 128, diffusers' of the same model by 127
/// (`downscale_freq_shift`). Times of a whole run are uploaded once.
///
/// - `out`: T [B, 256]
/// - `times`: f32 [S, B], in the model's units (0 to 1000)
/// - `step`: which row of `times`
/// - `divisor`: above 0
pub fn time_embed(gate: Gate<'_>, out: &mut Tensor, times: &Tensor, step: usize, divisor: f32) -> Result<()> {
    const OP: &str = "time_embed";
    let dtype = out.float(OP, "out")?;
    let [steps, batch] = times.dims(OP, "times")?;
    times.expect(OP, "times", DType::F32, [steps, batch])?;
    out.expect(OP, "out", dtype, [batch, 2 * FREQUENCIES])?;
    if step >= steps {
        return Err(Error::argument(OP, "step", format!("less than {steps}"), step));
    }
    if divisor.is_nan() || divisor <= 0.0 {
        return Err(Error::argument(OP, "divisor", "more than 0", divisor));
    }
    let params = Params { batch: batch as u32, step: step as u32, divisor };
    Call::new(&TIME_EMBED, gate, &mut [out], &[times])
        .params(&params)
        .work([1, 1, batch])
        .row_lengths(&[2 * FREQUENCIES])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(0), rows::<I>(args, part))
}

#[inline(always)]
fn rows<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, _, rows]): &Tile) {
    let p: Params = args.params();
    for b in rows.clone() {
        let t = args.read::<f32>(0)[(p.step * p.batch) as usize + b];
        // SAFETY: a row belongs to one block.
        let out = unsafe { args.write::<T>(0, b * 2 * FREQUENCIES..(b + 1) * 2 * FREQUENCIES) };
        let (cos, sin) = out.split_at_mut(FREQUENCIES);
        for (k, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
            // Rounded to f32 at each step as the reference rounds: at t = 1000 the last place of an exponent is
            // half a thousandth of a radian.
            let exponent = -(LN_10000 * k as f32) / p.divisor;
            let angle = f64::from(t * libm::exp(f64::from(exponent)) as f32);
            *cos = T::from_f32(libm::cos(angle) as f32);
            *sin = T::from_f32(libm::sin(angle) as f32);
        }
    }
}
