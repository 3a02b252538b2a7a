"""Writes what tests/published.rs holds steep against: small instances of published models in their own files, and the
numbers of their own code in f32.

    python reference/published.py --dit DIT --latte LATTE

DIT and LATTE are checkouts of facebookresearch/DiT and Vchitect/Latte, and what needs one that is not named is not written;
diffusers, timm and einops are from PyPI. For each model there are a file (or a folder) with exactly the published names and layout, and `NAME.expected.safetensors`: `x`, `t`,
`y` in, `out`; and a run of ten steps by the source's own sampler, `noise` to `final`. Every tensor is drawn anew, also
those that training begins with at zero: zeros would hide faults.
"""
import argparse, einops, json, pathlib, sys, torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).parent.parent
OUT = ROOT / "tests/fixtures/published"
STEPS, GUIDANCE = 10, 4.0

def randomise(net, frozen=("pos_embed", "temp_embed")):
    """Draws every tensor but the frozen tables of positions; what diffusers copies into every block stays a copy."""
    g = torch.Generator().manual_seed(3)
    for name, w in net.state_dict().items():
        if name in frozen: continue
        first = name.split(".norm1.emb.")
        if len(first) == 2 and not name.startswith("transformer_blocks.0."):
            w.copy_(net.state_dict()["transformer_blocks.0.norm1.emb." + first[1]])
        else:
            w.copy_(torch.randn(w.shape, generator=g) * (0.3 if w.ndim > 1 else 0.1) / max(1, w[0].numel() if w.ndim > 1 else 1) ** 0.25)
    return net.eval()

def inputs(shape, classes):
    g = torch.Generator().manual_seed(5)
    return dict(x=torch.randn(3, *shape, generator=g), t=torch.tensor([999.0, 481.0, 3.0]), y=torch.tensor([0, 1, classes]),
                noise=torch.randn(1, *shape, generator=g))

def write(name, tensors, **meta):
    OUT.mkdir(parents=True, exist_ok=True)
    # Pictures are clips of one frame here, as `steep forward` takes them.
    tensors = {k: (v.unsqueeze(1) if v.ndim == 4 else v).contiguous() for k, v in tensors.items()}
    save_file(tensors, OUT / f"{name}.expected.safetensors",
              {k: json.dumps(v) for k, v in meta.items()})

def original_run(module, forward, noise, ddim, **kwargs):
    """`respace` of the originals: `ddim10` is leading, `10` takes both ends."""
    diffusion = module.create_diffusion("ddim10" if ddim == "leading" else "10")
    z = torch.cat([noise, noise])
    return diffusion.ddim_sample_loop(forward, z.shape, z, clip_denoised=False, model_kwargs=kwargs, progress=False,
                                      device="cpu", eta=0.0)[:1]

def ddpm(module, forward, noise, **kwargs):
    """facebook/DiT's `sample.py`, with noise that needs no file: that of step i is the first noise, 7·(i + 1) places on."""
    drawn, draw = 0, torch.randn_like
    def rolled(x):
        nonlocal drawn
        drawn += 1
        return torch.cat([torch.roll(noise.flatten(), 7 * drawn).view(noise.shape)] * 2)
    torch.randn_like = rolled
    try:
        z = torch.cat([noise, noise])
        return module.create_diffusion("10").p_sample_loop(forward, z.shape, z, clip_denoised=False, model_kwargs=kwargs,
                                                           progress=False, device="cpu")[:1]
    finally: torch.randn_like = draw

@torch.no_grad()
def dit(path):
    sys.path.insert(0, str(path))
    import diffusion, models
    net = randomise(models.DiT(input_size=8, patch_size=2, in_channels=4, hidden_size=16, depth=2, num_heads=2, num_classes=5))
    i = inputs((4, 8, 8), 5)
    tensors = dict(i, out=net(i["x"], i["t"], i["y"]))
    y = torch.tensor([2, 5])
    for spacing in ("leading", "linspace"):
        run = lambda: original_run(diffusion, net.forward_with_cfg, i["noise"], spacing, y=y, cfg_scale=GUIDANCE)
        tensors[f"final_{spacing}"] = run()
    tensors["cached_linspace"], meta = cached(run, net.blocks, modulated)
    tensors["final_ddpm"] = ddpm(diffusion, net.forward_with_cfg, i["noise"], y=y, cfg_scale=GUIDANCE)
    write("dit", tensors, **meta)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    save_file(state, OUT / "dit.safetensors")
    forget("diffusion", "models"); sys.path.pop(0)

class TeaCache:
    """Wraps the blocks of a published model, which stays as it is: block 0 measures its modulated input, and where the sum of
    distances stays under the threshold no block runs and the last returns what the first was given plus the residual."""
    def __init__(self, blocks, signal, threshold, to=lambda x: x, back=lambda x: x):
        self.threshold, self.signal, self.to, self.back = threshold, signal, to, back
        self.step, self.acc, self.before, self.residual, self.decisions = 0, 0.0, None, None, ""
        self.blocks, self.inner = blocks, list(blocks)
        for i in range(len(blocks)): blocks[i] = Wrapped(self, i)
    def remove(self):
        for i, block in enumerate(self.inner): self.blocks[i] = block
    def enter(self, x, *args, **kwargs):
        m, self.entered = self.signal(self.inner[0], x, *args, **kwargs), x
        forced = self.step in (0, STEPS - 1)
        if self.before is not None: self.acc += ((m - self.before).abs().sum() / self.before.abs().sum()).item()
        self.computes = forced or not self.acc < self.threshold
        if self.computes: self.acc = 0.0
        self.decisions += "F" if forced else "C" if self.computes else "S"
        self.before, self.step = m, self.step + 1

class Wrapped(torch.nn.Module):
    def __init__(self, cache, i):
        super().__init__()
        self.__dict__["cache"], self.i = cache, i                # no module of this one
        self.norm1 = cache.inner[i].norm1                        # diffusers' head asks block 0 for its embedding
    def forward(self, x, *args, **kwargs):
        c = self.cache
        if self.i == 0: c.enter(x, *args, **kwargs)
        out = c.inner[self.i](x, *args, **kwargs) if c.computes else x
        if self.i + 1 < len(c.inner): return out
        if c.computes: c.residual = c.to(out) - c.entered
        return c.back(c.entered + c.residual)

def modulated(block, x, c):
    shift, scale = block.adaLN_modulation(c).chunk(6, dim=1)[:2]
    return block.norm1(x) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)

def cached(run, *args, **kwargs):
    """The run with a threshold that no rounding turns over: a thousandth more or less changes no decision."""
    for threshold in (0.1, 0.2, 0.3, 0.05, 0.4, 0.15, 0.25, 0.5):
        finals, decisions = [], set()
        for t in (threshold, 0.999 * threshold, 1.001 * threshold):
            cache = TeaCache(*args, threshold=t, **kwargs)
            finals.append(run()); cache.remove(); decisions.add(cache.decisions)
        if len(decisions) == 1 and "S" in cache.decisions and "C" in cache.decisions:
            print(f"threshold {threshold}: {cache.decisions}")
            return finals[0], dict(threshold=threshold, decisions=cache.decisions)
    raise SystemExit("no threshold has decisions that are far from it")

def forget(*names):
    for name in list(sys.modules):
        if name.split(".")[0] in names: del sys.modules[name]

@torch.no_grad()
def latte(path):
    sys.path.insert(0, str(path))
    import diffusion
    forget("models")
    import importlib.util
    spec = importlib.util.spec_from_file_location("latte", path / "models/latte.py")
    source = importlib.util.module_from_spec(spec); spec.loader.exec_module(source)
    for name, extras, stored in (("latte", 2, torch.float16), ("latte-unlabelled", 1, torch.bfloat16)):
        net = randomise(source.Latte(input_size=4, patch_size=2, in_channels=4, hidden_size=16, depth=4, num_heads=2, num_frames=3,
                                     num_classes=5, extras=extras)).to(stored).float()     # the weights are what the file can hold
        i = inputs((3, 4, 4, 4), 5)
        labels = dict(y=i["y"]) if extras == 2 else {}
        tensors = dict(i, out=net(i["x"], i["t"], **labels))
        if extras == 2:
            run = lambda: original_run(diffusion, net.forward_with_cfg, i["noise"], "linspace", y=torch.tensor([2, 5]), cfg_scale=GUIDANCE)
        else:                                                    # both halves of the batch are the same then
            run = lambda: original_run(diffusion, net.forward, i["noise"], "linspace")
        tensors["final_linspace"] = run()
        tensors["cached_linspace"], meta = cached(run, net.blocks, modulated,
            to=lambda x: einops.rearrange(x, "(b t) f d -> (b f) t d", b=2),
            back=lambda x: einops.rearrange(x, "(b f) t d -> (b t) f d", b=2))
        write(name, tensors, **meta)
        state = {k: v.to(stored) for k, v in net.state_dict().items()}
        if extras == 2: torch.save(dict(ema=state, args=argparse.Namespace(model="Latte", extras=extras)), OUT / f"{name}.pt")
        else: save_file(state, OUT / f"{name}.safetensors")
    forget("diffusion", "latte"); sys.path.pop(0)

@torch.no_grad()
def diffusers():
    from diffusers import DDIMScheduler, DiTTransformer2DModel
    net = randomise(DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
                                          sample_size=8, num_embeds_ada_norm=5,
                                          norm_eps=1e-3))                   # far from the others' 1e-6
    for w in net.parameters(): w.copy_(w.half().float())         # what the file can hold; positions are not in it
    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False)
    i = inputs((4, 8, 8), 5)
    tensors = dict(i, out=net(i["x"], i["t"], i["y"]).sample)
    def run():                                                   # as DiTPipeline: all four channels are guided
        z = i["noise"].clone()
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            c, u = net(torch.cat([z, z]), t.expand(2), torch.tensor([2, 5])).sample[:, :4].chunk(2)
            z = scheduler.step(u + GUIDANCE * (c - u), t, z).prev_sample
        return z
    tensors["final_leading"] = run()
    signal = lambda block, x, timestep, class_labels, **_: block.norm1(x, timestep, class_labels, hidden_dtype=x.dtype)[0]
    tensors["cached_leading"], meta = cached(run, net.transformer_blocks, signal)
    write("diffusers", tensors, **meta)
    net.half().save_pretrained(OUT / "diffusers/transformer", max_shard_size="20KB")
    scheduler.save_pretrained(OUT / "diffusers/scheduler")

@torch.no_grad()
def decoders():
    """What autoencoders make of latents: the decoder beside diffusers' DiT in its pipeline, with the names of today, those from
    before diffusers 0.17, and those of Stable Diffusion's own code; and TAESD's, with diffusers' names and its own."""
    from diffusers import AutoencoderKL, AutoencoderTiny
    z = torch.randn(2, 4, 6, 10, generator=torch.Generator().manual_seed(7))
    net = randomise(AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
                                  block_out_channels=(8, 8, 16), layers_per_block=1, norm_num_groups=2, sample_size=32))
    for w in net.parameters(): w.copy_(w.half().float())         # what the file can hold
    write("kl", dict(z=z, out=net.decode(z / net.config.scaling_factor).sample))
    state = {k: v.half().clone() for k, v in net.state_dict().items()}
    net.half().save_pretrained(OUT / "diffusers/vae")
    old = dict(to_q="query", to_k="key", to_v="value")
    def before(name):
        for new, then in dict(old, **{"to_out.0": "proj_attn"}).items(): name = name.replace(f"attentions.0.{new}", f"attentions.0.{then}")
        return name
    save_file({before(k): v for k, v in state.items()}, OUT / "kl-old.safetensors")
    own = {own_name(k, 3): v for k, v in state.items() if not k.startswith(("encoder.", "quant_conv"))}
    for k in own:                                                # products of single pixels are convolutions there
        if "attn_1" in k and k.endswith("weight") and own[k].ndim == 2: own[k] = own[k][:, :, None, None]
    check_own(own, state, net.config)
    torch.save(dict(state_dict={f"first_stage_model.{k}": v.clone() for k, v in own.items()}), OUT / "kl-own.ckpt")

    net = randomise(AutoencoderTiny(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
                                    num_decoder_blocks=(2, 1)))
    write("taesd", dict(z=z, out=net.decode(z).sample))
    net.save_pretrained(OUT / "taesd")
    own = {}
    for name, w in net.decoder.state_dict().items():             # a clamp counts as its first layer
        number, rest = name.removeprefix("layers.").split(".", 1)
        own[f"{int(number) + 1}.{rest}"] = w.clone()
    torch.save(own, OUT / "taesd_decoder.pth")

def own_name(name, levels):
    """Stable Diffusion's name of a decoder's tensor, by diffusers'."""
    import re
    name = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{levels - 1 - int(m[1])}.", name)
    for new, own in {"resnets.": "block.", "mid_block.block.0": "mid.block_1", "mid_block.block.1": "mid.block_2",
                     "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
                     "to_out.0": "proj_out", "upsamplers.0.conv": "upsample.conv", "conv_shortcut": "nin_shortcut",
                     "conv_norm_out": "norm_out"}.items(): name = name.replace(new, own)
    return name

def check_own(own, state, config):
    """diffusers' own converter makes the first of the second."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    encoder = {k: v for k, v in state.items() if k.startswith(("encoder.", "quant_conv"))}
    own = dict(own, **{"encoder.conv_in.weight": torch.zeros(1), **{f"encoder.{k}": torch.zeros(1) for k in (
        "conv_in.bias", "conv_out.weight", "conv_out.bias", "norm_out.weight", "norm_out.bias")},
        "quant_conv.weight": torch.zeros(1), "quant_conv.bias": torch.zeros(1)})
    back = convert_ldm_vae_checkpoint(own, config)
    for k, v in state.items():
        if k not in encoder: assert torch.equal(back[k], v), k

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dit", type=pathlib.Path)
    p.add_argument("--latte", type=pathlib.Path)
    a = p.parse_args()
    if a.dit: dit(a.dit)
    if a.latte: latte(a.latte)
    diffusers(); decoders()

if __name__ == "__main__": main()
