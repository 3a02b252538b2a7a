"""Clips from a model, as a PNG to look at and as tensors to judge.

    python reference/sample.py --model models/moving-mnist-32.safetensors --out grid.png
    python reference/sample.py --model models/moving-mnist-32.safetensors --per-class 20 --save clips.safetensors

The samplers of src/sample/sampler.rs: Euler for velocity models, DDIM for epsilon models, both guidance halves in one batch.
"""
import argparse, os, torch
from safetensors.torch import save_file
import data, model as twin
from grid import filmstrips, write_png

def times(steps, spacing):                   # -> the trained times of the steps, as src/sample/sampler.rs has them
    if spacing == "trailing": return [round(1000 * (steps - i) / steps) - 1 for i in range(steps)]
    if spacing == "linspace": return [round(999 * (steps - 1 - i) / (steps - 1)) for i in range(steps)]
    return [(steps - 1 - i) * (1000 // steps) for i in range(steps)]          # leading

def schedule(prediction, steps, spacing):    # -> (time the model sees, keep, add) of each step: z' = keep·z + add·out
    if prediction == "velocity":
        return [(1000 * (1 - i / steps), 1.0, -1 / steps) for i in range(steps)]
    bars, down = data.alpha_bar().double(), times(steps, spacing)
    rows = []
    for i, t in enumerate(down):
        now, after = bars[t].item(), bars[down[i + 1]].item() if i + 1 < steps else 1.0
        keep = (after / now) ** 0.5
        rows.append((float(t), keep, (1 - after) ** 0.5 - keep * (1 - now) ** 0.5))
    return rows

@torch.no_grad()
def sample(net, noise, classes, steps=30, guidance=3.0, threshold=None, spacing="trailing"):
    """noise [B, F, C, H, W], classes [B] -> clips, and of each step the distance and the decision. With a threshold,
    TeaCache on the plain distances: skip while their sum stays below it; the first and the last step compute."""
    z, frames = noise, noise.shape[1]
    labels = torch.cat([classes, torch.full_like(classes, net.cfg["classes"])])
    distances, decisions, before, total, residual = [], "", None, 0.0, None
    for i, (t, keep, add) in enumerate(schedule(net.cfg["prediction"], steps, spacing)):
        x, c = net.embed(torch.cat([z, z])), net.condition(torch.full((len(labels),), t, device=z.device), labels)
        if threshold is not None:
            signal = net.gate_signal(x, c.repeat_interleave(frames, 0))
            distances.append(0.0 if i == 0 else ((signal - before).abs().sum() / before.abs().sum()).item())
            total, before = total + distances[-1], signal
        forced = threshold is None or i in (0, steps - 1)
        if forced or total >= threshold:
            out, total = net.stack(x, c, frames), 0.0
            residual = out - x
            decisions += "F" if forced else "C"
        else:
            out = x + residual
            decisions += "S"
        said = net.head(out, c, len(labels), frames)[:, :, : net.cfg["channels"]]
        with_class, without = said.chunk(2)
        z = keep * z + add * (without + guidance * (with_class - without))
    return z, distances, decisions

def sample_classes(net, per_class, steps, guidance, seed, batch=10):     # -> clips and classes, class by class
    cfg, rng = net.cfg, torch.Generator().manual_seed(seed)
    classes = torch.arange(cfg["classes"]).repeat_interleave(per_class)
    shape = [cfg[k] for k in ("frames", "channels", "height", "width")]
    noise = torch.randn(len(classes), *shape, generator=rng)
    device = next(net.parameters()).device
    clips = [sample(net, n.to(device), c.to(device), steps, guidance)[0].cpu()
             for n, c in zip(noise.split(batch), classes.split(batch))]
    return torch.cat(clips), classes

def arguments(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="models/moving-mnist-32.safetensors")
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--guidance", type=float, default=3.0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    return p

def main():
    p = arguments(__doc__)
    p.add_argument("--per-class", type=int, default=2)
    p.add_argument("--out", help="the clips as a PNG, a row each")
    p.add_argument("--save", help="clips and classes as safetensors")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    net = twin.load(a.model).to(a.device)
    clips, classes = sample_classes(net, a.per_class, a.steps, a.guidance, a.seed)
    if a.save: save_file(dict(clips=clips, classes=classes), a.save)
    if a.out: write_png(a.out, filmstrips(clips))

if __name__ == "__main__": main()
