//! The model of `reference/model.py` with candle's ops, on the CPU: writes its output, then times itself on request.
//!
//! `steep-peer-candle CONFIG MODEL.safetensors IN.safetensors OUT.safetensors` prints `{"candle": VERSION}` once the output
//! is written. After that each line of standard input is a number of seconds, and is answered by the median time of a
//! forward pass in milliseconds.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Instant;

use candle_core::{DType, Device, IndexOp, Result, Tensor, safetensors};
use candle_nn::ops::{layer_norm, silu, softmax_last_dim};

const VERSION: &str = "0.11.1";

struct Model {
    weights: HashMap<String, Tensor>,
    config: serde_json::Value,
    /// 1 and 0, for layer norms without weights of their own.
    ones: Tensor,
    zeros: Tensor,
}

impl Model {
    fn size(&self, name: &str) -> usize {
        self.config[name].as_u64().unwrap_or_else(|| panic!("{name} in the configuration")) as usize
    }

    fn get(&self, name: &str) -> &Tensor {
        self.weights.get(name).unwrap_or_else(|| panic!("{name} in the checkpoint"))
    }

    /// Over the last dimension, all rows as one product.
    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let w = self.get(&format!("{name}.weight"));
        let mut dims = x.dims().to_vec();
        let rows = x.elem_count() / w.dim(1)?;
        *dims.last_mut().unwrap() = w.dim(0)?;
        let y = x.reshape((rows, w.dim(1)?))?.matmul(&w.t()?)?;
        y.broadcast_add(self.get(&format!("{name}.bias")))?.reshape(dims)
    }

    /// x [R, S, d]; shift, scale [R, d].
    fn modulate(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let normed = layer_norm(x, &self.ones, &self.zeros, 1e-6)?;
        normed.broadcast_mul(&(scale.unsqueeze(1)? + 1.0)?)?.broadcast_add(&shift.unsqueeze(1)?)
    }

    fn attention(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (rows, length, d) = x.dims3()?;
        let heads = self.size("heads");
        let qkv = self.linear(&format!("{name}.qkv"), x)?;
        let qkv = qkv.reshape((rows, length, 3, heads, d / heads))?.permute((2, 0, 3, 1, 4))?;
        let [q, k, v] = [qkv.i(0)?.contiguous()?, qkv.i(1)?.contiguous()?, qkv.i(2)?.contiguous()?];
        let scores = (q.matmul(&k.transpose(2, 3)?)? * (1.0 / (d as f64 / heads as f64).sqrt()))?;
        let out = softmax_last_dim(&scores)?.matmul(&v)?;
        self.linear(&format!("{name}.proj"), &out.transpose(1, 2)?.contiguous()?.reshape((rows, length, d))?)
    }

    fn block(&self, i: usize, x: Tensor, c: &Tensor) -> Result<Tensor> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let mods = self.linear(&name("adaLN_modulation.1"), &silu(c)?)?.chunk(6, 1)?;
        let attended = self.attention(&name("attn"), &self.modulate(&x, &mods[0], &mods[1])?)?;
        let x = (x + attended.broadcast_mul(&mods[2].unsqueeze(1)?)?)?;
        let hidden = self.linear(&name("mlp.fc1"), &self.modulate(&x, &mods[3], &mods[4])?)?.gelu()?;
        x + self.linear(&name("mlp.fc2"), &hidden)?.broadcast_mul(&mods[5].unsqueeze(1)?)?
    }

    fn condition(&self, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        let steps: Vec<f32> = (0..128).map(|i| (-(10000f64.ln()) * i as f64 / 128.0).exp() as f32).collect();
        let angles = t.unsqueeze(1)?.broadcast_mul(&Tensor::new(steps, &Device::Cpu)?.unsqueeze(0)?)?;
        let embedded = Tensor::cat(&[angles.cos()?, angles.sin()?], 1)?;
        let hidden = silu(&self.linear("t_embedder.mlp.0", &embedded)?)?;
        let class = self.get("y_embedder.embedding_table.weight").index_select(y, 0)?;
        self.linear("t_embedder.mlp.2", &hidden)? + class
    }

    /// Rows of a [B, d] tensor, each `times` times.
    fn each(c: &Tensor, times: usize) -> Result<Tensor> {
        let (batch, d) = c.dims2()?;
        c.unsqueeze(1)?.expand((batch, times, d))?.contiguous()?.reshape((batch * times, d))
    }

    fn forward(&self, z: &Tensor, t: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (batch, frames, channels, height, width) = z.dims5()?;
        let (p, d) = (self.size("patch"), self.size("dim"));
        let (gh, gw) = (height / p, width / p);
        let tokens = gh * gw;
        let patches = z.reshape((batch * frames, channels, height, width))?.reshape(vec![
            batch * frames,
            channels,
            gh,
            p,
            gw,
            p,
        ])?;
        let patches = patches.permute(vec![0, 2, 4, 1, 3, 5])?.contiguous()?;
        let patches = patches.reshape((batch * frames * tokens, channels * p * p))?;
        let w = self.get("x_embedder.proj.weight").reshape((d, channels * p * p))?;
        let x = patches.matmul(&w.t()?)?.broadcast_add(self.get("x_embedder.proj.bias"))?;
        let mut x = x.reshape((batch * frames, tokens, d))?.broadcast_add(self.get("pos_embed"))?;
        let c = self.condition(t, y)?;
        let (spatial, temporal) = (Self::each(&c, frames)?, Self::each(&c, tokens)?);
        let turn = |x: Tensor, from: usize, to: usize| -> Result<Tensor> {
            x.reshape((batch, from, to, d))?.transpose(1, 2)?.contiguous()?.reshape((batch * to, from, d))
        };
        for i in 0..self.size("depth") {
            if self.config["temporal"] == true && i % 2 == 1 {
                x = turn(x, frames, tokens)?;
                if i == 1 {
                    x = x.broadcast_add(self.get("temp_embed"))?;
                }
                x = turn(self.block(i, x, &temporal)?, tokens, frames)?;
            } else {
                x = self.block(i, x, &spatial)?;
            }
        }
        let mods = self.linear("final_layer.adaLN_modulation.1", &silu(&spatial)?)?.chunk(2, 1)?;
        let x = self.linear("final_layer.linear", &self.modulate(&x, &mods[0], &mods[1])?)?;
        let out = x.dim(2)? / (p * p);
        let x = x.reshape(vec![batch * frames, gh, gw, p, p, out])?.permute(vec![0, 5, 1, 3, 2, 4])?;
        x.contiguous()?.reshape((batch, frames, out, height, width))
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [config, weights, input, output] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "CONFIG MODEL IN OUT")?;
    let (weights, inputs) = (safetensors::load(weights, &Device::Cpu)?, safetensors::load(input, &Device::Cpu)?);
    let config: serde_json::Value = serde_json::from_str(&config)?;
    let d = config["dim"].as_u64().ok_or("dim")? as usize;
    let ones = Tensor::ones(d, DType::F32, &Device::Cpu)?;
    let model = Model { weights, config, zeros: ones.zeros_like()?, ones };
    let (z, t, y) = (&inputs["x"], &inputs["t"], &inputs["y"].to_dtype(DType::U32)?);
    safetensors::save(&HashMap::from([("out", model.forward(z, t, y)?)]), output)?;
    println!("{{\"candle\": \"{VERSION}\"}}");
    for line in std::io::stdin().lock().lines() {
        let (seconds, start) = (line?.trim().parse::<f64>()?, Instant::now());
        let mut times = vec![];
        while start.elapsed().as_secs_f64() < seconds || times.len() < 5 {
            let begin = Instant::now();
            model.forward(z, t, y)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("{}", times[times.len() / 2]);
    }
    Ok(())
}
