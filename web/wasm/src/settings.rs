//! What a page asks for.

use serde::Deserialize;
use serde_json::Value;
use steep::cache::{Given, Spec};
use steep::evaluate::calibrate::{Calibration, fit};
use steep::model::{Checkpoint, Condition, Dit, Model};
use steep::sample::{GateMode, Method, Spacing};
use steep::{Error, Generate, Result, generate};

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

impl Settings {
    pub fn parse(text: &str) -> Result<Settings> {
        serde_json::from_str(text)
            .map_err(|e| Error::setting("settings", format!("a JSON object of known names: {e}")))
    }

    pub fn mode(&self) -> Result<GateMode> {
        match self.gate.as_str() {
            "host" => Ok(GateMode::Host),
            "device" => Ok(GateMode::Device),
            other => Err(Error::setting(format!("gate {other:?}"), "host or device")),
        }
    }

    pub fn spec(&self) -> Result<Spec> {
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

    /// The run that these settings describe.
    pub fn generate<'m>(
        &self,
        model: &'m Dit,
        checkpoint: &Checkpoint,
        calibration: Option<&Calibration>,
    ) -> Result<Generate<'m>> {
        let spec = self.spec()?;
        spec.check(self.steps)?;
        let calibration = calibration.filter(|_| spec.takes_calibration());
        let _ = checkpoint;
        let given = Given { fit: fit(&spec, calibration), magnitudes: None };
        Ok(generate(model)
            .condition(self.condition(model)?)
            .seed(self.seed)
            .steps(self.steps)
            .guidance(self.guidance)
            .sampler(self.method.parse()?)
            .spacing(self.spacing.parse()?)
            .gate(self.mode()?)
            .cache(spec)
            .given(given))
    }
}
