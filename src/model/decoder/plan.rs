//! What a file of a decoder holds: its layers, from names and shapes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::super::Source;
use super::super::file::Stored;
use crate::{Error, Result};

/// A convolution with windows of `size` by `size` pixels.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    /// The file's name of it, without `.weight` and `.bias`.
    pub name: String,
    pub ins: usize,
    pub outs: usize,
    pub size: usize,
}

/// A group norm.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub name: String,
    pub channels: usize,
}

/// A layer: what a decoder does one after the other.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    /// A convolution, of the image or of one twice as large, and ReLU if that follows.
    Conv { conv: Conv, doubled: bool, relu: bool },
    /// x + conv(silu(norm(conv(silu(norm(x)))))); x through a convolution of single pixels where channels change.
    Resnet { norms: [Norm; 2], convs: [Conv; 2], shortcut: Option<Conv> },
    /// x + proj(attention(q, k, v of norm(x))), one head over all pixels.
    Attention { norm: Norm, qkv: [String; 3], proj: Conv },
    /// silu(norm(x)).
    Norm(Norm),
    /// relu(x + conv(relu(conv(relu(conv(x)))))).
    Block([Conv; 3]),
}

/// What comes before and after the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ends {
    /// z/scaling + shift goes in, and a picture in [-1, 1] comes out.
    Scaled { scaling: f32, shift: f32 },
    /// 3·tanh(z/3) goes in, a picture in [0, 1] comes out.
    Tiny,
}

/// All of it.
pub(super) struct Plan {
    pub whose: &'static str,
    pub layers: Vec<Layer>,
    pub ends: Ends,
    /// Channels of latents.
    pub latents: usize,
    /// How many pixels a latent's side becomes.
    pub times: usize,
    pub groups: usize,
}

/// What a family of files calls the parts of an AutoencoderKL's decoder; `{i}` is a number.
struct Names {
    whose: &'static str,
    middle: [&'static str; 2],
    attention: &'static str,
    /// The norm, queries, keys, values, and what follows them, as files have called them one after the other.
    attends: &'static [[&'static str; 5]],
    /// The resnets of a level, and its convolution of the doubled image.
    level: &'static str,
    resnet: &'static str,
    doubled: &'static str,
    shortcut: &'static str,
    norm_out: &'static str,
    /// Whether the last level is the first to run.
    downwards: bool,
}

static FAMILIES: [Names; 2] = [
    Names {
        whose: "diffusers' AutoencoderKL",
        middle: ["decoder.mid_block.resnets.0", "decoder.mid_block.resnets.1"],
        attention: "decoder.mid_block.attentions.0",
        attends: &[
            ["group_norm", "to_q", "to_k", "to_v", "to_out.0"],
            ["group_norm", "query", "key", "value", "proj_attn"],
        ],
        level: "decoder.up_blocks.{i}",
        resnet: "resnets.{i}",
        doubled: "upsamplers.0.conv",
        shortcut: "conv_shortcut",
        norm_out: "decoder.conv_norm_out",
        downwards: false,
    },
    Names {
        whose: "Stable Diffusion's first stage",
        middle: ["decoder.mid.block_1", "decoder.mid.block_2"],
        attention: "decoder.mid.attn_1",
        attends: &[["norm", "q", "k", "v", "proj_out"]],
        level: "decoder.up.{i}",
        resnet: "block.{i}",
        doubled: "upsample.conv",
        shortcut: "nin_shortcut",
        norm_out: "decoder.norm_out",
        downwards: true,
    },
];

/// Fields of a `config.json` that have one value here: another one is another decoder.
const FIXED: [(&str, &[&str]); 8] = [
    ("_class_name", &[r#""AutoencoderKL""#, r#""AutoencoderTiny""#]),
    ("act_fn", &[r#""silu""#, r#""relu""#]),
    ("out_channels", &["3"]),
    ("upsampling_scaling_factor", &["2"]),
    ("upsample_fn", &[r#""nearest""#]),
    ("latents_mean", &["null"]),
    ("latents_std", &["null"]),
    ("latent_magnitude", &["3"]),
];

/// What Stable Diffusion's latents were multiplied by (Rombach et al., arXiv 2112.10752, appendix G), and DiT's and Latte's
/// with them.
const SCALING: f64 = 0.18215;

impl Plan {
    pub fn of(source: &Source) -> Result<Plan> {
        let config = match &source.config {
            Some((path, text)) => fields(path, text)?,
            None => Map::new(),
        };
        let reader = Reader { source, config, known: BTreeSet::new() };
        let has = |end: &str| {
            source.names().find_map(|name| {
                let prefix = name.strip_suffix(end)?;
                (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_string())
            })
        };
        for names in &FAMILIES {
            if let Some(prefix) = has(&format!("{}.conv1.weight", names.middle[0])) {
                return reader.kl(names, &prefix);
            }
        }
        // The first block of the tiny one has number 2, or 3 where a clamp counts as a layer.
        for first in [2, 3] {
            let block = format!("{first}.conv.0.weight");
            let prefixes = source.names().filter_map(|name| name.strip_suffix(block.as_str()));
            let ours = |prefix: &&str| {
                let part = |part: &str| prefix.split('.').any(|p| p == part);
                (prefix.is_empty() || prefix.ends_with('.')) && !part("encoder")
            };
            if let Some(prefix) = prefixes.map(str::to_string).find(|prefix| ours(&prefix.as_str())) {
                return reader.tiny(&prefix, first - 2);
            }
        }
        let few: Vec<String> = source.names().take(3).map(|name| format!("`{name}`")).collect();
        let there = if few.is_empty() { "no tensors".into() } else { few.join(", ") + " and so on" };
        Err(source.error(format!(
            "is no decoder: it has {there}; wanted an AutoencoderKL (`{}.conv1.weight` and so on) or a TAESD \
             (`decoder.layers.2.conv.0.weight` and so on)",
            FAMILIES[0].middle[0]
        )))
    }

    /// Elements of all weights and biases.
    pub fn weights(&self) -> u64 {
        let mut all = vec![];
        for layer in &self.layers {
            let (convs, norms) = layer.parts();
            for conv in convs {
                all.extend([conv.ins * conv.outs * conv.size * conv.size, conv.outs]);
            }
            all.extend(norms.into_iter().flat_map(|norm| [norm.channels; 2]));
            if let Layer::Attention { norm, .. } = layer {
                all.extend([3 * norm.channels * norm.channels, 3 * norm.channels]);
            }
        }
        all.iter().map(|n| *n as u64).sum()
    }

    /// The most elements of images that are there at a time, for a frame of so many latents.
    pub fn activations(&self, latents: u64) -> u64 {
        let (mut pixels, mut most) = (latents, 0u64);
        for layer in &self.layers {
            let per_pixel = match layer {
                Layer::Conv { conv, doubled, .. } => {
                    if *doubled {
                        pixels = pixels.saturating_mul(4);
                    }
                    conv.outs + if *doubled { conv.ins.div_ceil(4) } else { conv.ins }
                }
                // What came in; a norm's result and a convolution's; what is added, and the result.
                Layer::Resnet { convs: [first, second], shortcut, .. } => {
                    let added = if shortcut.is_some() { second.outs } else { 0 };
                    (2 * first.ins + first.outs).max(first.ins + 2 * second.ins + added + second.outs)
                }
                // What came in; the norm, q, k and v; what they make of it; the result.
                Layer::Attention { norm, .. } => 6 * norm.channels,
                Layer::Norm(norm) => 2 * norm.channels,
                Layer::Block([conv, ..]) => 3 * conv.outs,
            };
            most = most.max(pixels.saturating_mul(per_pixel as u64));
        }
        most
    }
}

impl Layer {
    /// Its convolutions and its norms.
    pub fn parts(&self) -> (Vec<&Conv>, Vec<&Norm>) {
        match self {
            Layer::Conv { conv, .. } => (vec![conv], vec![]),
            Layer::Resnet { norms, convs, shortcut } => {
                (convs.iter().chain(shortcut).collect(), norms.iter().collect())
            }
            Layer::Attention { norm, proj, .. } => (vec![proj], vec![norm]),
            Layer::Norm(norm) => (vec![], vec![norm]),
            Layer::Block(convs) => (convs.iter().collect(), vec![]),
        }
    }
}

fn fields(path: &Path, text: &str) -> Result<Map<String, Value>> {
    let wrong = |why: String| Error::file(path, why);
    let json: Value = serde_json::from_str(text).map_err(|e| wrong(format!("not JSON: {e}")))?;
    let Value::Object(fields) = json else { return Err(wrong("not an object; wanted fields".into())) };
    for (key, wanted) in FIXED {
        let got = fields.get(key).map(Value::to_string);
        if let Some(got) = got.filter(|got| !wanted.contains(&got.as_str())) {
            return Err(wrong(format!("{key} is {got}; wanted {}", wanted.join(" or "))));
        }
    }
    Ok(fields)
}

/// Reads shapes, and remembers which tensors it has asked for.
struct Reader<'s> {
    source: &'s Source,
    config: Map<String, Value>,
    known: BTreeSet<String>,
}

impl Reader<'_> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.source.info(name).map(|info| &info.shape[..])
    }

    /// Checks one tensor.
    fn expect(&mut self, name: String, wanted: &[usize]) -> Result<()> {
        let Some(info) = self.source.info(&name) else {
            return Err(self.source.error(format!("{name} is missing (wanted {wanted:?})")));
        };
        // Products of single pixels are stored as convolutions or as matrices.
        let flat = |shape: &[usize]| shape.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
        if info.shape != wanted && (wanted.len() != 2 || flat(&info.shape) != flat(wanted)) {
            return Err(self.source.error(format!("{name} is {:?} (wanted {wanted:?})", info.shape)));
        }
        if Stored::of(info.dtype).is_none() {
            return Err(self.source.error(format!("{name} is {} (wanted {})", info.dtype, Stored::NAMES)));
        }
        self.known.insert(name);
        Ok(())
    }

    /// A convolution of `ins` channels; how many come out and how large windows are is read from its shape.
    fn conv(&mut self, name: String, ins: usize) -> Result<Conv> {
        let weight = format!("{name}.weight");
        let (outs, size) = match self.shape(&weight) {
            Some(&[outs, _, size, _]) if size % 2 == 1 => (outs, size),
            Some(&[outs, _]) => (outs, 1),
            Some(shape) => {
                return Err(self.source.error(format!("{weight} is {shape:?} (wanted [O, {ins}, 3, 3])")));
            }
            None => (0, 3),
        };
        match size {
            1 => self.expect(weight, &[outs, ins])?,
            _ => self.expect(weight, &[outs, ins, size, size])?,
        }
        Ok(Conv { name, ins, outs, size })
    }

    /// The same, with a bias.
    fn biased(&mut self, name: String, ins: usize) -> Result<Conv> {
        let conv = self.conv(name, ins)?;
        self.expect(format!("{}.bias", conv.name), &[conv.outs])?;
        Ok(conv)
    }

    fn norm(&mut self, name: String, channels: usize) -> Result<Norm> {
        self.expect(format!("{name}.weight"), &[channels])?;
        self.expect(format!("{name}.bias"), &[channels])?;
        Ok(Norm { name, channels })
    }

    fn resnet(&mut self, name: &str, shortcut: &str, ins: usize) -> Result<Layer> {
        let first = self.norm(format!("{name}.norm1"), ins)?;
        let grow = self.biased(format!("{name}.conv1"), ins)?;
        let second = self.norm(format!("{name}.norm2"), grow.outs)?;
        let keep = self.biased(format!("{name}.conv2"), grow.outs)?;
        let across = format!("{name}.{shortcut}");
        let shortcut = match self.shape(&format!("{across}.weight")) {
            Some(_) => Some(self.biased(across, ins)?),
            None => None,
        };
        let added = shortcut.as_ref().map_or(ins, |conv| conv.outs);
        if added != keep.outs {
            let why = format!("{name} adds {added} channels to {}", keep.outs);
            return Err(self.source.error(why));
        }
        Ok(Layer::Resnet { norms: [first, second], convs: [grow, keep], shortcut })
    }

    fn kl(mut self, names: &Names, prefix: &str) -> Result<Plan> {
        let at = |name: &str| format!("{prefix}{name}");
        let numbered = |name: &str, i: usize| name.replace("{i}", &i.to_string());
        let mut layers = vec![];
        let first = at("decoder.conv_in.weight");
        let latents = self.shape(&first).and_then(|shape| shape.get(1)).copied().unwrap_or(4);
        let plain = |conv| Layer::Conv { conv, doubled: false, relu: false };
        if self.shape(&at("post_quant_conv.weight")).is_some() {
            layers.push(plain(self.biased(at("post_quant_conv"), latents)?));
        }
        let conv = self.biased(at("decoder.conv_in"), latents)?;
        let mut channels = conv.outs;
        layers.push(plain(conv));
        layers.push(self.resnet(&at(names.middle[0]), names.shortcut, channels)?);
        let attention = at(names.attention);
        let there = |part: &str| self.shape(&format!("{attention}.{part}.weight")).is_some();
        if let Some([norm, q, k, v, proj]) = names.attends.iter().find(|all| there(all[1])) {
            let norm = self.norm(format!("{attention}.{norm}"), channels)?;
            let qkv = [q, k, v].map(|part| format!("{attention}.{part}"));
            for part in &qkv {
                self.expect(format!("{part}.weight"), &[channels, channels])?;
                self.expect(format!("{part}.bias"), &[channels])?;
            }
            let proj = self.biased(format!("{attention}.{proj}"), channels)?;
            layers.push(Layer::Attention { norm, qkv, proj });
        }
        layers.push(self.resnet(&at(names.middle[1]), names.shortcut, channels)?);

        let level = |i: usize| at(&numbered(names.level, i));
        let resnet = |i: usize, j: usize| format!("{}.{}", level(i), numbered(names.resnet, j));
        let is_there = |reader: &Self, name: &str| reader.shape(&format!("{name}.conv1.weight")).is_some();
        let mut levels: Vec<usize> = (0..).take_while(|&i| is_there(&self, &resnet(i, 0))).collect();
        if names.downwards {
            levels.reverse();
        }
        let mut times = 1;
        for i in levels {
            for j in (0..).take_while(|&j| is_there(&self, &resnet(i, j))).collect::<Vec<_>>() {
                let layer = self.resnet(&resnet(i, j), names.shortcut, channels)?;
                if let Layer::Resnet { convs: [_, last], .. } = &layer {
                    channels = last.outs;
                }
                layers.push(layer);
            }
            let doubled = format!("{}.{}", level(i), names.doubled);
            if self.shape(&format!("{doubled}.weight")).is_some() {
                let conv = self.biased(doubled, channels)?;
                (channels, times) = (conv.outs, 2 * times);
                layers.push(Layer::Conv { conv, doubled: true, relu: false });
            }
        }
        layers.push(Layer::Norm(self.norm(at(names.norm_out), channels)?));
        layers.push(plain(self.biased(at("decoder.conv_out"), channels)?));
        self.nothing_more(&at("decoder."))?;

        let groups = self.config.get("norm_num_groups").and_then(Value::as_u64).unwrap_or(32);
        let groups = usize::try_from(groups).unwrap_or(0);
        let norms = layers.iter().flat_map(|layer| layer.parts().1);
        if let Some(norm) = norms.into_iter().find(|n| groups == 0 || n.channels % (4 * groups) != 0) {
            let why = format!(
                "{} has {} channels; wanted a multiple of 4 in each of {groups} groups (`norm_num_groups` of its \
                 config.json)",
                norm.name, norm.channels
            );
            return Err(self.source.error(why));
        }
        let number = |key: &str| self.config.get(key).and_then(Value::as_f64);
        let scaling = match number("scaling_factor") {
            Some(scaling) if scaling.is_finite() && scaling != 0.0 => scaling,
            None if latents == 4 => SCALING,
            other => {
                let got = other.map_or("nothing says".into(), |x| format!("{x} is"));
                let why = format!("{got} its latents' `scaling_factor`; wanted a config.json with it");
                return Err(self.source.error(why));
            }
        };
        let shift = number("shift_factor").unwrap_or(0.0);
        let ends = Ends::Scaled { scaling: scaling as f32, shift: shift as f32 };
        self.finished(Plan { whose: names.whose, layers, ends, latents, times, groups })
    }

    /// A TAESD's layers are numbered; those from `first` on count.
    fn tiny(mut self, prefix: &str, first: usize) -> Result<Plan> {
        let mut numbers = BTreeMap::new();
        for name in self.source.names().filter_map(|name| name.strip_prefix(prefix)) {
            let (number, rest) = name.split_once('.').unwrap_or((name, ""));
            if let Ok(number) = number.parse::<usize>() {
                *numbers.entry(number).or_insert(false) |= rest.starts_with("conv.");
            }
        }
        let (mut layers, mut times) = (vec![], 1);
        let start = format!("{prefix}{first}.weight");
        let latents = self.shape(&start).and_then(|shape| shape.get(1)).copied().unwrap_or(4);
        let mut channels = latents;
        let last = numbers.keys().last().copied().unwrap_or(0);
        for (number, is_block) in numbers {
            let name = format!("{prefix}{number}");
            if is_block {
                let [a, b, c] = ["conv.0", "conv.2", "conv.4"].map(|part| format!("{name}.{part}"));
                let convs = [self.biased(a, channels)?, self.biased(b, channels)?, self.biased(c, channels)?];
                if let Some(conv) = convs.iter().find(|conv| conv.outs != channels) {
                    let why = format!("{} makes {} channels of {channels}", conv.name, conv.outs);
                    return Err(self.source.error(why));
                }
                layers.push(Layer::Block(convs));
                continue;
            }
            // A convolution without a bias is one of the doubled image.
            let doubled = self.shape(&format!("{name}.bias")).is_none() && number != first;
            let conv = if doubled { self.conv(name, channels)? } else { self.biased(name, channels)? };
            channels = conv.outs;
            times *= if doubled { 2 } else { 1 };
            let relu = !doubled && number != last;
            layers.push(Layer::Conv { conv, doubled, relu });
        }
        self.nothing_more(prefix)?;
        let whose = "TAESD";
        self.finished(Plan { whose, layers, ends: Ends::Tiny, latents, times, groups: 1 })
    }

    /// An error where there are tensors of the decoder that no layer has asked for.
    fn nothing_more(&self, prefix: &str) -> Result<()> {
        let strange = |name: &&str| {
            let rest = name.strip_prefix(prefix);
            let own = |rest: &str| !prefix.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit());
            rest.is_some_and(own) && !self.known.contains(*name)
        };
        match self.source.names().find(strange) {
            Some(name) => Err(self.source.error(format!("{name} is not part of this decoder"))),
            None => Ok(()),
        }
    }

    fn finished(self, plan: Plan) -> Result<Plan> {
        match plan.layers.last() {
            Some(Layer::Conv { conv, .. }) if conv.outs != 3 => {
                let why = format!("{} makes {} channels; wanted 3, a picture's", conv.name, conv.outs);
                Err(self.source.error(why))
            }
            _ => Ok(plan),
        }
    }
}
