//! `x[b, f, n, :] += table[f, :]`: tells frames apart before the first temporal block.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{DType, Result, Tensor};

/// See [`temporal_embed`].
pub static TEMPORAL_EMBED: Kernel = Kernel {
    name: "temporal_embed",
    cpu: cpu_sources!(cpu, tile: [1, 1, 64]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/temporal_embed"), [1, 1, 16])
            .with(&[("TILE", 16)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", wgsl!("temporal_embed"), [1, 1, 16])
            .with(&[("TILE", 16), ("WG", 256), ("WIDTH", 64)])
            .multiple(4),
        Source::wgsl("naive", wgsl!("ladder/temporal_embed_naive"), [1, 1, 16]).with(&[("TILE", 16)]),
    ],
    cuda: &[Source::cuda("row", cu!("temporal_embed"), 128, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    frames: u32,
    tokens: u32,
    dim: u32,
    rows: u32,
}

/// `x += table`, one row of the table for all tokens of a frame (Latte, arXiv 2401.03048, section 3.4).
///
/// - `x`: f32 [B, F, N, d]
/// - `table`: f32 [F, d]
pub fn temporal_embed(gate: Gate<'_>, x: &mut Tensor, table: &Tensor) -> Result<()> {
    const OP: &str = "temporal_embed";
    let [batch, frames, tokens, dim] = x.dims(OP, "x")?;
    x.expect(OP, "x", DType::F32, [batch, frames, tokens, dim])?;
    table.expect(OP, "table", DType::F32, [frames, dim])?;
    let rows = batch * frames * tokens;
    let params = Params { frames: frames as u32, tokens: tokens as u32, dim: dim as u32, rows: rows as u32 };
    Call::new(&TEMPORAL_EMBED, gate, &mut [x], &[table])
        .params(&params)
        .work([1, 1, rows])
        .row_lengths(&[dim])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, rows]): &Tile) {
    let p: Params = args.params();
    let d = p.dim as usize;
    for row in rows.clone() {
        let frame = row / p.tokens as usize % p.frames as usize;
        let table = &args.read::<f32>(0)[frame * d..(frame + 1) * d];
        // SAFETY: a row belongs to one block.
        let x = unsafe { args.write::<f32>(0, row * d..(row + 1) * d) };
        for (x, table) in x.iter_mut().zip(table) {
            *x += table;
        }
    }
}
