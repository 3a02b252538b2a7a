//! Clips as files: what a name's ending means, and how large a picture is.

use std::path::Path;

use steep::video::Video;
use steep::{Error, Result};

use super::output;

/// Columns between two clips in one picture.
const GAP: usize = 1;

/// How a picture is drawn.
#[derive(clap::Args)]
pub struct Look {
    /// Frames a second in a picture file
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Magnification in a picture file; without it, to about 256 rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    scale: Option<u8>,
}

impl Look {
    /// The magnification of a picture of `height` rows.
    fn scale(&self, height: usize) -> usize {
        let fitting = (256 / height).clamp(1, 64);
        self.scale.map_or(fitting, usize::from)
    }

    /// Whether the file can hold so many clips of [F, C, H, W] side by side.
    pub fn check(&self, out: &Path, [_, channels, height, width]: [usize; 4], clips: usize) -> Result<()> {
        let Some(most) = Format::of(out)?.most_pixels() else { return Ok(()) };
        if ![1, 3].contains(&channels) {
            let why = format!(
                "the model's clips have {channels} channels, which are no colours; wanted a model of 1 (grey) or 3 \
                 (RGB) channels, a decoder by --vae, or a name that ends in .safetensors"
            );
            return Err(Error::file(out, why));
        }
        let scale = self.scale(height);
        let columns = clips * width + (clips - 1) * GAP;
        let [width, height] = [columns, height].map(|n| n.saturating_mul(scale));
        if width.max(height) > most {
            let why = format!(
                "a picture of {width} by {height} pixels; this format has at most {most} columns and rows: wanted a \
                 smaller --scale than {scale}, or another format"
            );
            return Err(Error::file(out, why));
        }
        Ok(())
    }

    /// What writing the picture takes, in bytes: the clips side by side, the file, and some copies of one frame.
    pub fn bytes(&self, out: &Path, [frames, channels, height, width]: [usize; 4], clips: usize) -> u64 {
        if output::ending(out) == "safetensors" {
            return 0;
        }
        let scale = self.scale(height) as u64;
        let colours = if channels == 3 { 3 } else { 1 };
        let frame = (clips * height * width * colours) as u64 * scale * scale;
        let values = (clips * frames * channels * height * width * size_of::<f32>()) as u64;
        frame.saturating_mul(frames as u64 + 16).saturating_add(values)
    }

    /// The clips side by side as the file that the name asks for; None where it asks for tensors.
    pub fn file(&self, out: &Path, clips: &[&Video]) -> Result<Option<Vec<u8>>> {
        let format = Format::of(out)?;
        if let Format::Safetensors = format {
            return Ok(None);
        }
        let scale = clips.first().map_or(1, |clip| self.scale(clip.height));
        let all = Video::side_by_side(clips, GAP)?;
        let picture = all.picture(scale)?;
        match format {
            Format::Gif => picture.gif(self.fps),
            Format::Apng => picture.apng(self.fps),
            _ => picture.y4m(self.fps),
        }
        .map(Some)
    }
}

pub enum Format {
    Gif,
    Apng,
    Y4m,
    Safetensors,
}

impl Format {
    /// The most columns and rows of a picture; None for what is no picture.
    fn most_pixels(&self) -> Option<usize> {
        match self {
            Format::Gif => Some(usize::from(u16::MAX)),
            // The specification leaves out the sign (PNG 1.2, section 11.2.2).
            Format::Apng => Some(i32::MAX as usize),
            Format::Y4m => Some(usize::MAX),
            Format::Safetensors => None,
        }
    }

    pub fn is_picture(&self) -> bool {
        self.most_pixels().is_some()
    }

    pub fn of(path: &Path) -> Result<Format> {
        match output::ending(path).as_str() {
            "gif" => Ok(Format::Gif),
            "png" => Ok(Format::Apng),
            "y4m" => Ok(Format::Y4m),
            "safetensors" => Ok(Format::Safetensors),
            _ => Err(Error::file(path, "wanted a name that ends in .gif, .png, .y4m or .safetensors")),
        }
    }
}
