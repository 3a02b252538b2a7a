//! What verbs that make clips share: which model, how, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use steep::cache::Policy;
use steep::cases::ALL;
use steep::evaluate::calibrate::Binding;
use steep::model::{Checkpoint, Condition, Dit, Footprint, Model, RunSize, Source, TensorFile};
use steep::sample::{Method, Spacing};
use steep::{DType, Device, Error, Generate, Result, generate, input, plain};

use super::{hub, memory, progress};

/// Which model.
#[derive(clap::Args)]
pub struct Weights {
    #[arg(long, value_name = "MODEL", help = model_help())]
    model: Option<PathBuf>,
    /// What the checkpoint does not say about itself, JSON or a file of it: for example '{"heads": 16}'
    #[arg(long, value_name = "JSON", requires = "model")]
    config: Option<String>,
}

impl Weights {
    pub fn checkpoint(&self, quiet: bool) -> Result<Checkpoint> {
        checkpoint(self.model.as_deref(), self.config.as_deref(), quiet)
    }
}

/// The checkpoint at a path or on the hub, or the shipped one.
pub fn checkpoint(model: Option<&Path>, config: Option<&str>, quiet: bool) -> Result<Checkpoint> {
    Checkpoint::configured(source(model, quiet)?, described(config)?.as_deref())
}

/// The files of a checkpoint.
pub fn source(model: Option<&Path>, quiet: bool) -> Result<Source> {
    match model {
        None => Ok(TensorFile::shipped()?.into()),
        Some(model) => hub::open(model, quiet),
    }
}

/// What `--model` takes.
pub fn model_help() -> String {
    format!(
        "Checkpoint to load: a safetensors or PyTorch file, the index of several, a folder of diffusers', or one of the \
         Hugging Face hub, {}. Without it, the shipped model",
        hub::FORM
    )
}

/// What `--config` says: itself, or a file's text.
pub fn described(config: Option<&str>) -> Result<Option<String>> {
    config
        .map(|text| match text.trim_start().starts_with('{') {
            true => Ok(text.into()),
            false => input::read_text(Path::new(text), "JSON, or a file of it"),
        })
        .transpose()
}

#[derive(clap::Args)]
pub struct Setup {
    #[command(flatten)]
    weights: Weights,
    /// Denoising steps
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub steps: usize,
    /// g in u + g·(c − u); 1 does without the unconditional half
    #[arg(long, value_name = "G", default_value_t = 3.0, allow_negative_numbers = true)]
    pub guidance: f32,
    /// How predictions move the clip: first-order (Euler, DDIM); ab2, ab3, ab4 (Adams-Bashforth, PLMS), which make each
    /// update of as many predictions; or ddpm, whose steps add noise of the variance that the model says
    #[arg(long, value_name = "NAME", default_value_t)]
    pub sampler: Method,
    /// Which times the steps of a model that predicts noise have: trailing begins at the noise that is drawn, linspace
    /// takes both ends, leading is what DDIM's code and the paper's runs have
    #[arg(long, value_name = "NAME", default_value_t)]
    pub spacing: Spacing,
    #[arg(long, value_name = "NAME", default_value = "auto", help = device_help())]
    pub device: String,
    /// Type of matrix operands: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub dtype: DType,
}

impl Setup {
    /// What `--model` names.
    pub fn model(&self) -> Option<&Path> {
        self.weights.model.as_deref()
    }

    pub fn checkpoint(&self, quiet: bool) -> Result<Checkpoint> {
        self.weights.checkpoint(quiet)
    }

    pub async fn device(&self) -> Result<Device> {
        open(&self.device).await
    }

    /// One clip at a time, without a cache.
    pub fn size(&self) -> RunSize {
        let guided = self.guidance != 1.0;
        RunSize { clips: 1, guided, steps: self.steps, dtype: self.dtype, residuals: 0, signals: 0 }
    }

    /// The memory of that, with what the most demanding of these caches keeps.
    pub fn footprint(&self, checkpoint: &Checkpoint, caches: &[Policy]) -> Footprint {
        let most = |of: fn(&Policy) -> usize| caches.iter().map(of).max().unwrap_or(0);
        let run =
            RunSize { residuals: most(Policy::residuals), signals: most(Policy::signals), ..self.size() };
        checkpoint.config().footprint(run)
    }

    /// Loads the model, if it and its runs fit into memory. `say` takes what that will be.
    pub fn load(
        &self,
        device: &Device,
        checkpoint: &Checkpoint,
        footprint: &Footprint,
        say: impl FnOnce(&str) -> Result<()>,
    ) -> Result<Dit> {
        memory::check(footprint, device)?;
        say(&memory::plan(footprint, device))?;
        Dit::load(device, checkpoint, self.dtype)
    }

    /// One clip, without a cache.
    pub fn clip<'m>(&self, model: &'m Dit, class: impl Into<Class>, seed: u64) -> Generate<'m> {
        generate(model)
            .condition(class.into().condition(model))
            .seed(seed)
            .steps(self.steps)
            .guidance(self.guidance)
            .sampler(self.sampler)
            .spacing(self.spacing)
    }

    pub fn binding(&self, checkpoint: &Checkpoint) -> Result<Binding> {
        let binding = Binding::new(checkpoint, self.spacing, self.steps, self.guidance, self.dtype)?;
        Ok(binding.sampler(self.sampler))
    }
}

/// The seed of noise. None is drawn: a clip that cannot be made again cannot be compared.
pub fn seed(text: &str) -> Result<u64> {
    let wanted = format!("0 to {}; no seed is drawn here, --seed $RANDOM has the shell draw one", u64::MAX);
    text.parse().map_err(|_| Error::setting(format!("--seed {text}"), wanted))
}

/// What --device takes.
pub fn device_help() -> String {
    format!(
        "Where to run: {}. `auto` is the best there is, N counts as `steep devices` lists them, and `core` keeps to what \
         every browser has",
        Device::NAMES
    )
}

/// The same for verbs that go through several.
pub fn devices_help() -> String {
    format!("{}. Several with commas between", device_help())
}

/// Checks that there is an op, or something besides, of this name.
pub fn check_op(name: Option<&str>, besides: &[&str]) -> Result<()> {
    let names: Vec<&str> = ALL.iter().map(|op| op.kernel.name).chain(besides.iter().copied()).collect();
    match name {
        Some(op) if !names.contains(&op) => Err(Error::setting(format!("op `{op}`"), names.join(", "))),
        _ => Ok(()),
    }
}

/// Opens a device by name, and says so where it takes long.
pub async fn open(name: &str) -> Result<Device> {
    let _busy = progress::busy("opening the device", false);
    Device::open(name).await
}

/// What a clip shows: one of the model's classes, or none of them.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    Number(usize),
    None,
}

impl Class {
    fn condition(self, model: &Dit) -> Condition {
        match self {
            Class::Number(n) => Condition::class(n),
            Class::None => model.unconditional(1),
        }
    }
}

impl From<usize> for Class {
    fn from(n: usize) -> Class {
        Class::Number(n)
    }
}

/// What `--class` asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    Class(Class),
    Named(String),
}

impl Asked {
    /// The class of this model. A model without classes shows none of them, whether that is said or not.
    pub fn of(&self, checkpoint: &Checkpoint) -> Result<Class> {
        let classes = checkpoint.config().classes;
        match self {
            Asked::Class(Class::Number(0) | Class::None) if classes == 0 => Ok(Class::None),
            _ if classes == 0 => {
                Err(Error::setting(format!("class {self}"), "none: this model has no classes"))
            }
            Asked::Class(Class::Number(n)) if *n >= classes => {
                Err(Error::setting(format!("class {n}"), format!("0 to {}, or none", classes - 1)))
            }
            Asked::Class(class) => Ok(*class),
            Asked::Named(name) => checkpoint.class_named(name).map(Class::Number),
        }
    }
}

impl FromStr for Asked {
    type Err = Error;

    fn from_str(text: &str) -> Result<Asked> {
        let is_name = text.chars().any(char::is_alphabetic) && !text.starts_with('-');
        match (text, text.parse()) {
            ("none", _) => Ok(Asked::Class(Class::None)),
            (_, Ok(n)) => Ok(Asked::Class(Class::Number(n))),
            _ if is_name => Ok(Asked::Named(text.into())),
            _ => {
                Err(Error::setting(format!("--class '{text}'"), "the number or the name of a class, or none"))
            }
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Class(class) => class.fmt(f),
            Asked::Named(name) => f.write_str(&plain(name)),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Number(n) => n.fmt(f),
            Class::None => f.write_str("none"),
        }
    }
}
