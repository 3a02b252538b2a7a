//! Class-conditional Latte (arXiv 2401.03048), which is DiT (arXiv 2212.09748) plus blocks that attend over frames.
//!
//! ```text
//! once     condition = time + class;  modulation of all blocks = linear(SiLU(condition)), for all steps
//! embed    x = patches + positions
//! probe    signal = modulate(x) for block 0
//! blocks   for each block:  x += α₁·attention(modulate(x));  x += α₂·mlp(modulate(x))
//! head     pixels = linear(modulate(x))
//! ```

use std::ops::Range;

use super::weights::Checkpoint;
use super::{Condition, Config, Model, Pass, Streams};
use crate::device::Gate;
use crate::ops::{
    Chunks, EPSILON, Epilogue, FREQUENCIES, Over, attention, label_embed, linear, modulate, modulate_rel_l1,
    patch_embed, take, temporal_embed, time_embed,
};
use crate::{DType, Device, Error, Result, Shape, Tensor};

/// Chunks of a block's modulation (adaLN-Zero): shift, scale and α of its attention, then of its MLP.
const CHUNKS: usize = 6;
const ATTENTION: Chunks = Chunks { shift: 0, scale: 1 };
const ATTENTION_ALPHA: usize = 2;
const MLP: Chunks = Chunks { shift: 3, scale: 4 };
const MLP_ALPHA: usize = 5;
/// Of the head's two, behind the blocks'.
const HEAD: Chunks = Chunks { shift: 0, scale: 1 };

/// The memory that modulation may take at a time, in bytes: 40 steps of a guided clip of DiT-XL/2.
const TABLE: usize = 64 << 20;

/// Steps whose modulation is computed at a time, for B samples: all of a run, where memory allows.
pub(super) fn steps_at_once(config: &Config, batch: usize) -> usize {
    (TABLE / (batch * config.modulation() * size_of::<f32>()).max(1)).max(1)
}

/// A model on a device.
pub struct Dit {
    config: Config,
    dtype: DType,
    device: Device,
    patch: Linear,
    positions: Tensor,
    frames: Option<Tensor>,
    time: [Linear; 2],
    labels: Tensor,
    /// That of all blocks and of the head, one below the other: [(6·depth + 2)·d, d].
    modulation: Linear,
    blocks: Vec<Block>,
    head: Linear,
}

struct Linear {
    w: Tensor,
    b: Tensor,
}

struct Block {
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

impl Dit {
    /// The model that comes with the crate, in f32.
    pub fn shipped(device: &Device) -> Result<Dit> {
        Dit::load(device, &Checkpoint::shipped()?, DType::F32)
    }

    /// Loads a checkpoint with matrix operands of `dtype`.
    pub fn load(device: &Device, checkpoint: &Checkpoint, dtype: DType) -> Result<Dit> {
        checkpoint.check_copies()?;
        let config = checkpoint.config().clone();
        let d = config.dim;
        let table = |name: &str, rows: usize| checkpoint.load(device, &[name], DType::F32, [rows, d]);
        let stack = |names: &[String], out: usize, k: usize| {
            let all = |part: &str| names.iter().map(|name| format!("{name}.{part}")).collect::<Vec<_>>();
            Ok(Linear {
                w: checkpoint.load(device, &all("weight"), dtype, [out, k])?.for_products(),
                b: checkpoint.load(device, &all("bias"), DType::F32, [out])?,
            })
        };
        let layer = |name: &str, out: usize, k: usize| stack(&[name.to_string()], out, k);
        let patch = [d, config.channels, config.patch, config.patch];
        let hidden = config.mlp_ratio * d;
        let pixels = config.patch * config.patch * config.out_channels();
        let block = |i: usize| {
            let layer = |name: &str, out, k| layer(&format!("blocks.{i}.{name}"), out, k);
            Ok(Block {
                qkv: layer("attn.qkv", 3 * d, d)?,
                proj: layer("attn.proj", d, d)?,
                fc1: layer("mlp.fc1", hidden, d)?,
                fc2: layer("mlp.fc2", d, hidden)?,
            })
        };
        let modulated = (0..config.depth).map(|i| format!("blocks.{i}.adaLN_modulation.1"));
        let modulated: Vec<String> = modulated.chain(["final_layer.adaLN_modulation.1".into()]).collect();
        Ok(Dit {
            dtype,
            device: device.clone(),
            patch: Linear {
                w: checkpoint.load(device, &["x_embedder.proj.weight"], dtype, patch)?.for_products(),
                b: checkpoint.load(device, &["x_embedder.proj.bias"], DType::F32, [d])?,
            },
            positions: checkpoint.positions(device)?,
            frames: config.temporal.then(|| table("temp_embed", config.frames)).transpose()?,
            time: [layer("t_embedder.mlp.0", d, 2 * FREQUENCIES)?, layer("t_embedder.mlp.2", d, d)?],
            labels: checkpoint.labels(device)?,
            modulation: stack(&modulated, config.modulation(), d)?,
            blocks: (0..config.depth).map(block).collect::<Result<_>>()?,
            head: layer("final_layer.linear", pixels, d)?,
            config,
        })
    }

    /// Steps whose modulation is computed at a time, for B samples: all of a run, where memory allows.
    pub fn steps_at_once(&self, batch: usize) -> usize {
        steps_at_once(&self.config, batch)
    }

    /// Time plus class, `c = MLP(sinusoids(t)) + table[class]`, and SiLU(c), a row for each of R times and labels:
    /// f32 [R, d] and T [R, d] (DiT, section 3.2).
    pub fn condition(&self, times: &[f32], labels: &[u32]) -> Result<(Tensor, Tensor)> {
        let (rows, d, device) = (times.len(), self.config.dim, &self.device);
        let row = |dtype, width| Tensor::zeros(device, dtype, [rows, width]);
        let times = Tensor::from_f32(device, DType::F32, [1, rows], times)?;
        let labels = Tensor::from_u32(device, [rows], labels)?;
        let (mut sinusoids, mut hidden) = (row(self.dtype, 2 * FREQUENCIES)?, row(self.dtype, d)?);
        let (mut time, mut condition, mut act) =
            (row(DType::F32, d)?, row(DType::F32, d)?, row(self.dtype, d)?);
        let [first, second] = &self.time;
        time_embed(Gate::Open, &mut sinusoids, &times, 0, self.config.time_divisor)?;
        linear(Gate::Open, &mut hidden, &sinusoids, &first.w, &first.b, Epilogue::Silu)?;
        linear(Gate::Open, &mut time, &hidden, &second.w, &second.b, Epilogue::Bias)?;
        label_embed(Gate::Open, &mut condition, &mut act, &time, &self.labels, &labels)?;
        Ok((condition, act))
    }
}

impl Model for Dit {
    fn config(&self) -> &Config {
        &self.config
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn unconditional(&self, clips: usize) -> Condition {
        Condition::Classes(vec![self.config.classes; clips])
    }

    fn begin<'m>(&'m self, condition: &Condition, times: &[f32]) -> Result<Box<dyn Pass + 'm>> {
        let c = &self.config;
        let (d, hidden) = (c.dim, c.mlp_ratio * c.dim);
        let labels = condition.labels(c.classes)?;
        let batch = labels.len();
        let of = |what, dtype, shape: &[usize]| {
            let shape = Shape::try_from(shape)?;
            Tensor::zeros(&self.device, dtype, shape).map_err(|e| e.of(what))
        };
        let stream = |what, dtype, width| of(what, dtype, &[batch, c.frames, c.tokens(), width]);
        let pixels = c.patch * c.patch * c.out_channels();
        let mut pass = DitPass {
            model: self,
            streams: Streams {
                stack_in: stream("the input of the blocks", DType::F32, d)?,
                first: stream("what the first block makes", DType::F32, if c.depth > 1 { d } else { 0 })?,
                x: stream("the residual stream", DType::F32, d)?,
                signal: stream("block 0's modulated input", self.dtype, d)?,
                tokens: stream("the output of the head", DType::F32, pixels)?,
            },
            times: vec![],
            labels,
            prepared: None,
            table: None,
            mods: of("modulations", DType::F32, &[batch, c.modulation()])?,
            h: stream("the input of a product", self.dtype, d)?,
            qkv: stream("queries, keys and values", self.dtype, 3 * d)?,
            hidden: stream("the hidden layer", self.dtype, hidden)?,
        };
        pass.retime(times)?;
        Ok(Box::new(pass))
    }
}

/// [`Dit`] at work on a batch of B clips.
struct DitPass<'m> {
    model: &'m Dit,
    streams: Streams,
    /// [S, B], and [B].
    times: Vec<f32>,
    labels: Vec<u32>,
    /// The steps whose modulation is there, and it: f32 [s, B, (6·depth + 2)·d].
    prepared: Option<Range<usize>>,
    table: Option<Tensor>,
    /// That of the step at hand, f32 [B, (6·depth + 2)·d]: chunks 6·i to 6·i + 5 are block i's, the last two the head's.
    mods: Tensor,
    h: Tensor,
    qkv: Tensor,
    hidden: Tensor,
}

impl DitPass<'_> {
    /// Computes the modulation of step `step`, and of those after it, unless it is there already.
    fn prepare(&mut self, step: usize) -> Result<()> {
        if self.prepared.as_ref().is_some_and(|steps| steps.contains(&step)) {
            return Ok(());
        }
        let (model, batch) = (self.model, self.labels.len());
        let all = self.times.len() / batch;
        if step >= all {
            return Err(Error::setting(format!("step {step}"), format!("one of {all} steps")));
        }
        let at_once = model.steps_at_once(batch);
        let first = step / at_once * at_once;
        let steps = first..all.min(first + at_once);
        let times = &self.times[first * batch..steps.end * batch];
        let labels: Vec<u32> = self.labels.iter().copied().cycle().take(times.len()).collect();
        let (_, act) = model.condition(times, &labels)?;
        let shape = [steps.len(), batch, model.config.modulation()];
        if self.table.as_ref().is_none_or(|table| *table.shape() != shape.into()) {
            // Memory of the steps before is free again before that of these is taken.
            self.table = None;
            self.table = Some(Tensor::zeros(&model.device, DType::F32, shape)?);
        }
        let Some(table) = &mut self.table else { unreachable!("it was made") };
        let w = &model.modulation;
        linear(Gate::Open, table, &act, &w.w, &w.b, Epilogue::Bias)?;
        self.prepared = Some(steps);
        Ok(())
    }

    fn block(&mut self, i: usize, gate: Gate<'_>) -> Result<()> {
        let (w, c) = (&self.model.blocks[i], &self.model.config);
        let Streams { stack_in, first, x, signal, .. } = &mut self.streams;
        let chunks = |of: Chunks| Chunks { shift: CHUNKS * i + of.shift, scale: CHUNKS * i + of.scale };
        if i > 0 {
            let x = if i == 1 { &*first } else { &*x };
            modulate(gate, &mut self.h, x, &self.mods, chunks(ATTENTION), EPSILON)?;
        }
        let h = if i == 0 { &*signal } else { &self.h };
        linear(gate, &mut self.qkv, h, &w.qkv.w, &w.qkv.b, Epilogue::Bias)?;
        let temporal = c.temporal && i % 2 == 1;
        let over = if temporal { Over::Frames } else { Over::Tokens };
        attention(gate, &mut self.h, &self.qkv, c.heads, over)?;
        // The first two blocks add onto their input and write elsewhere: it survives without a copy.
        let onto = [&*stack_in, &*first].get(i).copied();
        let back = Epilogue::Residual { mods: &self.mods, chunk: CHUNKS * i + ATTENTION_ALPHA, onto };
        linear(gate, x, &self.h, &w.proj.w, &w.proj.b, back)?;
        modulate(gate, &mut self.h, x, &self.mods, chunks(MLP), c.mlp_epsilon)?;
        linear(gate, &mut self.hidden, &self.h, &w.fc1.w, &w.fc1.b, Epilogue::Gelu)?;
        let (onto, out) = match i == 0 && c.depth > 1 {
            true => (Some(&*x), first),
            false => (None, x),
        };
        let back = Epilogue::Residual { mods: &self.mods, chunk: CHUNKS * i + MLP_ALPHA, onto };
        linear(gate, out, &self.hidden, &w.fc2.w, &w.fc2.b, back)
    }
}

impl Pass for DitPass<'_> {
    fn streams(&self) -> &Streams {
        &self.streams
    }

    fn streams_mut(&mut self) -> &mut Streams {
        &mut self.streams
    }

    fn retime(&mut self, times: &[f32]) -> Result<()> {
        let batch = self.labels.len();
        if times.is_empty() || !times.len().is_multiple_of(batch) {
            let wanted = format!("whole rows of {batch}, one for each clip");
            return Err(Error::setting(format!("{} times", times.len()), wanted));
        }
        self.times = times.to_vec();
        self.prepared = None;
        self.prepare(0)
    }

    fn embed(&mut self, gate: Gate<'_>, z: &Tensor, step: usize) -> Result<()> {
        self.prepare(step)?;
        let model = self.model;
        let (Some(table), Some(steps)) = (&self.table, &self.prepared) else {
            unreachable!("it was prepared")
        };
        take(gate, &mut self.mods, table, step - steps.start)?;
        let stack_in = &mut self.streams.stack_in;
        patch_embed(gate, stack_in, z, &model.patch.w, &model.patch.b, &model.positions)
    }

    fn probe(&mut self, gate: Gate<'_>, moved: Option<&mut Tensor>) -> Result<()> {
        let Streams { stack_in, signal, .. } = &mut self.streams;
        match moved {
            None => modulate(gate, signal, stack_in, &self.mods, ATTENTION, EPSILON),
            Some(partials) => modulate_rel_l1(gate, signal, partials, stack_in, &self.mods, ATTENTION),
        }
    }

    fn first(&mut self, gate: Gate<'_>) -> Result<()> {
        self.block(0, gate)
    }

    fn place_frames(&mut self, gate: Gate<'_>) -> Result<()> {
        match &self.model.frames {
            Some(frames) if self.model.config.depth > 1 => {
                temporal_embed(gate, &mut self.streams.first, frames)
            }
            _ => Ok(()),
        }
    }

    fn rest(&mut self, gate: Gate<'_>) -> Result<()> {
        (1..self.model.config.depth).try_for_each(|i| self.block(i, gate))
    }

    fn head(&mut self, gate: Gate<'_>) -> Result<()> {
        let (w, depth) = (&self.model.head, self.model.config.depth);
        let chunks = Chunks { shift: CHUNKS * depth + HEAD.shift, scale: CHUNKS * depth + HEAD.scale };
        modulate(gate, &mut self.h, &self.streams.x, &self.mods, chunks, EPSILON)?;
        linear(gate, &mut self.streams.tokens, &self.h, &w.w, &w.b, Epilogue::Bias)
    }

    fn bytes(&self) -> usize {
        let Streams { stack_in, first, x, signal, tokens } = &self.streams;
        let streams = [stack_in, first, x, signal, tokens, &self.h, &self.qkv, &self.hidden, &self.mods];
        streams.into_iter().chain(&self.table).map(Tensor::bytes).sum()
    }
}
