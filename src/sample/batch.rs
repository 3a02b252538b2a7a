//! The clips on their way, the model at work on them, and the span of it that a skipped step leaves out.

use crate::cache::Span;
use crate::device::Gate;
use crate::model::{Config, Pass};
use crate::ops::{Update, denoise};
use crate::{DType, Error, Result, Tensor};

/// A batch on its way through the steps: what every run has, cached or not.
pub(crate) struct Batch<'m> {
    pub config: Config,
    pub pass: Box<dyn Pass + 'm>,
    /// The clips so far, f32 [Z, F, C, H, W].
    pub z: Tensor,
    span: Span,
    /// The guided prediction, f32 [Z, F, C, H, W], where the span ends with it.
    pub prediction: Option<Tensor>,
    guidance: f32,
}

impl<'m> Batch<'m> {
    pub fn new(
        config: Config,
        pass: Box<dyn Pass + 'm>,
        z: Tensor,
        span: Span,
        guidance: f32,
    ) -> Result<Batch<'m>> {
        if span == Span::OtherBlocks && config.depth < 2 {
            return Err(Error::setting("a first-block cache", "a model of at least two blocks"));
        }
        let prediction = match span {
            Span::Model => Some(Tensor::zeros(z.device(), DType::F32, *z.shape())?),
            Span::Blocks | Span::OtherBlocks => None,
        };
        Ok(Batch { config, pass, z, span, prediction, guidance })
    }

    /// What every step runs before it is decided.
    pub fn approach(&mut self, i: usize, moved: Option<&mut Tensor>) -> Result<()> {
        if self.span == Span::Model {
            return Ok(());
        }
        self.pass.embed(Gate::Open, &self.z, i)?;
        self.pass.probe(Gate::Open, moved)?;
        match self.span {
            Span::OtherBlocks => self.pass.first(Gate::Open),
            _ => Ok(()),
        }
    }

    /// What every step runs once it is decided: what the first block added is measured before positions are added.
    pub fn enter(&mut self) -> Result<()> {
        match self.span {
            Span::OtherBlocks => self.pass.place_frames(Gate::Open),
            _ => Ok(()),
        }
    }

    /// The span itself.
    pub fn span(&mut self, gate: Gate<'_>, i: usize) -> Result<()> {
        match self.span {
            Span::Blocks => self.pass.blocks(gate),
            Span::OtherBlocks => self.pass.rest(gate),
            Span::Model => {
                self.pass.evaluate(gate, &self.z, i)?;
                let Some(prediction) = &mut self.prediction else { unreachable!("the span ends with it") };
                let as_is = Update {
                    keep: 0.0,
                    add: 1.0,
                    guidance: self.guidance,
                    channels: self.config.guided_channels(),
                };
                denoise(gate, prediction, &self.pass.streams().tokens, self.config.patch, as_is)
            }
        }
    }

    /// Where the span begins and ends.
    pub fn ends(&mut self) -> (&Tensor, &mut Tensor) {
        if let Some(prediction) = &mut self.prediction {
            return (&self.z, prediction);
        }
        let streams = self.pass.streams_mut();
        let from = if self.span == Span::OtherBlocks { &streams.first } else { &streams.stack_in };
        (from, &mut streams.x)
    }

    /// What every step runs after the span, where the span does not end with the prediction.
    pub fn head(&mut self) -> Result<()> {
        match self.span {
            Span::Model => Ok(()),
            _ => self.pass.head(Gate::Open),
        }
    }
}
