//! Class-conditional Latte (arXiv 2401.03048), which is DiT (arXiv 2212.09748) plus blocks that attend over frames.
//!
//! ```text
//! embed    x = patches + positions;  c = time + label
//! probe    signal = modulate(x) for block 0
//! blocks   for each block:  x += α₁·attention(modulate(x));  x += α₂·mlp(modulate(x))
//! head     pixels = linear(modulate(x))
//! ```

use super::Config;
use super::weights::Checkpoint;
use crate::device::Gate;
use crate::ops::{
    Chunks, Epilogue, FREQUENCIES, Over, Update, attention, denoise, label_embed, linear, modulate,
    modulate_rel_l1, patch_embed, temporal_embed, time_embed,
};
use crate::{DType, Device, Error, Result, Tensor};

// The six chunks of a block's modulation (adaLN-Zero), and the two of the head's.
const ATTENTION: Chunks = Chunks { shift: 0, scale: 1 };
const ATTENTION_ALPHA: usize = 2;
const MLP: Chunks = Chunks { shift: 3, scale: 4 };
const MLP_ALPHA: usize = 5;
const HEAD: Chunks = Chunks { shift: 0, scale: 1 };

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
    blocks: Vec<Block>,
    head_modulation: Linear,
    head: Linear,
}

struct Linear {
    w: Tensor,
    b: Tensor,
}

struct Block {
    modulation: Linear,
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

/// The activations of one batch, made once and written at every step.
pub struct Acts {
    /// After patches and positions: what the transformer stack is given. f32 [B, F, N, d]
    pub stack_in: Tensor,
    /// After the first block, where there are others. f32 [B, F, N, d]
    pub first: Tensor,
    /// The residual stream; after `blocks`, what the stack made of its input. f32 [B, F, N, d]
    pub x: Tensor,
    /// Block 0's modulated input. T [B, F, N, d]
    pub signal: Tensor,
    /// Time plus label. f32 [B, d]
    pub condition: Tensor,
    /// The prediction, token by token. f32 [B, F, N, p·p·P]
    pub tokens: Tensor,
    sinusoids: Tensor,
    time_hidden: Tensor,
    time: Tensor,
    act: Tensor,
    mods: Tensor,
    head_mods: Tensor,
    h: Tensor,
    qkv: Tensor,
    hidden: Tensor,
}

impl Acts {
    /// The memory they take.
    pub fn bytes(&self) -> usize {
        let streams = [
            &self.stack_in,
            &self.first,
            &self.x,
            &self.signal,
            &self.tokens,
            &self.h,
            &self.qkv,
            &self.hidden,
        ];
        let rows = [&self.condition, &self.sinusoids, &self.time_hidden, &self.time, &self.act];
        let mods = [&self.mods, &self.head_mods];
        streams.into_iter().chain(rows).chain(mods).map(Tensor::bytes).sum()
    }
}

impl Dit {
    /// Loads a checkpoint with matrix operands of `dtype`.
    pub fn load(device: &Device, checkpoint: &Checkpoint, dtype: DType) -> Result<Dit> {
        let config = checkpoint.config().clone();
        let d = config.dim;
        let table = |name: &str, rows: usize| checkpoint.load(device, name, DType::F32, [rows, d]);
        let layer = |name: &str, out: usize, k: usize| {
            Ok(Linear {
                w: checkpoint.load(device, &format!("{name}.weight"), dtype, [out, k])?,
                b: checkpoint.load(device, &format!("{name}.bias"), DType::F32, [out])?,
            })
        };
        let patch = [d, config.channels, config.patch, config.patch];
        let hidden = config.mlp_ratio * d;
        let pixels = config.patch * config.patch * config.out_channels();
        let block = |i: usize| {
            let layer = |name: &str, out, k| layer(&format!("blocks.{i}.{name}"), out, k);
            Ok(Block {
                modulation: layer("adaLN_modulation.1", 6 * d, d)?,
                qkv: layer("attn.qkv", 3 * d, d)?,
                proj: layer("attn.proj", d, d)?,
                fc1: layer("mlp.fc1", hidden, d)?,
                fc2: layer("mlp.fc2", d, hidden)?,
            })
        };
        Ok(Dit {
            dtype,
            device: device.clone(),
            patch: Linear {
                w: checkpoint.load(device, "x_embedder.proj.weight", dtype, patch)?,
                b: checkpoint.load(device, "x_embedder.proj.bias", DType::F32, [d])?,
            },
            positions: table("pos_embed", config.tokens())?,
            frames: config.temporal.then(|| table("temp_embed", config.frames)).transpose()?,
            time: [layer("t_embedder.mlp.0", d, 2 * FREQUENCIES)?, layer("t_embedder.mlp.2", d, d)?],
            labels: table("y_embedder.embedding_table.weight", config.classes + 1)?,
            blocks: (0..config.depth).map(block).collect::<Result<_>>()?,
            head_modulation: layer("final_layer.adaLN_modulation.1", 2 * d, d)?,
            head: layer("final_layer.linear", pixels, d)?,
            config,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The dtype of matrix operands.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it is loaded.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Activations for `batch` clips.
    pub fn acts(&self, batch: usize) -> Result<Acts> {
        let c = &self.config;
        let (d, hidden) = (c.dim, c.mlp_ratio * c.dim);
        let stream = |dtype, width| Tensor::zeros(&self.device, dtype, [batch, c.frames, c.tokens(), width]);
        let row = |dtype, width| Tensor::zeros(&self.device, dtype, [batch, width]);
        Ok(Acts {
            stack_in: stream(DType::F32, d)?,
            first: stream(DType::F32, if c.depth > 1 { d } else { 0 })?,
            x: stream(DType::F32, d)?,
            signal: stream(self.dtype, d)?,
            condition: row(DType::F32, d)?,
            tokens: stream(DType::F32, c.patch * c.patch * c.out_channels())?,
            sinusoids: row(self.dtype, 2 * FREQUENCIES)?,
            time_hidden: row(self.dtype, d)?,
            time: row(DType::F32, d)?,
            act: row(self.dtype, d)?,
            mods: row(DType::F32, 6 * d)?,
            head_mods: row(DType::F32, 2 * d)?,
            h: stream(self.dtype, d)?,
            qkv: stream(self.dtype, 3 * d)?,
            hidden: stream(self.dtype, hidden)?,
        })
    }

    /// The labels of a batch, as the model takes them.
    pub fn labels(&self, labels: &[usize]) -> Result<Tensor> {
        if let Some(label) = labels.iter().find(|&&l| l > self.config.classes) {
            let last = self.config.classes - 1;
            let wanted = format!("0 to {last}, or {} for none", self.config.classes);
            return Err(Error::setting(format!("class {label}"), wanted));
        }
        let labels: Vec<u32> = labels.iter().map(|&l| l as u32).collect();
        Tensor::from_u32(&self.device, [labels.len()], &labels)
    }

    /// Patches and positions into `stack_in`; time and label into `condition`.
    ///
    /// `z` f32 [Z, F, C, H, W], Z dividing B; `times` f32 [S, B] of which row `step` counts; `labels` `u32 [B]`.
    pub fn embed(&self, a: &mut Acts, z: &Tensor, time: (&Tensor, usize), labels: &Tensor) -> Result<()> {
        self.embed_if(Gate::Open, a, z, time, labels)
    }

    fn embed_if(
        &self,
        gate: Gate<'_>,
        a: &mut Acts,
        z: &Tensor,
        (times, step): (&Tensor, usize),
        labels: &Tensor,
    ) -> Result<()> {
        let [first, second] = &self.time;
        patch_embed(gate, &mut a.stack_in, z, &self.patch.w, &self.patch.b, &self.positions)?;
        time_embed(gate, &mut a.sinusoids, times, step)?;
        linear(gate, &mut a.time_hidden, &a.sinusoids, &first.w, &first.b, Epilogue::Silu)?;
        linear(gate, &mut a.time, &a.time_hidden, &second.w, &second.b, Epilogue::Bias)?;
        label_embed(gate, &mut a.condition, &mut a.act, &a.time, &self.labels, labels)
    }

    /// Block 0's modulated input into `signal`. With `moved`, f32 [P, 2], also the partial sums of how far it is from
    /// what `signal` held before.
    pub fn probe(&self, a: &mut Acts, moved: Option<&mut Tensor>) -> Result<()> {
        self.probe_if(Gate::Open, a, moved)
    }

    fn probe_if(&self, gate: Gate<'_>, a: &mut Acts, moved: Option<&mut Tensor>) -> Result<()> {
        let w = &self.blocks[0].modulation;
        linear(gate, &mut a.mods, &a.act, &w.w, &w.b, Epilogue::Bias)?;
        match moved {
            None => modulate(gate, &mut a.signal, &a.stack_in, &a.mods, ATTENTION),
            Some(partials) => modulate_rel_l1(gate, &mut a.signal, partials, &a.stack_in, &a.mods, ATTENTION),
        }
    }

    /// The transformer stack: from `stack_in` and `signal` to `x`.
    pub fn blocks(&self, a: &mut Acts, gate: Gate<'_>) -> Result<()> {
        self.first_block(a, gate)?;
        self.tell_frames(a, gate)?;
        self.other_blocks(a, gate)
    }

    /// The first block of the stack: from `stack_in` and `signal` to `first`, or to `x` where it is the only one.
    pub fn first_block(&self, a: &mut Acts, gate: Gate<'_>) -> Result<()> {
        self.block(0, a, gate)
    }

    /// What tells frames apart, onto `first`: the first block is not temporal, and comes without.
    pub fn tell_frames(&self, a: &mut Acts, gate: Gate<'_>) -> Result<()> {
        match &self.frames {
            Some(frames) if self.blocks.len() > 1 => temporal_embed(gate, &mut a.first, frames),
            _ => Ok(()),
        }
    }

    /// The stack after its first block: from `first`, with its frames told, to `x`.
    pub fn other_blocks(&self, a: &mut Acts, gate: Gate<'_>) -> Result<()> {
        (1..self.blocks.len()).try_for_each(|i| self.block(i, a, gate))
    }

    fn block(&self, i: usize, a: &mut Acts, gate: Gate<'_>) -> Result<()> {
        let w = &self.blocks[i];
        if i > 0 {
            linear(gate, &mut a.mods, &a.act, &w.modulation.w, &w.modulation.b, Epilogue::Bias)?;
            let x = if i == 1 { &a.first } else { &a.x };
            modulate(gate, &mut a.h, x, &a.mods, ATTENTION)?;
        }
        let h = if i == 0 { &a.signal } else { &a.h };
        linear(gate, &mut a.qkv, h, &w.qkv.w, &w.qkv.b, Epilogue::Bias)?;
        let temporal = self.config.temporal && i % 2 == 1;
        let over = if temporal { Over::Frames } else { Over::Tokens };
        attention(gate, &mut a.h, &a.qkv, self.config.heads, over)?;
        // The first two blocks add onto their input and write elsewhere: it survives without a copy.
        let onto = [&a.stack_in, &a.first].get(i).copied();
        let back = Epilogue::Residual { mods: &a.mods, chunk: ATTENTION_ALPHA, onto };
        linear(gate, &mut a.x, &a.h, &w.proj.w, &w.proj.b, back)?;
        modulate(gate, &mut a.h, &a.x, &a.mods, MLP)?;
        linear(gate, &mut a.hidden, &a.h, &w.fc1.w, &w.fc1.b, Epilogue::Gelu)?;
        let (onto, out) = match i == 0 && self.blocks.len() > 1 {
            true => (Some(&a.x), &mut a.first),
            false => (None, &mut a.x),
        };
        let back = Epilogue::Residual { mods: &a.mods, chunk: MLP_ALPHA, onto };
        linear(gate, out, &a.hidden, &w.fc2.w, &w.fc2.b, back)
    }

    /// From `x` to `tokens`.
    pub fn head(&self, a: &mut Acts) -> Result<()> {
        self.head_if(Gate::Open, a)
    }

    fn head_if(&self, gate: Gate<'_>, a: &mut Acts) -> Result<()> {
        let (m, w) = (&self.head_modulation, &self.head);
        linear(gate, &mut a.head_mods, &a.act, &m.w, &m.b, Epilogue::Bias)?;
        modulate(gate, &mut a.h, &a.x, &a.head_mods, HEAD)?;
        linear(gate, &mut a.tokens, &a.h, &w.w, &w.b, Epilogue::Bias)
    }

    /// All of it, from `z` to `tokens`, under one gate. The rest as [`embed`](Self::embed).
    pub fn evaluate(
        &self,
        gate: Gate<'_>,
        a: &mut Acts,
        z: &Tensor,
        time: (&Tensor, usize),
        labels: &Tensor,
    ) -> Result<()> {
        self.embed_if(gate, a, z, time, labels)?;
        self.probe_if(gate, a, None)?;
        self.blocks(a, gate)?;
        self.head_if(gate, a)
    }

    /// One evaluation: `out` f32 [B, F, P, H, W], P the predicted channels. The rest as [`embed`](Self::embed).
    pub fn forward(
        &self,
        a: &mut Acts,
        out: &mut Tensor,
        z: &Tensor,
        time: (&Tensor, usize),
        labels: &Tensor,
    ) -> Result<()> {
        self.evaluate(Gate::Open, a, z, time, labels)?;
        let as_is = Update { keep: 0.0, add: 1.0, guidance: 1.0 };
        denoise(Gate::Open, out, &a.tokens, self.config.patch, as_is)
    }
}
