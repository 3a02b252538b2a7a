//! Videos in memory, and as GIF, APNG and Y4M.
//!
//! A value v in [-1, 1] is shown as the byte round(255·clamp((v + 1)/2, 0, 1)), and NaN as 0. Three
//! channels are shown as RGB. Any other number has no agreed colours, so the first channel is
//! shown, in grey.

use std::fmt::Display;

use font8x8::legacy::BASIC_LEGACY;

use crate::memory::{self, Growing};
use crate::{Error, Result};

/// The value that is shown half way between black and white.
const MID_GREY: f32 = 0.0;
const BLACK: f32 = -1.0;
const WHITE: f32 = 1.0;

/// A video: values in [-1, 1], laid out [F, C, H, W].
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// F, the number of frames.
    pub frames: usize,
    /// C, the number of channels.
    pub channels: usize,
    /// H, the rows of a frame.
    pub height: usize,
    /// W, the columns of a frame.
    pub width: usize,
    /// The F·C·H·W values, columns fastest.
    pub data: Vec<f32>,
}

impl Video {
    /// The width of a letter of [`Video::titled`], in pixels.
    pub const TITLE_LETTER: usize = 8;

    /// A video of `data`, which must be F·C·H·W values, none of the four being zero.
    pub fn new(frames: usize, channels: usize, height: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        let video = Video { frames, channels, height, width, data };
        video.check("video")?;
        Ok(video)
    }

    /// [F, C, H, W].
    pub fn shape(&self) -> [usize; 4] {
        [self.frames, self.channels, self.height, self.width]
    }

    /// One channel of one frame: H·W values.
    pub fn plane(&self, frame: usize, channel: usize) -> &[f32] {
        let size = self.height * self.width;
        &self.data[(frame * self.channels + channel) * size..][..size]
    }

    /// The bytes of one frame as it is shown: RGB triples for three channels, else grey.
    pub fn pixels(&self, frame: usize) -> Result<Vec<u8>> {
        Picture { video: self, scale: 1 }.pixels(frame)
    }

    /// The video as files show it, with every pixel as a square of `scale` by `scale`, from 1 to 64. Frames are made one at a
    /// time, so that a large picture takes little memory.
    pub fn picture(&self, scale: usize) -> Result<Picture<'_>> {
        self.check("picture")?;
        check_scale("picture", scale)?;
        Ok(Picture { video: self, scale })
    }

    /// The videos next to each other, with `gap` columns of mid-grey between them.
    ///
    /// They may differ in width alone.
    pub fn side_by_side(videos: &[&Video], gap: usize) -> Result<Video> {
        let op = "side_by_side";
        let Some((first, rest)) = videos.split_first() else {
            return Err(Error::argument(op, "videos", "at least one", "none"));
        };
        first.check(op)?;
        for video in rest {
            video.check(op)?;
            if video.shape()[..3] != first.shape()[..3] {
                let wanted = format!("[F, C, H] = {:?} as the first", &first.shape()[..3]);
                let got = format!("{:?}", &video.shape()[..3]);
                return Err(Error::argument(op, "videos", wanted, got));
            }
        }
        let width = videos.iter().map(|v| v.width).sum::<usize>() + gap * rest.len();
        let rows = first.frames * first.channels * first.height;
        let mut data = memory::with_capacity(rows.saturating_mul(width), "videos side by side")?;
        for row in 0..rows {
            data.extend_from_slice(first.row(row));
            for video in rest {
                data.extend(std::iter::repeat_n(MID_GREY, gap));
                data.extend_from_slice(video.row(row));
            }
        }
        Video::new(first.frames, first.channels, first.height, width, data)
    }

    /// The video under a title: lines of text, white on black, in letters of 8 by 8 pixels, cut where they are too long.
    ///
    /// Every frame becomes `10·lines + 2` rows higher. Characters that are not ASCII are shown as `?`.
    pub fn titled<S: AsRef<str>>(&self, lines: &[S]) -> Result<Video> {
        self.check("titled")?;
        const LETTER: usize = Video::TITLE_LETTER;
        let (line, rows) = (LETTER + 2, (LETTER + 2) * lines.len() + 2);
        let mut title = memory::filled(rows * self.width, BLACK, "a title")?;
        for (i, text) in lines.iter().enumerate() {
            for (at, letter) in text.as_ref().chars().take(self.width / LETTER).enumerate() {
                let shape = BASIC_LEGACY.get(letter as usize).unwrap_or(&BASIC_LEGACY['?' as usize]);
                let lit = (0..LETTER * LETTER).filter(|bit| shape[bit / LETTER] >> (bit % LETTER) & 1 == 1);
                for bit in lit {
                    let (row, column) = (2 + line * i + bit / LETTER, LETTER * at + bit % LETTER);
                    title[row * self.width + column] = WHITE;
                }
            }
        }
        let [f, c, h, w] = self.shape();
        let planes = self.data.chunks_exact(h * w);
        let values = f.saturating_mul(c).saturating_mul((h + rows) * w);
        let mut data = memory::with_capacity(values, "a video under a title")?;
        planes.for_each(|plane| data.extend(title.iter().chain(plane)));
        Video::new(f, c, h + rows, w, data)
    }

    /// Every pixel as a square of `n` by `n`, `n` from 1 to 64. For a file, [`picture`](Self::picture) takes less memory.
    pub fn upscale(&self, n: usize) -> Result<Video> {
        self.check("upscale")?;
        check_scale("upscale", n)?;
        let mut data = memory::with_capacity(self.data.len().saturating_mul(n * n), "a magnified video")?;
        for row in self.data.chunks_exact(self.width) {
            let start = data.len();
            data.extend(row.iter().flat_map(|&v| std::iter::repeat_n(v, n)));
            for _ in 1..n {
                data.extend_from_within(start..start + self.width * n);
            }
        }
        let [f, c, h, w] = self.shape();
        Video::new(f, c, h * n, w * n, data)
    }

    /// [`Picture::gif`], as large as the video.
    pub fn gif(&self, fps: u32) -> Result<Vec<u8>> {
        self.picture(1)?.gif(fps)
    }

    /// [`Picture::apng`], as large as the video.
    pub fn apng(&self, fps: u32) -> Result<Vec<u8>> {
        self.picture(1)?.apng(fps)
    }

    /// [`Picture::y4m`], as large as the video.
    pub fn y4m(&self, fps: u32) -> Result<Vec<u8>> {
        self.picture(1)?.y4m(fps)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..][..self.width]
    }

    /// The fields are public, so whatever reads `data` by the shape looks first.
    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        let shape = self.shape();
        if shape.contains(&0) {
            let got = format!("{shape:?}");
            return Err(Error::argument(op, "shape", "[F, C, H, W], none zero", got));
        }
        let size = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if size != Some(self.data.len()) {
            let wanted = format!("one value for each place of {shape:?}");
            return Err(Error::argument(op, "data", wanted, self.data.len()));
        }
        Ok(())
    }
}

/// A [`Video`] as files show it: bytes, magnified, a frame at a time.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'v> {
    video: &'v Video,
    scale: usize,
}

impl Picture<'_> {
    /// The columns of a frame.
    pub fn width(&self) -> usize {
        self.video.width.saturating_mul(self.scale)
    }

    /// The rows of a frame.
    pub fn height(&self) -> usize {
        self.video.height.saturating_mul(self.scale)
    }

    /// The bytes of one frame as it is shown: RGB triples for three channels, else grey.
    pub fn pixels(&self, frame: usize) -> Result<Vec<u8>> {
        let (video, scale) = (self.video, self.scale);
        let colours = if video.channels == 3 { 3 } else { 1 };
        let size = self.width().saturating_mul(self.height()).saturating_mul(colours);
        let mut all = memory::with_capacity(size, "a frame of a picture")?;
        for row in 0..video.height {
            let start = all.len();
            for at in row * video.width..(row + 1) * video.width {
                let mut pixel = [0; 3];
                for (channel, value) in pixel[..colours].iter_mut().enumerate() {
                    *value = byte(video.plane(frame, channel)[at]);
                }
                (0..scale).for_each(|_| all.extend_from_slice(&pixel[..colours]));
            }
            let end = all.len();
            (1..scale).for_each(|_| all.extend_from_within(start..end));
        }
        Ok(all)
    }

    /// A GIF that loops for ever.
    ///
    /// Grey is exact. Colour is exact up to 256 colours a frame and quantised above. GIF counts
    /// in hundredths of a second: the delays differ by at most one of them, so that the whole
    /// lasts as long as it should. Players hold a frame for two hundredths at least, so above 50
    /// frames a second every frame has two.
    pub fn gif(&self, fps: u32) -> Result<Vec<u8>> {
        let op = "gif";
        check_fps(fps)?;
        let too_large = |_| {
            let got = format!("{} by {}", self.height(), self.width());
            Error::argument(op, "video", "at most 65535 rows and columns", got)
        };
        let width = u16::try_from(self.width()).map_err(too_large)?;
        let height = u16::try_from(self.height()).map_err(too_large)?;
        let greys: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        let palette: &[u8] = if self.video.channels == 3 { &[] } else { &greys };
        let mut encoder = gif::Encoder::new(Growing(vec![]), width, height, palette).map_err(failed(op))?;
        encoder.set_repeat(gif::Repeat::Infinite).map_err(failed(op))?;
        let ends_at = |frame: usize| (200 * frame + fps as usize) / (2 * fps as usize);
        // Choosing colours takes four bytes a pixel and compressing as many, in code that cannot fail.
        memory::probe(self.width().saturating_mul(self.height()).saturating_mul(16), "a frame of a GIF")?;
        for i in 0..self.video.frames {
            let mut frame = if self.video.channels == 3 {
                // 1 is the best choice of colours: 70 ms for a frame of 256 by 256.
                gif::Frame::from_rgb_speed(width, height, &self.pixels(i)?, 1)
            } else {
                gif::Frame { width, height, buffer: self.pixels(i)?.into(), ..Default::default() }
            };
            frame.delay = (ends_at(i + 1) - ends_at(i)).max(2) as u16;
            encoder.write_frame(&frame).map_err(failed(op))?;
        }
        encoder.into_inner().map(|bytes| bytes.0).map_err(failed(op))
    }

    /// An animated PNG that loops for ever: exact, and in every browser.
    pub fn apng(&self, fps: u32) -> Result<Vec<u8>> {
        let op = "apng";
        let fps = check_fps(fps)?;
        let size = |n: usize| u32::try_from(n).map_err(failed(op));
        let mut bytes = Growing(vec![]);
        let mut encoder = png::Encoder::new(&mut bytes, size(self.width())?, size(self.height())?);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self.video.channels {
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Grayscale,
        });
        encoder.set_animated(size(self.video.frames)?, 0).map_err(failed(op))?;
        encoder.set_frame_delay(1, fps).map_err(failed(op))?;
        let frame = self.width().saturating_mul(self.height()).saturating_mul(3);
        memory::probe(frame.saturating_mul(4), "a frame of a PNG")?;
        let mut writer = encoder.write_header().map_err(failed(op))?;
        for i in 0..self.video.frames {
            writer.write_image_data(&self.pixels(i)?).map_err(failed(op))?;
        }
        writer.finish().map_err(failed(op))?;
        Ok(bytes.0)
    }

    /// YUV4MPEG2, which video encoders read: `mono` for grey and `444` for colour.
    ///
    /// Full range, and tagged so: grey is exact, and colour is converted as JPEG does
    /// (ITU-R BT.601 weights), to within rounding.
    pub fn y4m(&self, fps: u32) -> Result<Vec<u8>> {
        check_fps(fps)?;
        let (w, h) = (self.width(), self.height());
        let colour = if self.video.channels == 3 { "444" } else { "mono" };
        let bytes = format!("YUV4MPEG2 W{w} H{h} F{fps}:1 Ip A1:1 C{colour} XCOLORRANGE=FULL\n").into_bytes();
        let frame = b"FRAME\n".len()
            + w.saturating_mul(h).saturating_mul(if self.video.channels == 3 { 3 } else { 1 });
        let mut bytes = memory::with_room(bytes, frame.saturating_mul(self.video.frames), "a Y4M file")?;
        for i in 0..self.video.frames {
            bytes.extend_from_slice(b"FRAME\n");
            let pixels = self.pixels(i)?;
            if self.video.channels != 3 {
                bytes.extend(pixels);
                continue;
            }
            for weights in YCBCR {
                bytes.extend(pixels.chunks_exact(3).map(|rgb| weigh(weights, rgb)));
            }
        }
        Ok(bytes)
    }
}

fn check_scale(op: &'static str, scale: usize) -> Result<()> {
    match scale {
        1..=64 => Ok(()),
        _ => Err(Error::argument(op, "scale", "1 to 64", scale)),
    }
}

/// Rows Y, Cb, Cr: the weights of R, G, B and what is added (JFIF 1.02, page 3).
const YCBCR: [[f32; 4]; 3] =
    [[0.299, 0.587, 0.114, 0.0], [-0.168_736, -0.331_264, 0.5, 128.0], [0.5, -0.418_688, -0.081_312, 128.0]];

fn weigh([r, g, b, plus]: [f32; 4], rgb: &[u8]) -> u8 {
    // `as` saturates: Cb of pure blue is 255.5.
    (r * f32::from(rgb[0]) + g * f32::from(rgb[1]) + b * f32::from(rgb[2]) + plus).round() as u8
}

/// `as` turns NaN into 0.
fn byte(v: f32) -> u8 {
    (((v + 1.0) / 2.0).clamp(0.0, 1.0) * 255.0).round() as u8
}

fn check_fps(fps: u32) -> Result<u16> {
    match u16::try_from(fps) {
        Ok(n @ 1..=1000) => Ok(n),
        _ => Err(Error::setting(format!("{fps} frames a second"), "1 to 1000")),
    }
}

fn failed<E: Display>(op: &'static str) -> impl Fn(E) -> Error {
    move |e| Error::argument(op, "video", "one that the format can hold", e)
}
