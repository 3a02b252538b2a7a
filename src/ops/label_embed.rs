//! `c = time + table[label]`, and SiLU of it.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, by_dtype, silu};
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`label_embed`].
pub static LABEL_EMBED: Kernel = Kernel {
    name: "label_embed",
    cpu: cpu_sources!(cpu, tile: [1, 1, 16]),
    wgsl: &[Source::wgsl("naive", wgsl!("label_embed"), [1, 1, 2]).with(&[("TILE", 2)])],
    cuda: &[Source::cuda("row", cu!("label_embed"), 128, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    dim: u32,
    rows: u32,
    batch: u32,
}

/// `c = time + table[label]` and `act = SiLU(c)`. The condition enters the network through SiLU alone, so that is
/// applied here once and not in every block.
///
/// - `c`: f32 [B, d]
/// - `act`: T [B, d]
/// - `time`: f32 [B, d]
/// - `table`: f32 [classes + 1, d]; the last row means "no class"
/// - `labels`: `u32 [B]`; a label past the table counts as "no class"
pub fn label_embed(
    gate: Gate<'_>,
    c: &mut Tensor,
    act: &mut Tensor,
    time: &Tensor,
    table: &Tensor,
    labels: &Tensor,
) -> Result<()> {
    const OP: &str = "label_embed";
    let [batch, dim] = c.dims(OP, "c")?;
    let [rows, _] = table.dims(OP, "table")?;
    let dtype = act.float(OP, "act")?;
    c.expect(OP, "c", DType::F32, [batch, dim])?;
    act.expect(OP, "act", dtype, [batch, dim])?;
    time.expect(OP, "time", DType::F32, [batch, dim])?;
    table.expect(OP, "table", DType::F32, [rows, dim])?;
    labels.expect(OP, "labels", DType::U32, [batch])?;
    if rows == 0 {
        return Err(Error::argument(OP, "table", "at least one row", format!("{table:?}")));
    }
    let params = Params { dim: dim as u32, rows: rows as u32, batch: batch as u32 };
    Call::new(&LABEL_EMBED, gate, &mut [c, act], &[time, table, labels])
        .params(&params)
        .work([1, 1, batch])
        .row_lengths(&[dim])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(1), rows::<I>(args, part))
}

#[inline(always)]
fn rows<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, _, rows]): &Tile) {
    let p: Params = args.params();
    let d = p.dim as usize;
    for b in rows.clone() {
        let label = args.read::<u32>(2)[b].min(p.rows - 1) as usize;
        let time = &args.read::<f32>(0)[b * d..(b + 1) * d];
        let table = &args.read::<f32>(1)[label * d..(label + 1) * d];
        // SAFETY: a row belongs to one block.
        let (c, act) =
            unsafe { (args.write::<f32>(0, b * d..(b + 1) * d), args.write::<T>(1, b * d..(b + 1) * d)) };
        for j in 0..d {
            c[j] = time[j] + table[j];
            act[j] = T::from_f32(silu::<I>(c[j]));
        }
    }
}
