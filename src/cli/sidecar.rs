//! The calibration that belongs to a model: found, checked, and what it changes said.

use std::path::PathBuf;

use serde_json::{Value, json};
use steep::cache::{Given, Spec};
use steep::evaluate::calibrate::{Calibration, given};
use steep::model::Checkpoint;
use steep::{Error, Result};

use super::setup::Setup;

/// What a run's `tea` policies that name no coefficients are given.
pub struct Sidecar(Option<Calibration>);

impl Sidecar {
    /// The calibration of `checkpoint`, for `specs` if any of them wants one.
    ///
    /// `MODEL.teacache.json` beside `MODEL.safetensors`; the shipped model's comes with the program. One of other weights is
    /// an error, other settings than those it was made at are a warning. Without one, distances count as they are.
    pub fn find(checkpoint: &Checkpoint, specs: &[&Spec], setup: &Setup) -> Result<Sidecar> {
        if !specs.iter().any(|spec| spec.takes_calibration()) {
            return Ok(Sidecar(None));
        }
        let (place, calibration) = match path(checkpoint) {
            None => (PathBuf::from("the shipped calibration"), Calibration::shipped()?),
            Some(path) if path.exists() => {
                let calibration = Calibration::open(&path)?;
                (path, calibration)
            }
            Some(_) => return Ok(Sidecar(None)),
        };
        let warnings =
            calibration.check(&setup.binding(checkpoint)?).map_err(|why| Error::file(&place, why))?;
        for warning in warnings {
            super::complain(&format!("warning: {}: {warning}", place.display()));
        }
        Ok(Sidecar(Some(calibration)))
    }

    /// What a policy is given: the calibration if it wants one, the table that it names.
    pub fn given(&self, spec: &Spec) -> Result<Given> {
        given(spec, self.0.as_ref())
    }

    /// Coefficients and range, or null.
    pub fn coefficients(&self) -> Value {
        self.0
            .as_ref()
            .map_or(Value::Null, |c| json!({ "coefficients": c.fit.coefficients, "range": c.fit.range }))
    }
}

/// Where a model's calibration lies; None for the shipped model.
pub fn path(checkpoint: &Checkpoint) -> Option<PathBuf> {
    checkpoint.path().map(|path| path.with_extension("teacache.json"))
}
