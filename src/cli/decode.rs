//! `steep decode`

use std::path::PathBuf;

use steep::model::{DecoderFile, TensorFile};
use steep::video::Video;
use steep::{DType, Error, Result};

use super::picture::{Format, Look};
use super::{decoder, hub, memory, output, progress, setup};

/// Make pictures of latents that `generate` has written
///
/// Reads `video`, f32 [F, C, H, W], and writes its pictures, [F, 3, s·H, s·W], s the decoder's scale.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep decode latents.safetensors --vae taesd --out clip.png")]
pub struct Args {
    /// Latents (safetensors)
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The decoder: an AutoencoderKL or a TAESD, a file, a folder, or one of the hub as for `generate --model`
    #[arg(long, value_name = "PATH")]
    vae: PathBuf,
    /// Where to write the pictures: .gif, .png (animated), .y4m, or .safetensors (`video`, f32 [F, 3, H, W] in [-1, 1])
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    look: Look,
    #[arg(long, value_name = "NAME", default_value = "auto", help = setup::device_help())]
    device: String,
    /// Type of the decoder's numbers: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: DType,
    /// Print errors and warnings alone
    #[arg(long, short)]
    quiet: bool,
}

pub async fn run(args: &Args) -> Result<()> {
    Format::of(&args.out)?;
    let file = DecoderFile::open(hub::path(&args.vae, args.quiet)?)?;
    let latents = latents(args)?;
    output::check(&[&args.out], &[])?;
    let scale = file.scale();
    let pictures = [latents.frames, 3, scale * latents.height, scale * latents.width];
    args.look.check(&args.out, pictures, 1)?;
    let device = setup::open(&args.device).await?;
    let mut footprint = steep::model::Footprint { device: vec![], host: vec![] };
    footprint.device.extend(file.footprint(latents.height, latents.width, args.dtype));
    footprint.host.push(("the pictures", args.look.bytes(&args.out, pictures, 1)));
    memory::check(&footprint, &device)?;
    super::say_if(!args.quiet, &memory::plan(&footprint, &device))?;
    let decoder = {
        let _busy = progress::busy("loading the decoder", args.quiet);
        file.load(&device, args.dtype)?
    };
    let video = decoder::decode(&decoder, &latents, args.quiet).await?;
    let bytes = match args.look.file(&args.out, &[&video])? {
        Some(picture) => picture,
        None => output::safetensors(&args.out, &[("video", video.shape().to_vec(), &video.data)], None)?,
    };
    output::write(&[(&args.out, bytes)])?;
    if args.quiet { Ok(()) } else { super::say(&output::wrote([args.out.as_path()])) }
}

/// `video` of the input.
fn latents(args: &Args) -> Result<Video> {
    let file = TensorFile::open(&args.input)?;
    let wrong = |why: String| Error::file(&args.input, why);
    let info = file.info("video");
    let info =
        info.ok_or_else(|| wrong("has no `video`; wanted latents as `generate` writes them".into()))?;
    let &[frames, channels, height, width] = &info.shape[..] else {
        return Err(wrong(format!("video is {:?}; wanted [F, C, H, W]", info.shape)));
    };
    let data = file.values("video")?;
    Video::new(frames, channels, height, width, data).map_err(|e| wrong(e.to_string()))
}
