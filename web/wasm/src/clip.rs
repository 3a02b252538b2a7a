//! A clip that was made.

use std::time::Duration;

use serde_json::{Value, json};
use steep::Error;
use steep::cache::Rule;
use steep::evaluate::metrics;
use steep::plot::{self, StepBar};
use steep::sample::Run;
use steep::video::Video;
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
    pub(crate) fn new(steep: &Steep, settings: &Settings, run: Run, wall: Duration) -> Result<Clip> {
        let video = run.videos()?.pop().ok_or_else(|| Error::setting("no clip", "one"))?;
        let generate = settings.generate(&steep.model, &steep.checkpoint, steep.calibration.as_ref())?;
        let threshold = match generate.policy()?.rule {
            Rule::Threshold(rule) => Some(rule.threshold),
            _ => None,
        };
        let bars: Vec<StepBar> = run
            .steps
            .iter()
            .map(|r| StepBar {
                decision: r.step.decision.letter(),
                distance: r.step.distance,
                accumulated: r.step.accumulated,
            })
            .collect();
        let title = format!(
            "{}, {}: {} of {} steps computed",
            steep.checkpoint.name(),
            settings.cache,
            run.computed(),
            bars.len()
        );
        let steps: Value = run
            .steps
            .iter()
            .enumerate()
            .map(|(i, r)| {
                json!({
                    "i": i,
                    "d": r.step.distance,
                    "rescaled": r.step.rescaled,
                    "acc": r.step.accumulated,
                    "decision": r.step.decision.letter().to_string(),
                    "t": r.time,
                    "ms": r.ms,
                })
            })
            .collect();
        let record = json!({
            "device": steep.device.describe(),
            "model": steep.checkpoint.name(),
            "class": settings.class,
            "cache": settings.spec()?.to_string(),
            "seed": settings.seed,
            "guidance": settings.guidance,
            "gate": settings.gate,
            "steps": steps,
            "computed": run.computed(),
            "skipped": run.steps.len() - run.computed(),
            "wall_ms": 1e3 * wall.as_secs_f64(),
        });
        Ok(Clip { video, record: record.to_string(), skip_map: plot::skip_map(&title, &bars, threshold) })
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

    /// In dB, how near the other clip is; infinite where they are equal.
    pub fn psnr(&self, other: &Clip) -> Result<f64> {
        Ok(metrics::psnr(&self.video, &other.video)?)
    }

    /// Structural similarity with the other clip, 1 where they are equal.
    pub fn ssim(&self, other: &Clip) -> Result<f64> {
        Ok(metrics::ssim(&self.video, &other.video)?)
    }
}
