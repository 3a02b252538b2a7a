//! steep as a page calls it, from a worker: one device with one model, and what they are asked to do.
//!
//! Settings and results are JSON texts, clips are bytes. All that is computed here is computed by the crate; this is what
//! hands it over. `web/wasm/README.md` has the whole interface.

mod clip;
mod ops;
mod settings;
mod watch;
mod work;

use js_sys::Function;
use serde_json::{Value, json};
use steep::cache::{Given, POLICIES, Spec};
use steep::evaluate::calibrate::{Calibration, fit};
use steep::model::{Checkpoint, Dit};
use steep::results::OnDevice;
use steep::{DType, Device, Error};
use wasm_bindgen::prelude::*;
use web_time::Instant;

use clip::Clip;
use settings::Settings;
use watch::Watching;
use work::{Try, Work};

/// What every export fails with: an `Error` whose message is one line. Its name is `DeviceError` where the device failed,
/// so that a page can offer another one.
pub struct Failure(Error);

type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure(e)
    }
}

impl From<Failure> for JsValue {
    fn from(Failure(e): Failure) -> JsValue {
        let error = js_sys::Error::new(&e.to_string());
        if let Error::Device { .. } = e {
            error.set_name("DeviceError");
        }
        error.into()
    }
}

/// Must be called once before all else. `panicked` is told of a panic, in one line: after one, nothing here works any
/// more, and the page starts another worker.
#[wasm_bindgen]
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
    /// Why `auto` is the CPU, where it is.
    no_gpu: Option<String>,
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
        let calibration = calibration.as_deref().map(calibrated).transpose()?;
        let wanted = device;
        let device = Device::open(&wanted).await?;
        let no_gpu = if wanted == "auto" && !device.is_gpu() { no_gpu().await } else { None };
        let model = Dit::load(&device, &checkpoint, DType::F32)?;
        Ok(Steep { device, checkpoint, model, calibration, no_gpu })
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
            "no_gpu": self.no_gpu,
            "facts": self.device.facts(),
            "clock_resolution_s": self.device.clock(),
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
        let (generate, warnings) = settings.generate(self)?;
        if settings.warm_up {
            generate.warm_up().await?;
        }
        let start = Instant::now();
        let mut watching = Watching::new(&self.device, &settings, watch);
        let run = generate.watch(&mut watching).await?;
        Clip::new(self, &settings, (&generate, warnings), run, start.elapsed())
    }

    /// The file that `verify` and `bench` fill, with the device and the machine and no rows.
    pub fn results(&self, settings: String) -> Result<String> {
        Ok(json!(Work::parse(&settings)?.file(OnDevice::new(&self.device))).to_string())
    }

    /// Runs every case of every op with every source that the device runs, against naive f64 loops: the file that
    /// `steep verify --json` writes.
    pub async fn verify(&self, settings: String, watch: Function) -> Result<String> {
        Ok(Work::parse(&settings)?.verify(&self.device, &watch).await?.to_string())
    }

    /// Times every op with every source beside this device's ceilings: the file that `steep bench --json` writes.
    pub async fn bench(&self, settings: String, watch: Function) -> Result<String> {
        Ok(Work::parse(&settings)?.bench(&self.device, &self.checkpoint, &watch).await?.to_string())
    }

    /// Tries a kernel of somebody's, the text of `file`, which ends with `.wgsl`: `{passed, report, timed}`.
    pub async fn try_kernel(
        &self,
        file: String,
        text: String,
        settings: String,
        watch: Function,
    ) -> Result<String> {
        Ok(Try::parse(&settings)?.run(&self.device, &file, &text, &watch).await?.to_string())
    }

    /// Every op with its texts; see `ops.rs`.
    pub fn ops(&self) -> String {
        ops::all(&self.device).to_string()
    }

    /// The adapter goes away, as when somebody pulls it out: for tests of what the page does then.
    pub fn lose(&self) {
        if let Device::Wgpu(wgpu) = &self.device {
            wgpu.lose();
        }
    }
}

/// Why this browser has no GPU.
async fn no_gpu() -> Option<String> {
    match Device::open("wgpu").await {
        Ok(device) if device.is_gpu() => None,
        Ok(device) => Some(format!("its only adapter is a processor itself: {}", device.describe())),
        Err(e) => Some(e.to_string()),
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

/// The decisions of a policy such as `tea:0.1:identity` on recorded distances, an array of numbers with null for none: an
/// array of `{i, d, rescaled, acc, decision}`. `tea:0.02` takes its polynomial, and where that holds, from `calibration`,
/// the text of a `.teacache.json`.
#[wasm_bindgen]
pub fn replay(distances: String, cache: String, calibration: Option<String>) -> Result<String> {
    let distances: Vec<Option<f64>> = settings::parse(&distances)?;
    let spec: Spec = cache.parse()?;
    let calibration = calibration.as_deref().map(calibrated).transpose()?;
    let given = Given { fit: fit(&spec, calibration.as_ref()), magnitudes: None };
    let steps = spec.policy(distances.len(), &given)?.replay(&distances);
    Ok(steps.iter().enumerate().map(|(i, step)| step.json(i)).collect::<Value>().to_string())
}

fn calibrated(text: &str) -> steep::Result<Calibration> {
    Calibration::parse(text).map_err(|why| Error::file("the calibration", why))
}
