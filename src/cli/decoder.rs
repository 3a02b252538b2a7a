//! Pictures of latents: which decoder, and the work with progress.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use steep::model::{Checkpoint, Config, Decoder, DecoderFile};
use steep::video::Video;
use steep::{Error, Result};

use super::setup::Setup;
use super::{hub, progress};

/// Which decoder.
#[derive(clap::Args)]
pub struct Decoding {
    /// Make pictures of latents with this decoder: an AutoencoderKL or a TAESD, a file, a folder, or one of the hub as for
    /// --model. Without it, pictures are made by a pipeline's own, `vae/` in its folder, where there is one; `none` keeps
    /// latents
    #[arg(long, value_name = "PATH")]
    vae: Option<PathBuf>,
}

impl Decoding {
    /// The decoder for a model's clips: the one that is named; else, for pictures, the one that is beside the model.
    pub fn open(
        &self,
        setup: &Setup,
        checkpoint: &Checkpoint,
        pictures: bool,
        quiet: bool,
    ) -> Result<Option<DecoderFile>> {
        const PART: &str = "vae";
        let path = match &self.vae {
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(path.clone()),
            None if pictures && ![1, 3].contains(&checkpoint.config().channels) => {
                let on_hub = setup.model().map(|model| hub::part(model, PART, quiet)).transpose()?.flatten();
                let here = checkpoint.path().map(|path| path.join(PART)).filter(|path| path.is_dir());
                on_hub.or(here)
            }
            None => None,
        };
        path.map(|path| open(&path, checkpoint.config(), quiet)).transpose()
    }
}

/// A decoder for this model's clips.
pub fn open(path: &Path, config: &Config, quiet: bool) -> Result<DecoderFile> {
    let file = DecoderFile::open(hub::path(path, quiet)?)?;
    if file.channels() != config.channels {
        let why = format!(
            "decodes latents of {} channels, and the model's have {}; wanted the decoder of this model",
            file.channels(),
            config.channels
        );
        return Err(Error::file(path, why));
    }
    Ok(file)
}

/// [F, C, H, W] of the pictures of a model's clips.
pub fn shape(config: &Config, decoder: Option<&DecoderFile>) -> [usize; 4] {
    let (channels, scale) = decoder.map_or((config.channels, 1), |decoder| (3, decoder.scale()));
    [config.frames, channels, scale.saturating_mul(config.height), scale.saturating_mul(config.width)]
}

/// Pictures of a clip of latents.
pub async fn decode(decoder: &Decoder, latents: &Video, quiet: bool) -> Result<Video> {
    let bar = progress::bar("decoding", latents.frames, quiet);
    let mut watch = |done: usize| {
        bar.set_position(done as u64);
        super::go_on()
    };
    let pictures = decoder.video(latents, &mut watch).await;
    bar.finish_and_clear();
    pictures
}

/// Pictures of a clip where there is a decoder, under a bar of other work; else the clip.
pub async fn pictures(decoder: Option<&Decoder>, clip: Video, bar: &ProgressBar) -> Result<Video> {
    let Some(decoder) = decoder else { return Ok(clip) };
    let mut watch = |_| {
        bar.tick();
        super::go_on()
    };
    decoder.video(&clip, &mut watch).await
}
