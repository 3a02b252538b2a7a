//! What a clip will be, drawn while it is made.

use std::path::{Path, PathBuf};

use steep::model::{Checkpoint, Decoder, DecoderFile};
use steep::sample::{Moment, Progress, Watch};
use steep::video::Video;
use steep::{Error, Result};

use super::picture::{Format, Look};
use super::{decoder, output};

/// Whether there are previews, and how they are made.
#[derive(clap::Args)]
pub struct Options {
    /// Draw what the clip will be, while it is made: the file is written anew every few steps
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    preview: Option<PathBuf>,
    /// Steps from one preview to the next
    #[arg(long, value_name = "N", default_value_t = 5, requires = "preview",
        value_parser = clap::value_parser!(u32).range(1..))]
    preview_every: u32,
    /// The decoder of previews, such as a TAESD. Without it, that of --vae if it is one, else the colours that are nearest to
    /// Stable Diffusion's latents
    #[arg(long, value_name = "PATH", requires = "preview")]
    preview_vae: Option<PathBuf>,
}

/// What a preview makes of a clip.
enum Way<'a> {
    /// Clips are pictures already.
    AsIs,
    Decoder(&'a Decoder),
    Nearest,
}

/// Draws previews.
pub struct Preview<'a> {
    path: &'a Path,
    every: usize,
    way: Way<'a>,
    look: &'a Look,
}

impl Options {
    pub fn path(&self) -> Option<&Path> {
        self.preview.as_deref()
    }

    /// The decoder that previews have of their own.
    pub fn decoder(&self, checkpoint: &Checkpoint, quiet: bool) -> Result<Option<DecoderFile>> {
        if let Some(path) = &self.preview
            && !Format::of(path)?.is_picture()
        {
            return Err(Error::file(path, "wanted a name that ends in .gif, .png or .y4m"));
        }
        let open = |path| decoder::open(path, checkpoint.config(), quiet);
        self.preview_vae.as_deref().map(open).transpose()
    }

    /// What draws them: a decoder, if there is one to use.
    pub fn begin<'a>(
        &'a self,
        checkpoint: &Checkpoint,
        decoder: Option<&'a Decoder>,
        look: &'a Look,
    ) -> Result<Option<Preview<'a>>> {
        let Some(path) = &self.preview else { return Ok(None) };
        let channels = checkpoint.config().channels;
        let way = match decoder {
            Some(decoder) => Way::Decoder(decoder),
            None if [1, 3].contains(&channels) => Way::AsIs,
            None if channels == NEAREST.len() => Way::Nearest,
            None => {
                let what = format!("previews of clips of {channels} channels");
                return Err(Error::setting(what, "a decoder by --preview-vae"));
            }
        };
        Ok(Some(Preview { path, every: self.preview_every as usize, way, look }))
    }
}

/// Red, green and blue of a unit of each channel of Stable Diffusion 1's latents, a least-squares fit to its pictures in
/// [-1, 1] that ComfyUI publishes (`latent_rgb_factors` of its `latent_formats.py`).
const NEAREST: [[f32; 3]; 4] = [
    [0.3512, 0.2297, 0.3227],
    [0.3250, 0.4974, 0.2350],
    [-0.2829, 0.1762, 0.2721],
    [-0.2120, -0.2616, -0.7177],
];

/// The colours that are nearest to latents: a pixel for each.
fn nearest(latents: &Video) -> Result<Video> {
    let Video { frames, height, width, .. } = *latents;
    let pixels = height * width;
    let mut data = vec![0.0; frames * 3 * pixels];
    for (frame, out) in data.chunks_exact_mut(3 * pixels).enumerate() {
        for (channel, colour) in NEAREST.iter().enumerate() {
            for (plane, unit) in out.chunks_exact_mut(pixels).zip(colour) {
                for (x, z) in plane.iter_mut().zip(latents.plane(frame, channel)) {
                    *x += unit * z;
                }
            }
        }
    }
    Video::new(frames, 3, height, width, data)
}

impl Preview<'_> {
    async fn draw(&self, moment: &Moment<'_>) -> Result<()> {
        let estimate = moment.estimate()?;
        let [_, frames, channels, height, width] = estimate.dims("preview", "clips")?;
        let clip = Video::new(frames, channels, height, width, estimate.read_f32().await?)?;
        let pictures = match &self.way {
            Way::AsIs => clip,
            Way::Nearest => nearest(&clip)?,
            Way::Decoder(decoder) => decoder.video(&clip, &mut |_| super::go_on()).await?,
        };
        match self.look.file(self.path, &[&pictures])? {
            Some(bytes) => output::write(&[(self.path, bytes)]),
            None => Ok(()),
        }
    }
}

/// Progress, and previews where they are wanted.
pub struct Watching<'a, F> {
    pub preview: Option<&'a Preview<'a>>,
    pub progress: F,
}

impl<F: FnMut(Progress) -> Result<()>> Watch for Watching<'_, F> {
    async fn step(&mut self, moment: &Moment<'_>) -> Result<()> {
        match self.preview {
            Some(preview) if moment.step.is_multiple_of(preview.every) => preview.draw(moment).await,
            _ => Ok(()),
        }
    }

    async fn done(&mut self, progress: Progress) -> Result<()> {
        (self.progress)(progress)
    }
}
