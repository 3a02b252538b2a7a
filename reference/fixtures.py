"""Writes what tests/model.rs, tests/sample.rs and tests/cli hold steep against: the twin's numbers in f32.

    python reference/fixtures.py

`NAME.fixture.safetensors` for the shipped model and two tiny ones: `x`, `t`, `y` in; `embedded` (after patch and
position), `condition`, `gate_signal` (block 0's modulated input), `stack_out`, `out`. `trajectory.safetensors` and
`trajectory-epsilon.safetensors`: a whole cached run of either trained model: `noise`, the `distances` of each step,
`final`; its settings and decisions in the metadata. Inputs and tiny models that are there already stay as they are; only what follows from them is computed anew.
"""
import argparse, pathlib, torch
from safetensors.torch import load_file, save_file
import model as twin
from sample import sample

ROOT = pathlib.Path(__file__).parent.parent
TINY = {                                     # odd grid, two channels, head 48; one frame, head 72, learned sigma
    "tiny-latte": dict(frames=3, height=10, width=6, channels=2, patch=2, dim=96, depth=4, heads=2, mlp_ratio=4,
                       classes=4, temporal=True, learn_sigma=False, prediction="velocity"),
    "tiny-dit": dict(frames=1, height=8, width=8, channels=4, patch=2, dim=144, depth=3, heads=2, mlp_ratio=4,
                     classes=5, temporal=False, learn_sigma=True, prediction="epsilon"),
}

def tiny(path, cfg):                         # weights large enough that every gate and modulation counts
    net = twin.DiT(cfg)
    for w in net.parameters():
        if w.requires_grad: w.data.normal_(0, 0.08)
    twin.save(net, path)

@torch.no_grad()
def parity(net, path):
    c, inputs = net.cfg, {}
    if path.exists(): inputs = {k: v for k, v in load_file(path).items() if k in ("x", "t", "y")}
    if not inputs:
        inputs = dict(x=torch.randn(3, c["frames"], c["channels"], c["height"], c["width"]),
                      t=torch.tensor([990.0, 498.75, 7.5]), y=torch.tensor([0, 1, c["classes"]]))
    embedded, condition = net.embed(inputs["x"]), net.condition(inputs["t"], inputs["y"])
    stack_out = net.stack(embedded, condition, c["frames"])
    signal = net.gate_signal(embedded, condition.repeat_interleave(c["frames"], 0))
    out = net.head(stack_out, condition, 3, c["frames"])
    tensors = inputs | dict(embedded=embedded, condition=condition, gate_signal=signal, stack_out=stack_out, out=out)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)

def trajectory(net, path, steps=12, guidance=3.0, digit=7):
    noise = load_file(path)["noise"] if path.exists() else torch.randn(1, 16, 1, 32, 32)
    # The first threshold whose decisions no rounding can turn over: a thousandth more or less changes none.
    for threshold in (0.2, 0.25, 0.3, 0.15, 0.35, 0.18):
        near = threshold, 0.999 * threshold, 1.001 * threshold
        runs = [sample(net, noise, torch.tensor([digit]), steps, guidance, x, "leading") for x in near]
        final, distances, decisions = runs[0]
        if all(r[2] == decisions for r in runs) and "S" in decisions and "C" in decisions: break
    else: raise SystemExit("no threshold has decisions that are far from it")
    save_file(dict(noise=noise, distances=torch.tensor(distances), final=final), path,
              dict(threshold=str(threshold), decisions=decisions, rescale="none", steps=str(steps),
                   guidance=str(guidance), **{"class": str(digit)}))
    print(f"{path.stem}: threshold {threshold}, {decisions}")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=pathlib.Path, default=ROOT / "models/moving-mnist-32.safetensors")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/fixtures")
    a = p.parse_args()
    torch.manual_seed(0)
    for name, cfg in TINY.items():
        path = a.out / f"{name}.safetensors"
        if not path.exists(): tiny(path, cfg)
        parity(twin.load(path), a.out / f"{name}.fixture.safetensors")
    net = twin.load(a.model)
    parity(net, a.out / f"{a.model.stem}.fixture.safetensors")
    trajectory(net, a.out / "trajectory.safetensors")
    trajectory(twin.load(a.model.with_stem(a.model.stem + "-epsilon")), a.out / "trajectory-epsilon.safetensors")

if __name__ == "__main__": main()
