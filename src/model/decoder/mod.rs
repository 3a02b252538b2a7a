//! Decoders: from latents to pictures, a frame at a time.
//!
//! Published DiT and Latte make clips of latents, each the code of 8×8 pixels. The decoder of the autoencoder that made
//! the codes makes pictures of them: an AutoencoderKL's (Stable Diffusion's, arXiv 2112.10752), or
//! [TAESD](https://github.com/madebyollin/taesd)'s, which is forty times smaller and near enough for a preview.
//!
//! Images are [1, H, W, C], channels last, so that a window's pixels are rows of a matrix product.

mod plan;

use std::collections::BTreeMap;
use std::path::Path;

use plan::{Conv, Ends, Layer, Norm, Plan};

use super::Source;
use crate::device::Gate;
use crate::ops::{Conv2d, Epilogue, Over, attention, conv2d, group_norm, linear};
use crate::video::Video;
use crate::{DType, Device, Error, Result, Tensor, memory};

/// ε of the norms.
const EPSILON: f32 = 1e-6;

/// An open file of a decoder, whose tensors are checked and not loaded.
pub struct DecoderFile {
    source: Source,
    plan: Plan,
}

impl DecoderFile {
    /// Opens a decoder: a file, a folder with one, or a folder of diffusers' pipeline, of which it is `vae/`.
    ///
    /// # Errors
    ///
    /// If it holds none, or one of another kind, or not all of it.
    pub fn open(path: impl AsRef<Path>) -> Result<DecoderFile> {
        DecoderFile::new(Source::part(path, "vae")?)
    }

    /// The decoder that these tensors are.
    pub fn new(source: impl Into<Source>) -> Result<DecoderFile> {
        let source = source.into();
        let plan = Plan::of(&source)?;
        Ok(DecoderFile { source, plan })
    }

    /// The file's name, without folder and ending, or the folder's.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Whose names its tensors have, which says what it is.
    pub fn kind(&self) -> &'static str {
        self.plan.whose
    }

    /// Its name and kind: `vae (diffusers' AutoencoderKL)`.
    pub fn words(&self) -> String {
        format!("{} ({})", self.name(), self.kind())
    }

    /// Channels of the latents that it decodes.
    pub fn channels(&self) -> usize {
        self.plan.latents
    }

    /// How many pixels the side of a latent becomes.
    pub fn scale(&self) -> usize {
        self.plan.times
    }

    /// Bytes that it takes on the device for frames of `height` by `width` latents: weights, and images under way.
    pub fn footprint(&self, height: usize, width: usize, dtype: DType) -> [(&'static str, u64); 2] {
        let latents = (height as u64).saturating_mul(width as u64);
        let size = dtype.size() as u64;
        [
            ("the decoder", self.plan.weights().saturating_mul(size)),
            ("the decoder's images", self.plan.activations(latents).saturating_mul(size)),
        ]
    }

    /// Loads the decoder; its images and weights are of `dtype`.
    ///
    /// # Errors
    ///
    /// If a weight is not finite in that type, or memory runs out.
    pub fn load(self, device: &Device, dtype: DType) -> Result<Decoder> {
        let mut weights = BTreeMap::new();
        for layer in &self.plan.layers {
            let (convs, norms) = layer.parts();
            for conv in convs {
                weights.insert(format!("{}.weight", conv.name), self.kernel(device, conv, dtype)?);
                weights.insert(format!("{}.bias", conv.name), self.bias(device, &conv.name, conv.outs)?);
            }
            for norm in norms {
                for part in ["weight", "bias"] {
                    let name = format!("{}.{part}", norm.name);
                    let values = self.values(&[&name], DType::F32)?;
                    let tensor = Tensor::from_f32(device, DType::F32, [norm.channels], &values)?;
                    weights.insert(name, tensor);
                }
            }
            if let Layer::Attention { norm, qkv, .. } = layer {
                let d = norm.channels;
                let parts = |end: &str| qkv.each_ref().map(|name| format!("{name}.{end}"));
                let w = self.values(&parts("weight"), dtype)?;
                weights.insert(QKV_WEIGHT.into(), Tensor::from_f32(device, dtype, [3 * d, d], &w)?);
                let bias = self.values(&parts("bias"), DType::F32)?;
                weights.insert(QKV_BIAS.into(), Tensor::from_f32(device, DType::F32, [3 * d], &bias)?);
            }
        }
        Ok(Decoder { plan: self.plan, weights, device: device.clone(), dtype })
    }

    /// Tensors, one below the other, that `dtype` must be able to hold.
    fn values(&self, names: &[impl AsRef<str>], dtype: DType) -> Result<Vec<f32>> {
        let mut all = vec![];
        for name in names.iter().map(AsRef::as_ref) {
            let file = self.source.file(name);
            let file = file.ok_or_else(|| self.source.error(format!("{name} is missing")))?;
            file.append_f32(name, dtype, &mut all)?;
        }
        Ok(all)
    }

    /// A convolution's weights, from [O, C, s, s] to [O, s, s, C].
    fn kernel(&self, device: &Device, conv: &Conv, dtype: DType) -> Result<Tensor> {
        let Conv { name, ins, outs, size } = conv;
        let (c, taps) = (*ins, size * size);
        let stored = self.values(&[format!("{name}.weight")], dtype)?;
        let mut turned = memory::filled(stored.len(), 0.0, "weights")?;
        for (from, to) in stored.chunks_exact(c * taps).zip(turned.chunks_exact_mut(c * taps)) {
            for (i, value) in from.iter().enumerate() {
                to[i % taps * c + i / taps] = *value;
            }
        }
        Ok(Tensor::from_f32(device, dtype, [*outs, *size, *size, c], &turned)?.for_products())
    }

    /// A bias; zeros where there is none.
    fn bias(&self, device: &Device, name: &str, outs: usize) -> Result<Tensor> {
        let name = format!("{name}.bias");
        match self.source.info(&name) {
            None => Tensor::zeros(device, DType::F32, [outs]),
            Some(_) => Tensor::from_f32(device, DType::F32, [outs], &self.values(&[name], DType::F32)?),
        }
    }
}

/// Queries, keys and values of the one attention, in one matrix.
const QKV_WEIGHT: &str = "qkv.weight";
const QKV_BIAS: &str = "qkv.bias";

/// A decoder on a device.
pub struct Decoder {
    plan: Plan,
    weights: BTreeMap<String, Tensor>,
    device: Device,
    dtype: DType,
}

impl Decoder {
    /// Whether it is TAESD's, which takes little time.
    pub fn is_tiny(&self) -> bool {
        self.plan.ends == Ends::Tiny
    }

    /// Pictures in [-1, 1] of a clip of latents: f32 [F, 3, s·H, s·W] of [F, C, H, W], s the decoder's
    /// [scale](DecoderFile::scale). `watch` is called before each frame with how many are done; its error ends the work.
    ///
    /// # Errors
    ///
    /// If the clip has other channels, a picture is not finite, the device fails, or memory runs out.
    pub async fn video(&self, latents: &Video, watch: &mut impl FnMut(usize) -> Result<()>) -> Result<Video> {
        let Video { frames, channels, height, width, .. } = *latents;
        let pixels = [height * self.plan.times, width * self.plan.times];
        let mut all = memory::with_capacity(frames.saturating_mul(3 * pixels[0] * pixels[1]), "pictures")?;
        for (i, frame) in latents.data.chunks_exact(channels * height * width).enumerate() {
            watch(i)?;
            all.extend(self.frame(frame, [channels, height, width]).await?);
        }
        self.dtype.check_finite("a picture", &all)?;
        Video::new(frames, 3, pixels[0], pixels[1], all)
    }

    /// A picture, f32 [3, s·H, s·W], of one frame, f32 [C, H, W].
    async fn frame(&self, latents: &[f32], [channels, height, width]: [usize; 3]) -> Result<Vec<f32>> {
        if channels != self.plan.latents {
            let wanted = format!("{} channels, which this decoder takes", self.plan.latents);
            return Err(Error::setting(format!("latents of {channels} channels"), wanted));
        }
        let size = height * width;
        let enters = |z: f32| match self.plan.ends {
            Ends::Scaled { scaling, shift } => z / scaling + shift,
            Ends::Tiny => 3.0 * (z / 3.0).tanh(),
        };
        let last: Vec<f32> =
            (0..latents.len()).map(|i| enters(latents[i % channels * size + i / channels])).collect();
        let mut x = Tensor::from_f32(&self.device, self.dtype, [1, height, width, channels], &last)?;
        for layer in &self.plan.layers {
            x = self.layer(layer, x)?;
        }
        let picture = x.read_f32().await?;
        let pixels = picture.len() / 3;
        let leaves = |x: f32| match self.plan.ends {
            Ends::Scaled { .. } => x,
            Ends::Tiny => 2.0 * x - 1.0,
        };
        Ok((0..picture.len()).map(|i| leaves(picture[i % pixels * 3 + i / pixels])).collect())
    }

    fn layer(&self, layer: &Layer, x: Tensor) -> Result<Tensor> {
        let plain = Conv2d::default();
        match layer {
            Layer::Conv { conv, doubled, relu } => {
                self.conv(&x, conv, Conv2d { doubled: *doubled, relu: *relu, ..plain })
            }
            Layer::Resnet { norms: [first, second], convs: [grow, keep], shortcut } => {
                let h = self.conv(&self.norm(&x, first, true)?, grow, plain)?;
                let h = self.norm(&h, second, true)?;
                let across = shortcut.as_ref().map(|conv| self.conv(&x, conv, plain)).transpose()?;
                self.conv(&h, keep, Conv2d { add: Some(across.as_ref().unwrap_or(&x)), ..plain })
            }
            Layer::Attention { norm, proj, .. } => {
                let [_, height, width, d] = x.dims("decode", "x")?;
                let mut qkv = self.zeros([1, 1, height * width, 3 * d])?;
                let (w, bias) = (self.weight(QKV_WEIGHT)?, self.weight(QKV_BIAS)?);
                linear(Gate::Open, &mut qkv, &self.norm(&x, norm, false)?, w, bias, Epilogue::Bias)?;
                let mut all = self.zeros([1, 1, height * width, d])?;
                attention(Gate::Open, &mut all, &qkv, 1, Over::Tokens)?;
                let all = all.reshaped([1, height, width, d])?;
                self.conv(&all, proj, Conv2d { add: Some(&x), ..plain })
            }
            Layer::Norm(norm) => self.norm(&x, norm, true),
            Layer::Block([first, second, third]) => {
                let relu = Conv2d { relu: true, ..plain };
                let h = self.conv(&self.conv(&x, first, relu)?, second, relu)?;
                self.conv(&h, third, Conv2d { add: Some(&x), ..relu })
            }
        }
    }

    fn conv(&self, x: &Tensor, conv: &Conv, options: Conv2d<'_>) -> Result<Tensor> {
        let [images, height, width, _] = x.dims("decode", "x")?;
        let up = if options.doubled { 2 } else { 1 };
        let mut out = self.zeros([images, up * height, up * width, conv.outs])?;
        let part = |end: &str| self.weight(&format!("{}.{end}", conv.name));
        conv2d(Gate::Open, &mut out, x, part("weight")?, part("bias")?, options)?;
        Ok(out)
    }

    fn norm(&self, x: &Tensor, norm: &Norm, silu: bool) -> Result<Tensor> {
        let mut out = Tensor::zeros(&self.device, self.dtype, *x.shape())?;
        let part = |end: &str| self.weight(&format!("{}.{end}", norm.name));
        let affine = (part("weight")?, part("bias")?);
        group_norm(Gate::Open, &mut out, x, affine, self.plan.groups, EPSILON, silu)?;
        Ok(out)
    }

    fn zeros(&self, shape: [usize; 4]) -> Result<Tensor> {
        Tensor::zeros(&self.device, self.dtype, shape)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).ok_or_else(|| Error::setting(name, "a weight of this decoder"))
    }
}
