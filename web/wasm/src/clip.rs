//! A clip that was made.

use std::time::Duration;

use serde_json::{Value, json};
use steep::cache::{Rule, doubts};
use steep::evaluate::metrics;
use steep::sample::Run;
use steep::video::Video;
use steep::{Error, Generate};
use wasm_bindgen::prelude::*;

use crate::settings::Settings;
use crate::{Result, Steep};

/// A finished clip and the run that made it.
#[wasm_bindgen]
pub struct Clip {
    video: Video,
    record: String,
    skip_map: String,
}

/// Frames a second in a picture.
const FPS: u32 = 8;

impl Clip {
    pub(crate) fn new(
        steep: &Steep,
        settings: &Settings,
        (generate, mut warnings): (&Generate<'_>, Vec<String>),
        run: Run,
        wall: Duration,
    ) -> Result<Clip> {
        let video = run.videos()?.pop().ok_or_else(|| Error::setting("no clip", "one"))?;
        let (name, rule) = (steep.checkpoint.name(), generate.policy()?.rule);
        let threshold = match &rule {
            Rule::Threshold(rule) => Some(rule.threshold),
            _ => None,
        };
        warnings.extend(doubts(&rule, &run.trace()).iter().map(ToString::to_string));
        let mut record = generate.settings(&name)?;
        record["device"] = json!(steep.device.describe());
        record["gate"] = json!(settings.gate);
        let Value::Object(steps) = run.json() else { unreachable!("an object") };
        for (name, value) in steps {
            record[name] = value;
        }
        record["wall_ms"] = json!(1e3 * wall.as_secs_f64());
        record["warnings"] = json!(warnings);
        let skip_map = run.skip_map(&format!("{name}, {}", settings.cache), threshold);
        Ok(Clip { video, record: record.to_string(), skip_map })
    }
}

#[wasm_bindgen]
impl Clip {
    /// The run, as `steep generate --json` writes it.
    pub fn record(&self) -> String {
        self.record.clone()
    }

    /// Grey bytes, F·H·W; or RGB, F·H·W·3.
    pub fn frames(&self) -> Result<Vec<u8>> {
        let [frames, ..] = self.video.shape();
        let frames = (0..frames).map(|frame| self.video.pixels(frame)).collect::<steep::Result<Vec<_>>>()?;
        Ok(frames.concat())
    }

    /// The values, f32 [F, C, H, W], nominally from -1 to 1.
    pub fn values(&self) -> Vec<f32> {
        self.video.data.clone()
    }

    /// An animated GIF, magnified.
    pub fn gif(&self, scale: usize) -> Result<Vec<u8>> {
        Ok(self.video.picture(scale)?.gif(FPS)?)
    }

    /// An animated PNG, magnified.
    pub fn apng(&self, scale: usize) -> Result<Vec<u8>> {
        Ok(self.video.picture(scale)?.apng(FPS)?)
    }

    /// Distances, sums and decisions of all steps, as SVG.
    pub fn skip_map(&self) -> String {
        self.skip_map.clone()
    }

    /// In dB, how near the other clip is; 100 where they are equal.
    pub fn psnr(&self, other: &Clip) -> Result<f64> {
        Ok(metrics::psnr(&self.video, &other.video)?)
    }

    /// Structural similarity with the other clip, 1 where they are equal.
    pub fn ssim(&self, other: &Clip) -> Result<f64> {
        Ok(metrics::ssim(&self.video, &other.video)?)
    }
}
