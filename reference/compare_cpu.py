"""One forward pass, batch 2, f32: steep against PyTorch eager and torch.compile, in one run on one machine.

    python reference/compare_cpu.py --steep target/release/steep --out benches/results/<date>-<machine>.forward.json

Three sizes: the shipped model (32x32), the same at 64x64, and S (dim 384, depth 12, heads 6, 64x64), the last two with
random weights. Outputs are compared before anything is timed. Rounds are interleaved (eager, compiled, steep, eager, ..)
so that a slow moment of the machine hits all three; a round's time is a median, and so is the reported ratio over
rounds. Needs torch, numpy and safetensors; torch.compile needs a C++ compiler.
"""
import argparse, json, os, platform, statistics, subprocess, tempfile, time
import torch
from safetensors.torch import load_file, save_file
import model as twin

def median_ms(f, seconds):
    for _ in range(3): f()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        t = time.perf_counter(); f(); times.append(time.perf_counter() - t)
    return 1e3 * statistics.median(times)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steep", default="target/release/steep")
    p.add_argument("--model", default="models/moving-mnist-32.safetensors")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    p.add_argument("--out", help="write the results here as JSON")
    a = p.parse_args()
    torch.set_num_threads(a.threads); torch.manual_seed(0)
    env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
    steep = lambda *args: subprocess.run([a.steep, *map(str, args)], env=env, check=True, capture_output=True, text=True).stdout
    shipped = twin.load(a.model)
    bigger = dict(shipped.cfg, height=64, width=64)
    results = []
    for size, cfg in [("32x32", None), ("64x64", bigger), ("S", dict(bigger, dim=384, depth=12, heads=6))]:
        model = shipped if cfg is None else twin.DiT(cfg).eval()
        if cfg:
            for w in model.parameters(): w.data.normal_(0, 0.02)
        c = model.cfg
        x = dict(x=torch.randn(2, c["frames"], c["channels"], c["height"], c["width"]),
                 t=torch.tensor([700.0, 300.0]), y=torch.tensor([3, 7]))
        with tempfile.TemporaryDirectory() as tmp, torch.inference_mode():
            weights = f"{tmp}/model.safetensors"
            twin.save(model, weights); save_file(x, f"{tmp}/in.safetensors")
            compiled = torch.compile(model)
            eager_out = model(x["x"], x["t"], x["y"])
            steep("forward", f"{tmp}/in.safetensors", "--model", weights, "--out", f"{tmp}/out.safetensors", "--device", "cpu")
            error = (load_file(f"{tmp}/out.safetensors")["out"] - eager_out).abs().max().item()
            assert error <= 2e-5 * max(1, eager_out.abs().max().item()), f"{size}: outputs differ by {error}"
            assert torch.allclose(compiled(x["x"], x["t"], x["y"]), eager_out, atol=1e-4)
            rounds = []
            for _ in range(a.rounds):
                eager = median_ms(lambda: model(x["x"], x["t"], x["y"]), a.seconds)
                fused = median_ms(lambda: compiled(x["x"], x["t"], x["y"]), a.seconds)
                rows = json.loads(steep("bench", "--op", "forward", "--model", weights, "--batch", 2, "--device", "cpu", "--json"))
                rounds.append(dict(eager_ms=eager, compile_ms=fused, steep_ms=rows[0]["ms"]))
        middle = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
        ratio = lambda k: statistics.median(r[k] / r["steep_ms"] for r in rounds)
        row = dict(size=size, config=c, batch=2, dtype="f32", threads=a.threads, max_abs_error=error, **middle,
                   over_eager=ratio("eager_ms"), over_compile=ratio("compile_ms"), rounds=rounds)
        results.append(row)
        print(f"{size:6} eager {row['eager_ms']:7.1f} ms   compiled {row['compile_ms']:7.1f} ms   steep {row['steep_ms']:7.1f} ms   "
              f"{row['over_eager']:.2f}x eager   {row['over_compile']:.2f}x compiled   largest difference {error:.1e}", flush=True)
    if a.out:
        cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
        with open(a.out, "w") as f:
            json.dump(dict(cpu=cpu, torch=torch.__version__, date=time.strftime("%Y-%m-%d"), results=results), f, indent=1)

main()
