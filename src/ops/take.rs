//! `out = table[index]`: one entry of a table that was computed for all steps at once.

use bytemuck::{Pod, Zeroable};

use super::shared::TILE;
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Shape, Tensor};

/// See [`take`].
pub static TAKE: Kernel = Kernel {
    name: "take",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[Source::wgsl("naive", wgsl!("take"), [1, 1, TILE]).with(&[("TILE", TILE as u32)])],
    cuda: &[Source::cuda("vec4", cu!("take"), 256, [1, 1, 1024])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    index: u32,
}

/// `out = table[index]`, both f32.
///
/// Ops that use the entry are handed a tensor that stays where it is from step to step, so that a CUDA graph of a step
/// need not change.
///
/// - `out`: any shape
/// - `table`: [S, ..], S entries of that shape
pub fn take(gate: Gate<'_>, out: &mut Tensor, table: &Tensor, index: usize) -> Result<()> {
    const OP: &str = "take";
    out.expect(OP, "out", DType::F32, *out.shape())?;
    let entries = table.shape().dims().first().copied().unwrap_or(0);
    let shape = [&[entries], out.shape().dims()].concat();
    table.expect(OP, "table", DType::F32, Shape::try_from(&shape[..])?)?;
    if index >= entries {
        return Err(Error::argument(OP, "index", format!("less than {entries}"), index));
    }
    let elements = out.elements();
    let params = Params { elements: elements as u32, index: index as u32 };
    Call::new(&TAKE, gate, &mut [out], &[table])
        .params(&params)
        .work([1, 1, elements])
        .row_lengths(&[elements])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
    let p: Params = args.params();
    let entry = &args.read::<f32>(0)[p.index as usize * p.elements as usize..];
    // SAFETY: tiles are disjoint ranges of the output.
    unsafe { args.write::<f32>(0, span.clone()) }.copy_from_slice(&entry[span.clone()]);
}
