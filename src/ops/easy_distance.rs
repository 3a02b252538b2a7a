//! EasyCache's distance from the sums it is made of, as one pair for `tea_gate` to divide.

use std::borrow::Borrow;

use bytemuck::{Pod, Zeroable};

use super::shared::check_partials;
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Result, Tensor};

/// See [`easy_distance`].
pub static EASY_DISTANCE: Kernel = Kernel {
    name: "easy_distance",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1]),
    wgsl: &[Source::wgsl("naive", wgsl!("easy_distance"), [1, 1, 1])],
    cuda: &[Source::cuda("block", cu!("easy_distance"), 256, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    partials: u32,
}

/// What [`easy_distance`] puts together, each f32 [P, 2] as [`rel_l1`](super::rel_l1()) writes it. They are owned or borrowed.
pub struct EasySums<T = Tensor> {
    /// The clip, from the step before to this one: Σ|x − x'|.
    pub moved: T,
    /// The clip, from the computed step before the last one to that one: Σ|x − x"|.
    pub inputs: T,
    /// The output, likewise: Σ|v − v"|.
    pub outputs: T,
    /// The output of the last computed step, as the size it is compared with: Σ|v|.
    pub sizes: T,
}

/// `pair = (Σ|v − v"|·Σ|x − x'|, Σ|x − x"|·Σ|v|)`, whose quotient is the relative change of the output that is to be
/// expected of this step (arXiv 2507.02860, equations 4 to 6): its rate of change times how far the clip has moved.
///
/// - `pair`: f32 [1, 2]
pub fn easy_distance<T: Borrow<Tensor>>(gate: Gate<'_>, pair: &mut Tensor, sums: &EasySums<T>) -> Result<()> {
    const OP: &str = "easy_distance";
    let [moved, inputs, outputs, sizes] =
        [&sums.moved, &sums.inputs, &sums.outputs, &sums.sizes].map(|t| t.borrow());
    pair.expect(OP, "pair", DType::F32, [1, 2])?;
    let runs = check_partials(OP, moved, 2)?;
    for (name, t) in [("inputs", inputs), ("outputs", outputs), ("sizes", sizes)] {
        t.expect(OP, name, DType::F32, [runs, 2])?;
    }
    let params = Params { partials: runs as u32 };
    Call::new(&EASY_DISTANCE, gate, &mut [pair], &[moved, inputs, outputs, sizes])
        .params(&params)
        .work([1, 1, 1])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, _: &Tile) {
    // The size of what did not move stands in the second column.
    let [moved, inputs, outputs, size] = [(0, 0), (1, 0), (2, 0), (3, 1)].map(|(i, column)| {
        let column = args.read::<f32>(i).iter().skip(column).step_by(2);
        column.map(|x| f64::from(*x)).sum::<f64>()
    });
    // SAFETY: there is one block.
    let pair = unsafe { args.write::<f32>(0, 0..2) };
    pair.copy_from_slice(&[(outputs * moved) as f32, (inputs * size) as f32]);
}
