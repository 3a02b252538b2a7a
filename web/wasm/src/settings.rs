//! What a page asks for.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use steep::cache::{Given, Spec};
use steep::evaluate::calibrate::{Binding, fit};
use steep::model::{Condition, Dit, Model};
use steep::sample::{GateMode, Method, Spacing};
use steep::{Error, Generate, Result, generate};

use crate::Steep;

/// The settings of a clip. What is left out is as in `steep generate`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A number, or `"none"`.
    pub class: Value,
    pub seed: u64,
    pub steps: usize,
    pub guidance: f32,
    pub cache: String,
    /// `host` or `device`.
    pub gate: String,
    pub method: String,
    pub spacing: String,
    /// Steps from one preview to the next; 0 is none.
    pub preview_every: usize,
    /// Whether kernels are compiled before the time counts.
    pub warm_up: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            class: Value::from(0),
            seed: 0,
            steps: 50,
            guidance: 3.0,
            cache: "off".into(),
            gate: "host".into(),
            method: Method::default().to_string(),
            spacing: Spacing::default().to_string(),
            preview_every: 0,
            warm_up: true,
        }
    }
}

/// A JSON object of the fields that `T` has.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::setting("settings", format!("a JSON object of known names: {e}")))
}

impl Settings {
    pub fn parse(text: &str) -> Result<Settings> {
        parse(text)
    }

    fn mode(&self) -> Result<GateMode> {
        match self.gate.as_str() {
            "host" => Ok(GateMode::Host),
            "device" => Ok(GateMode::Device),
            other => Err(Error::setting(format!("gate {other:?}"), "host or device")),
        }
    }

    fn spec(&self) -> Result<Spec> {
        self.cache.parse()
    }

    fn condition(&self, model: &Dit) -> Result<Condition> {
        let classes = model.config().classes;
        let number = self.class.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n < classes);
        match number {
            Some(n) => Ok(Condition::class(n)),
            None if self.class == "none" => Ok(model.unconditional(1)),
            None => Err(Error::setting(
                format!("class {}", self.class),
                format!("0 to {}, or \"none\"", classes - 1),
            )),
        }
    }

    /// The run that these settings describe, and what to warn of.
    pub fn generate<'m>(&self, steep: &'m Steep) -> Result<(Generate<'m>, Vec<String>)> {
        let (spec, model) = (self.spec()?, &steep.model);
        spec.check(self.steps)?;
        if let Some(file) = spec.file() {
            let what = format!("cache {spec}: {}", file.display());
            return Err(Error::setting(what, "a policy without a file: a browser has none"));
        }
        let (method, spacing): (Method, Spacing) = (self.method.parse()?, self.spacing.parse()?);
        let mut warnings = vec![];
        let calibration = steep.calibration.as_ref().filter(|_| spec.takes_calibration());
        if let Some(calibration) = calibration {
            let run = Binding::new(&steep.checkpoint, spacing, self.steps, self.guidance, model.dtype())?;
            let checked = calibration.check(&run.sampler(method));
            warnings = checked.map_err(|why| Error::file("the calibration", why))?;
        }
        let given = Given { fit: fit(&spec, calibration), magnitudes: None };
        let generate = generate(model)
            .condition(self.condition(model)?)
            .seed(self.seed)
            .steps(self.steps)
            .guidance(self.guidance)
            .sampler(method)
            .spacing(spacing)
            .gate(self.mode()?)
            .cache(spec)
            .given(given);
        Ok((generate, warnings))
    }
}
