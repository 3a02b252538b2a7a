//! What computed steps leave for the skipped ones.

use super::batch::Batch;
use crate::cache::StandIn;
use crate::device::Gate;
use crate::ops::{PARTIALS, axpby, rel_l1, residual_extrapolate};
use crate::{DType, Result, Tensor};

/// The residual, what the span made of its input: R = out − in (arXiv 2411.19108, section 3.4). It belongs to one run,
/// never to the model.
pub(crate) struct Kept {
    pub residual: Tensor,
    /// That of the computed step before, where skipped steps extrapolate; and the sums that moving it leaves.
    before: Option<(Tensor, Tensor)>,
}

impl Kept {
    pub fn new(like: &Tensor, stand_in: StandIn) -> Result<Kept> {
        let kept = || Tensor::zeros(like.device(), DType::F32, *like.shape());
        let sums = || Tensor::zeros(like.device(), DType::F32, [PARTIALS, 2]);
        let before = match stand_in {
            StandIn::Residual => None,
            StandIn::Extrapolated => Some((kept()?, sums()?)),
        };
        Ok(Kept { residual: kept()?, before })
    }

    /// R = out − in.
    pub fn store(&mut self, gate: Gate<'_>, batch: &mut Batch<'_>) -> Result<()> {
        if let Some((before, sums)) = &mut self.before {
            // `before` moves on to what is about to be replaced; nobody asks how far that was.
            rel_l1(gate, before, sums, &self.residual)?;
        }
        let (from, to) = batch.ends();
        axpby(gate, &mut self.residual, (1.0, Some(to)), (-1.0, from))
    }

    /// out = in + R, or with the change of R carried on. `past` is the trace, and which of its rows is this step's.
    pub fn stand_in(&self, gate: Gate<'_>, batch: &mut Batch<'_>, past: (&Tensor, usize)) -> Result<()> {
        let (from, to) = batch.ends();
        match &self.before {
            None => axpby(gate, to, (1.0, Some(from)), (1.0, &self.residual)),
            Some((before, _)) => residual_extrapolate(gate, to, from, &self.residual, before, past),
        }
    }
}
