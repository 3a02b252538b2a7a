//! What verbs that make clips share: which model, how, and where.

use std::path::PathBuf;

use steep::evaluate::calibrate::Binding;
use steep::model::{Checkpoint, Dit};
use steep::sample::Method;
use steep::{DType, Device, Generate, Result, generate};

#[derive(clap::Args)]
pub struct Setup {
    /// Checkpoint to load (safetensors); without it, the shipped model
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Denoising steps
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub steps: usize,
    /// g in u + g·(c − u); 1 does without the unconditional half
    #[arg(long, value_name = "G", default_value_t = 3.0, allow_negative_numbers = true)]
    pub guidance: f32,
    /// How predictions move the clip: first-order (Euler, DDIM), or ab2, ab3, ab4 (Adams-Bashforth, PLMS), which make
    /// each update of as many predictions
    #[arg(long, value_name = "NAME", default_value_t)]
    pub sampler: Method,
    /// Where to run, as `devices` names it; `auto` is the best there is
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// Type of matrix operands: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub dtype: DType,
}

impl Setup {
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open_or_shipped(self.model.as_deref())
    }

    pub async fn device(&self) -> Result<Device> {
        Device::open(&self.device).await
    }

    pub fn load(&self, device: &Device, checkpoint: &Checkpoint) -> Result<Dit> {
        Dit::load(device, checkpoint, self.dtype)
    }

    /// One clip, without a cache.
    pub fn clip<'m>(&self, model: &'m Dit, class: usize, seed: u64) -> Generate<'m> {
        generate(model)
            .class(class)
            .seed(seed)
            .steps(self.steps)
            .guidance(self.guidance)
            .sampler(self.sampler)
    }

    pub fn binding(&self, checkpoint: &Checkpoint) -> Binding {
        Binding::new(checkpoint, self.steps, self.guidance, self.dtype).sampler(self.sampler)
    }
}
