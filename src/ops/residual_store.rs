//! `residual = out − in`: what the transformer stack did to its input, kept for the steps that skip it.

use bytemuck::{Pod, Zeroable};

use super::shared::TILE;
use crate::device::cpu::{Block, Launch};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, multiple_of, wgsl};
use crate::{DType, Result, Tensor};

/// See [`residual_store`].
pub static RESIDUAL_STORE: Kernel = Kernel {
    name: "residual_store",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[
        Source::wgsl("cpu", &[wgsl!("cpu/lanes"), wgsl!("residual_store")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", &[wgsl!("residual_store")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32), ("WG", 256)])
            .multiple(4),
        Source::wgsl("naive", &[wgsl!("ladder/residual_store_naive")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32)]),
    ],
    cuda: &[Source::cuda("vec8", cu!("residual_store"), 256, [1, 1, 2048])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
}

/// `residual = stack_out − stack_in`, all f32 and of one shape.
pub fn residual_store(
    gate: Gate<'_>,
    residual: &mut Tensor,
    stack_out: &Tensor,
    stack_in: &Tensor,
) -> Result<()> {
    let names = ["residual", "stack_out", "stack_in"];
    elementwise(&RESIDUAL_STORE, gate, names, residual, stack_out, stack_in)
}

/// `out = f(a, b)` element by element, for the two residual ops: checks and call. `names` are those of out, a and b.
pub(super) fn elementwise(
    kernel: &'static Kernel,
    gate: Gate<'_>,
    names: [&'static str; 3],
    out: &mut Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Result<()> {
    let shape = *out.shape();
    out.expect(kernel.name, names[0], DType::F32, shape)?;
    a.expect(kernel.name, names[1], DType::F32, shape)?;
    b.expect(kernel.name, names[2], DType::F32, shape)?;
    let elements = out.elements();
    let params = Params { elements: elements as u32 };
    Call {
        kernel,
        writes: &mut [out],
        reads: &[a, b],
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
    let (a, b) = (&l.read::<f32>(0)[span.clone()], &l.read::<f32>(1)[span.clone()]);
    // SAFETY: blocks are disjoint ranges of the output.
    let out = unsafe { l.write::<f32>(0, span.clone()) };
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a - b;
    }
}
