//! steep as a page calls it, from a worker: one device with one model, and what they are asked to do.
//!
//! Settings and results are JSON texts, clips are bytes. All that is computed here is computed by the crate; this is what
//! hands it over. `web/wasm/README.md` has the whole interface.

mod clip;
mod settings;
mod watch;

use js_sys::Function;
use serde_json::{Value, json};
use steep::cache::POLICIES;
use steep::evaluate::calibrate::Calibration;
use steep::model::{Checkpoint, Dit};
use steep::{DType, Device, Error};
use wasm_bindgen::prelude::*;
use web_time::Instant;

use clip::Clip;
use settings::Settings;
use watch::Watching;

/// What every export fails with.
type Result<T> = std::result::Result<T, JsError>;

/// Must be called once before all else. `panicked` is told of a panic, in one line: after one, nothing here works any
/// more, and the page starts another worker.
#[wasm_bindgen(js_name = listen)]
pub fn listen(panicked: Function) {
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or("no reason given");
        let place = info.location().map_or(String::new(), |at| format!(" ({}:{})", at.file(), at.line()));
        let line: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let message = format!("this should not have happened: {}{place}", line.join(" "));
        // Whoever listens may be broken as well; there is nobody left to tell.
        let _ = panicked.call1(&JsValue::NULL, &message.into());
    }));
}

/// A device with a model on it.
#[wasm_bindgen]
pub struct Steep {
    device: Device,
    checkpoint: Checkpoint,
    model: Dit,
    calibration: Option<Calibration>,
}

#[wasm_bindgen]
impl Steep {
    /// Opens a device (`auto`, `wgpu` or `cpu`) and loads onto it the checkpoint that `weights` is, a safetensors file.
    /// `calibration` is the text of its `.teacache.json`, if it has one. `name` is what records call the model.
    pub async fn open(
        device: String,
        name: String,
        weights: Vec<u8>,
        calibration: Option<String>,
    ) -> Result<Steep> {
        let checkpoint = Checkpoint::from_bytes(name, weights)?;
        let parse =
            |text: String| Calibration::parse(&text).map_err(|why| Error::file("the calibration", why));
        let calibration = calibration.map(parse).transpose()?;
        let device = Device::open(&device).await?;
        let model = Dit::load(&device, &checkpoint, DType::F32)?;
        Ok(Steep { device, checkpoint, model, calibration })
    }

    /// The device and the model.
    pub fn about(&self) -> String {
        let c = self.checkpoint.config();
        let params: usize =
            self.checkpoint.tensors().iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
        json!({
            "device": self.device.name(),
            "describe": self.device.describe(),
            "gpu": self.device.is_gpu(),
            "model": {
                "name": self.checkpoint.name(),
                "frames": c.frames,
                "channels": c.channels,
                "height": c.height,
                "width": c.width,
                "classes": c.classes,
                "depth": c.depth,
                "dim": c.dim,
                "heads": c.heads,
                "patch": c.patch,
                "parameters": params,
            },
        })
        .to_string()
    }

    /// Samples a clip. See the README for `settings` and what `watch` is called with.
    pub async fn generate(&self, settings: String, watch: Function) -> Result<Clip> {
        let settings = Settings::parse(&settings)?;
        let generate = settings.generate(&self.model, &self.checkpoint, self.calibration.as_ref())?;
        if settings.warm_up {
            generate.warm_up().await?;
        }
        let start = Instant::now();
        let mut watching = Watching::new(&self.device, &settings, watch);
        let run = generate.watch(&mut watching).await?;
        Clip::new(self, &settings, run, start.elapsed())
    }

    /// The adapter goes away, as when somebody pulls it out: for tests of what the page does then.
    pub fn lose(&self) {
        if let Device::Wgpu(wgpu) = &self.device {
            wgpu.lose();
        }
    }
}

/// Every named cache policy: an array of `{name, syntax, skips_when, source, measures, limits}`.
#[wasm_bindgen]
pub fn policies() -> String {
    let policy = |entry: &&steep::cache::Entry| {
        json!({
            "name": entry.name,
            "syntax": entry.written(),
            "skips_when": entry.skips_when,
            "source": entry.source.map(|(name, url)| json!({ "name": name, "url": url })),
            "measures": entry.measure != steep::cache::Measure::Nothing,
            "limits": entry.limits,
        })
    };
    POLICIES.iter().map(policy).collect::<Value>().to_string()
}
