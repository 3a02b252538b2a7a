"""steep beside diffusers on one file of full size: DiT-XL/2 at 256 pixels, as published but for its weights, which are drawn.

    python reference/full_size.py --steep target/release/steep --out benches/results/<date>-<machine>.full.json
    python reference/full_size.py --make FOLDER              # only the file, to try steep on

The file is a folder of diffusers' pipeline with one file of weights, 2.7 GB in f32, made for the run and removed after it. All
peers read that same file. One evaluation, batch 2, 256 tokens, on the CPU: diffusers' DiTTransformer2DModel as it is (eager),
through torch.compile, and steep. Their outputs are compared before anything is timed.

Rounds are interleaved (eager, compiled, steep, eager, ..) so that a slow moment of the machine hits all; a round's time is a
median, and so is the reported ratio over rounds. Peak memory is that of a process of its own that loads the file and evaluates
the model once (the kernel's VmHWM): for torch.compile without its compilers, which are other processes.

steep is also held to what it says of itself: the memory plan that it prints before a run, beside the peak of that run
(`generate`, 2 steps, guidance), in f32 and bf16.

Needs torch, diffusers and safetensors; torch.compile needs a C++ compiler.
"""
import argparse, json, os, pathlib, platform, re, statistics, subprocess, sys, tempfile, threading, time
import torch
from safetensors.torch import load_file, save_file
import peers

CONFIG = dict(num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8, num_layers=28, sample_size=32,
              patch_size=2, num_embeds_ada_norm=1000, norm_eps=1e-5)
BOUND = 2e-5                                                     # of the largest value

@torch.no_grad()
def make(folder, layers):
    """The pipeline's folder, and inputs. Every tensor is drawn: those that begin at zero would hide faults."""
    from diffusers import DDIMScheduler, DiTTransformer2DModel
    net = DiTTransformer2DModel(**dict(CONFIG, num_layers=layers))
    own = dict(net.named_parameters())
    for name, w in own.items():
        first = re.sub(r"blocks\.\d+\.norm1\.emb", "blocks.0.norm1.emb", name)
        if first != name: w.copy_(own[first])                    # time and class are embedded once, and stored in every block
        elif w.ndim > 1: w.normal_(0, 0.7 / w[0].numel() ** 0.5)
        else: w.normal_(0, 0.05)
    net.save_pretrained(folder / "transformer", max_shard_size="20GB")
    DDIMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, clip_sample=False).save_pretrained(folder / "scheduler")
    save_file(dict(x=torch.randn(2, 1, 4, 32, 32), t=torch.tensor([700.0, 300.0]), y=torch.tensor([207, 1000])), folder / "in.safetensors")

def load(folder):
    """diffusers' model, and what it is evaluated on."""
    from diffusers import DiTTransformer2DModel
    net = DiTTransformer2DModel.from_pretrained(folder / "transformer", low_cpu_mem_usage=True).eval()
    x = load_file(folder / "in.safetensors")
    return net, (x["x"][:, 0], x["t"], x["y"])

def ways(net, inputs):
    compiled = torch.compile(net)
    return dict(eager=lambda: net(*inputs).sample, compile=lambda: compiled(*inputs).sample)

def once(folder, way):
    """Loads the file, evaluates the model, and prints the peak of this process in bytes."""
    with torch.inference_mode(): ways(*load(folder))[way]()
    print(peak(open("/proc/self/status").read()))

def peak(status):
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

def watched(command, env):
    """Runs a command and returns what it printed and its peak in bytes, looked up until it ends: what the kernel tells at the end
    counts the memory of the process that started it, too."""
    child = subprocess.Popen([str(c) for c in command], env=env, stdout=subprocess.PIPE, text=True)
    most = 0
    def look():
        nonlocal most
        while True:
            try: most = peak(open(f"/proc/{child.pid}/status").read())
            except (OSError, TypeError): return                  # it has ended, and has no memory
            time.sleep(0.005)
    looker = threading.Thread(target=look)
    looker.start()
    said = child.stdout.read()
    looker.join()
    if child.wait(): raise SystemExit(f"{command}: status {child.returncode}")
    return said, most

def plans(folder, steep, env):
    """What steep says that a run takes, and what it takes."""
    for dtype in ("f32", "bf16"):
        said, took = watched([steep, "generate", "--model", folder, "--class", 207, "--steps", 2, "--device", "cpu", "--dtype", dtype], env)
        planned = planned_bytes(said)
        print(f"plan {dtype:4} {planned / 1e9:.3f} GB, peak {took / 1e9:.3f} GB", flush=True)
        yield dict(dtype=dtype, planned_bytes=planned, peak_bytes=took, off=planned / took - 1)

def planned_bytes(said):
    return 1e6 * float(re.search(r"memory ([\d.]+) MB: ", said)[1])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steep", type=pathlib.Path, default="target/release/steep")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=10.0, help="per measurement")
    p.add_argument("--layers", type=int, default=28, help="fewer, to try this script")
    p.add_argument("--make", type=pathlib.Path, metavar="FOLDER", help="write the file and stop")
    p.add_argument("--once", nargs=2, metavar=("FOLDER", "WAY"), help=argparse.SUPPRESS)
    p.add_argument("--out", help="write the results here as JSON")
    a = p.parse_args()
    torch.set_num_threads(a.threads); torch.manual_seed(0)
    if a.once: return once(pathlib.Path(a.once[0]), a.once[1])
    if a.make: return make(a.make, a.layers)
    env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        me = [sys.executable, __file__, "--threads", str(a.threads), "--layers", str(a.layers)]
        subprocess.run([*me, "--make", folder], check=True)      # its memory is given back
        result = measure(a, me, folder, a.steep.resolve(), env)
    if a.out:
        with open(a.out, "w") as f: json.dump(result, f, indent=1)

def measure(a, me, folder, steep, env):
    forward = [steep, "forward", folder / "in.safetensors", "--model", folder, "--device", "cpu", "--out", folder / "out.safetensors"]
    memory = {way: int(watched([*me, "--once", folder, way], env)[0].split()[-1]) for way in ("eager", "compile")}
    memory["steep"] = watched(forward, env)[1]
    print("peak " + ", ".join(f"{way} {bytes / 1e9:.2f} GB" for way, bytes in memory.items()), flush=True)
    planned = list(plans(folder, steep, env))
    with torch.inference_mode():
        them = ways(*load(folder))
        want = them["eager"]()
        got = load_file(folder / "out.safetensors")["out"][:, 0]
        error = ((got - want).abs().max() / want.abs().max()).item()
        assert error <= BOUND, f"outputs differ by {error} of the largest value"
        off = ((them["compile"]() - want).abs().max() / want.abs().max()).item()
        assert off <= BOUND, f"torch.compile's differs by {off}"
        rounds = []
        for _ in range(a.rounds):
            times = {f"{way}_ms": peers.median_ms(run, a.seconds) for way, run in them.items()}
            bench = [steep, "bench", "--op", "forward", "--model", folder, "--batch", 2, "--device", "cpu", "--json"]
            times["steep_ms"] = json.loads(watched(bench, env)[0])["devices"][0]["timed"][0]["ms"]
            rounds.append(times)
            print("   ".join(f"{k} {v:.0f}" for k, v in times.items()), flush=True)
    middle = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
    over = {f"over_{way}": statistics.median(r[f"{way}_ms"] / r["steep_ms"] for r in rounds) for way in them}
    import diffusers
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    return dict(cpu=cpu, threads=a.threads, torch=torch.__version__, diffusers=diffusers.__version__, date=time.strftime("%Y-%m-%d"),
                model="DiT-XL/2", config=dict(CONFIG, num_layers=a.layers), batch=2, tokens=256, error=error, **middle, **over,
                peak_bytes=memory, plans=planned, rounds=rounds)

if __name__ == "__main__": main()
