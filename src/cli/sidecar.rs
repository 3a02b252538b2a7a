//! The files that belong to a model, calibrations and MagCache's tables: found, checked, and what was used said.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::Digest;
use steep::cache::{Given, Spec};
use steep::evaluate::calibrate::{Calibration, Magnitudes, fit};
use steep::model::{Checkpoint, SHIPPED_CALIBRATION};
use steep::{Error, Result, input, plain};

use super::setup::Setup;

/// The option that names a calibration.
#[derive(clap::Args)]
pub struct Named {
    /// Calibration of a `tea` cache that names no coefficients. Without this option it is MODEL.teacache.json beside the
    /// model. For the shipped model and for one of the hub it is the file of that name in the current folder, or else, for the
    /// shipped one, the calibration that comes with the program
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

/// What a run's policies are given that belongs to the model.
pub struct Sidecar {
    calibration: Option<(Source, Calibration)>,
    /// By the file that a policy names.
    tables: Vec<(PathBuf, Source, Vec<f64>)>,
}

/// Where something came from.
pub struct Source {
    /// None is what comes with the program.
    file: Option<PathBuf>,
    sha256: String,
}

impl Source {
    fn read(file: &Path, wanted: &str) -> Result<(Source, String)> {
        let text = input::read_text(file, wanted)?;
        Ok((Source { file: Some(file.into()), sha256: sha256(&text) }, text))
    }

    fn shipped() -> (Source, String) {
        (Source { file: None, sha256: sha256(SHIPPED_CALIBRATION) }, SHIPPED_CALIBRATION.into())
    }

    fn place(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| "the shipped calibration".into())
    }

    /// The one rule for all files: other weights are refused, other settings are warned of.
    fn heed(&self, checked: Result<Vec<String>, String>) -> Result<()> {
        for warning in checked.map_err(|why| Error::file(self.place(), why))? {
            super::complain(&format!("warning: {}: {warning}", self.place().display()));
        }
        Ok(())
    }

    /// For people: the file and the beginning of its hash.
    pub fn words(&self) -> String {
        let short: String = self.sha256.chars().take(12).collect();
        plain(&format!("{} (sha256 {short}…)", self.place().display()))
    }

    /// For programs: `from`, the file or `shipped`, and its `sha256`.
    pub fn json(&self) -> Value {
        let from = self.file.as_ref().map_or("shipped".into(), |file| file.display().to_string());
        json!({ "from": from, "sha256": self.sha256 })
    }
}

fn sha256(text: &str) -> String {
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sidecar {
    /// Reads what `specs` want: the calibration of `checkpoint` and the tables that they name.
    ///
    /// Without a calibration, distances count as they are.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is of other weights, or if a calibration is named and nothing takes it.
    pub fn find(checkpoint: &Checkpoint, specs: &[&Spec], setup: &Setup, named: &Named) -> Result<Sidecar> {
        let run = setup.binding(checkpoint)?;
        let takes = specs.iter().any(|spec| spec.takes_calibration());
        let (wanted, beside) = ("a calibration", path(checkpoint));
        let found = match &named.calibration {
            Some(file) if !takes => {
                let what = format!("--calibration {}", file.display());
                return Err(Error::setting(what, "a `tea` cache that names no coefficients"));
            }
            Some(file) => Some(Source::read(file, wanted)?),
            None if !takes => None,
            None if beside.exists() => Some(Source::read(&beside, wanted)?),
            None if checkpoint.path().is_none() => Some(Source::shipped()),
            None => None,
        };
        let mut sidecar = Sidecar { calibration: None, tables: vec![] };
        if let Some((source, text)) = found {
            let calibration = Calibration::parse(&text).map_err(|why| Error::file(source.place(), why))?;
            source.heed(calibration.check(&run))?;
            sidecar.calibration = Some((source, calibration));
        }
        for file in specs.iter().filter_map(|spec| spec.file()) {
            if sidecar.tables.iter().any(|(known, ..)| known == file) {
                continue;
            }
            let (source, text) = Source::read(file, "magnitudes")?;
            let table = Magnitudes::parse(&text).map_err(|why| Error::file(file, why))?;
            source.heed(table.check(&run))?;
            sidecar.tables.push((file.into(), source, table.values));
        }
        Ok(sidecar)
    }

    /// What a policy is given: the calibration if it wants one, the table that it names.
    pub fn given(&self, spec: &Spec) -> Given {
        let calibration = self.calibration.as_ref().map(|(_, calibration)| calibration);
        let magnitudes = self.table(spec).map(|(_, _, values)| values.clone());
        Given { fit: fit(spec, calibration), magnitudes }
    }

    /// Where that came from. None if the policy takes nothing, or if there is no calibration.
    pub fn source(&self, spec: &Spec) -> Option<&Source> {
        let calibration = self.calibration.as_ref().filter(|_| spec.takes_calibration());
        calibration.map(|(source, _)| source).or(self.table(spec).map(|(_, source, _)| source))
    }

    fn table(&self, spec: &Spec) -> Option<&(PathBuf, Source, Vec<f64>)> {
        self.tables.iter().find(|(file, ..)| Some(file.as_path()) == spec.file())
    }

    /// Coefficients and range, or null.
    pub fn coefficients(&self) -> Value {
        let calibration = self.calibration.as_ref().map(|(_, calibration)| &calibration.fit);
        calibration.map_or(Value::Null, |fit| json!({ "coefficients": fit.coefficients, "range": fit.range }))
    }
}

/// Where a model's calibration is written to and looked for: beside the model, or for the shipped model and for one of the
/// hub in the current folder.
pub fn path(checkpoint: &Checkpoint) -> PathBuf {
    match checkpoint.home() {
        Some(path) => path.with_extension("teacache.json"),
        None => format!("{}.teacache.json", checkpoint.name()).into(),
    }
}
