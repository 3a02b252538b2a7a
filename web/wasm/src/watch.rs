//! A page that looks on.

use js_sys::{Function, Promise, Uint8Array};
use serde_json::{Value, json};
use steep::sample::{Moment, Progress, Watch};
use steep::video::Video;
use steep::{Device, Error, Result};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_time::Instant;

use crate::settings::Settings;

/// Hands each step to the page, and lets it stop the run.
pub struct Watching {
    device: Device,
    steps: usize,
    preview_every: usize,
    preview: Option<Vec<u8>>,
    /// The steps whose decisions are known, and not told yet.
    decided: Vec<Value>,
    call: Function,
    start: Instant,
    /// Steps that are enqueued and not yet waited for, and how many are at most.
    queued: usize,
    slice: usize,
    waited: Instant,
}

/// Seconds of work that the host enqueues before it waits: the page sees progress as often, and can stop the run.
const SLICE: f64 = 0.1;

impl Watching {
    pub fn new(device: &Device, settings: &Settings, call: Function) -> Watching {
        let now = Instant::now();
        Watching {
            device: device.clone(),
            steps: settings.steps,
            preview_every: settings.preview_every,
            preview: None,
            decided: vec![],
            call,
            start: now,
            queued: 0,
            slice: 1,
            waited: now,
        }
    }

    /// Waits for the device where enough is enqueued. The next slice is as long as this one says it should be.
    async fn keep_up(&mut self) -> Result<()> {
        self.queued += 1;
        if self.queued >= self.slice {
            self.device.seconds(&[self.device.mark()]).await?;
            let step = self.waited.elapsed().as_secs_f64() / self.queued as f64;
            self.slice = (SLICE / step.max(1e-6)).clamp(1.0, 1024.0) as usize;
            (self.queued, self.waited) = (0, Instant::now());
        }
        Ok(())
    }
}

impl Watch for Watching {
    async fn step(&mut self, moment: &Moment<'_>) -> Result<()> {
        if self.preview_every == 0 {
            return Ok(());
        }
        let pictured = moment.step.is_multiple_of(self.preview_every);
        if pictured {
            let &[_, f, c, h, w] = moment.z.shape().dims() else {
                unreachable!("clips have five dimensions")
            };
            let video = Video::new(f, c, h, w, moment.estimate()?.read_f32().await?)?;
            let frames = (0..f).map(|frame| video.pixels(frame)).collect::<Result<Vec<_>>>()?;
            self.preview = Some(frames.concat());
        }
        // Where the host waits anyway, what the device decided costs next to nothing.
        if pictured || self.queued + 1 >= self.slice {
            let steps = moment.decided().await?;
            self.decided = steps.iter().enumerate().map(|(i, step)| step.json(i)).collect();
        }
        Ok(())
    }

    async fn done(&mut self, progress: Progress) -> Result<()> {
        self.keep_up().await?;
        let event = json!({
            "step": progress.done - 1,
            "steps": self.steps,
            "decision": progress.decision.map(|decision| decision.letter().to_string()),
            "decided": std::mem::take(&mut self.decided),
            "seconds": self.start.elapsed().as_secs_f64(),
        });
        let preview =
            self.preview.take().map_or(JsValue::UNDEFINED, |bytes| Uint8Array::from(&bytes[..]).into());
        let answer = self.call.call2(&JsValue::NULL, &event.to_string().into(), &preview);
        let answer = match answer {
            Ok(answer) if answer.has_type::<Promise>() => JsFuture::from(Promise::from(answer)).await,
            answer => answer,
        };
        // Whatever a page throws, it does not want to see more.
        match answer {
            Ok(answer) if answer != JsValue::FALSE => {
                if matches!(self.device, Device::Cpu(_)) {
                    breathe().await;
                }
                Ok(())
            }
            _ => Err(Error::Interrupted),
        }
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(call: &Function, milliseconds: i32) -> JsValue;
}

/// Lets the worker take messages: while the CPU computes, nobody else lets it.
async fn breathe() {
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, 0);
    });
    let _ = JsFuture::from(promise).await;
}
