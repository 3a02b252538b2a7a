//! `z = keep·z + add·v`: the sampler's update from a prediction that has the clip's layout already.

use bytemuck::{Pod, Zeroable};

use super::Update;
use super::shared::TILE;
use crate::device::cpu::{Block, Launch};
use crate::device::simd::{Isa, mul_add};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, multiple_of, wgsl};
use crate::{DType, Result, Tensor};

/// See [`advance`].
pub static ADVANCE: Kernel = Kernel {
    name: "advance",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[Source::wgsl("naive", &[wgsl!("advance")], [1, 1, TILE]).with(&[("TILE", TILE as u32)])],
    cuda: &[Source::cuda("vec8", cu!("advance"), 256, [1, 1, 2048])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    keep: f32,
    add: f32,
}

/// `z = keep·z + add·v`, both f32 and of one shape; `update.guidance` is not looked at: v is the guided prediction.
///
/// What [`denoise`](super::denoise()) does to the model's tokens, for a prediction that no head made.
pub fn advance(gate: Gate<'_>, z: &mut Tensor, v: &Tensor, update: Update) -> Result<()> {
    const OP: &str = "advance";
    z.expect(OP, "z", DType::F32, *z.shape())?;
    v.expect(OP, "v", DType::F32, *z.shape())?;
    let elements = z.elements();
    let params = Params { elements: elements as u32, keep: update.keep, add: update.add };
    Call {
        kernel: &ADVANCE,
        writes: &mut [z],
        reads: &[v],
        params: bytemuck::bytes_of(&params),
        work: [1, 1, elements],
        multiple: multiple_of(&[elements]),
        constants: &[],
        gate,
    }
    .run()
}

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, Block([_, _, span]): &Block) {
    let p: Params = l.params();
    // SAFETY: blocks are disjoint ranges of the clip.
    let z = unsafe { l.write::<f32>(0, span.clone()) };
    for (z, v) in z.iter_mut().zip(&l.read::<f32>(0)[span.clone()]) {
        *z = mul_add::<I>(p.add, *v, p.keep * *z);
    }
}
