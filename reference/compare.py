"""steep against PyTorch on one machine, in one run: ops, copy bandwidth, and the whole model.

    python reference/compare.py --steep target/release/steep --out benches/results/<date>-<machine>.forward.json
    python reference/compare.py --device cuda --dtype f16,bf16 --out <date>-<gpu>.pytorch.json

Ops have the shapes, types and times of `steep bench --json`, which verifies each source against a naive f64 reference;
of its sources the fastest counts. Beside each stand PyTorch's ways to do the same (peers.py), verified against the same
formula in f64. On a GPU, PyTorch's calls go through copies of their operands that are too many for its L2, as one CUDA
graph, so that no launch from Python is timed; as times are CUDA events, medians.

The model is one forward pass, batch 2, in three sizes: the shipped model (32x32), the same at 64x64, and S (dim 384,
depth 12, heads 6, 64x64), the last two with random weights. Outputs of both are compared before anything is timed.
Rounds are interleaved (eager, compiled, steep, eager, ..) so that a slow moment of the machine hits all; a round's time
is a median, and so is the reported ratio over rounds. On a CPU in f32, two more stand beside them: ONNX Runtime's CPU provider
on the exported forward pass (where onnxruntime, onnx and onnxscript are installed), and candle (benches/peers/candle, with
--candle its program). In 16 bits, all of PyTorch's model has 16 bits (of steep's, the
residual stream has 32); in f32, products on a GPU are f32 (no TF32). There, both ways run as CUDA graphs too.

Needs torch, numpy and safetensors; torch.compile needs a C++ compiler, on a GPU Triton.
"""
import argparse, copy, json, os, platform, statistics, subprocess, sys, tempfile, time
import torch, torch._inductor.config
from safetensors.torch import load_file, save_file
import model as twin
import peers
try: import onnxruntime
except ImportError: onnxruntime = None

TYPES = dict(f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16)
# Largest difference from the model in f32, as a share of the largest number.
BOUNDS = dict(f32=2e-5, f16=1e-2, bf16=6e-2)

# What keeps PyTorch, oneDNN, MKL and steep to an instruction set.
LIMITS = dict(avx2=dict(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2", STEEP_ISA="avx2"))

def timed(text):
    """Rows of `steep bench --json` on one device."""
    return json.loads(text)["devices"][0]["timed"]

def forwards(a, steep, say):
    """Rows of the whole model."""
    shipped = twin.load(a.model)
    bigger = dict(shipped.cfg, height=64, width=64)
    sizes = {"32x32": None, "64x64": bigger, "S": dict(bigger, dim=384, depth=12, heads=6)}
    for size, dtype in [(s, d) for s in a.sizes for d in a.dtype]:
        cfg = sizes[size]
        model = shipped if cfg is None else twin.DiT(cfg).eval()
        if cfg:
            for w in model.parameters(): w.data.normal_(0, 0.02)
        c = model.cfg
        x = dict(x=torch.randn(2, c["frames"], c["channels"], c["height"], c["width"]),
                 t=torch.tensor([700.0, 300.0]), y=torch.tensor([3, 7]))
        theirs = copy.deepcopy(model).to(a.device, TYPES[dtype])
        inputs = [x["x"].to(a.device, TYPES[dtype]), x["t"].to(a.device), x["y"].to(a.device)]
        with tempfile.TemporaryDirectory() as tmp, torch.inference_mode():
            weights = f"{tmp}/model.safetensors"
            twin.save(model, weights); save_file(x, f"{tmp}/in.safetensors")
            ways = {"eager": lambda: theirs(*inputs)}
            if not a.no_compile:
                compiled = torch.compile(theirs)
                ways["compile"] = lambda: compiled(*inputs)
            want = model(*x.values())
            if a.device == "cpu" and dtype == "f32":
                if onnxruntime and not a.isa: ways["onnxruntime"] = onnx_way(theirs, x, f"{tmp}/model.onnx", a.threads)
                if a.candle and not a.isa: ways["candle"] = Candle(a, c, weights, f"{tmp}/in.safetensors", f"{tmp}/candle.safetensors")
            largest = max(1, want.abs().max().item())
            on = ["--device", a.device, "--dtype", dtype]
            steep("forward", f"{tmp}/in.safetensors", "--model", weights, "--out", f"{tmp}/out.safetensors", *on)
            error = (load_file(f"{tmp}/out.safetensors")["out"] - want).abs().max().item()
            assert error <= BOUNDS[dtype] * largest, f"{size} {dtype}: outputs differ by {error}"
            for name, way in ways.items():
                off = (torch.as_tensor(way()).float().cpu() - want).abs().max().item()
                assert off <= max(1e-4, BOUNDS[dtype]) * largest, f"{size} {dtype}: {name} differs by {off}"
            if a.device == "cuda": ways |= {f"{name}_graph": peers.graph([way]) for name, way in ways.items()}
            rounds = []
            for _ in range(a.rounds):
                times = {f"{name}_ms": way.ms(a.seconds) if isinstance(way, Candle) else peers.median_ms(way, a.seconds, a.device)
                         for name, way in ways.items()}
                rows = timed(steep("bench", "--op", "forward", "--model", weights, "--batch", 2, "--json", *on))
                rounds.append(dict(times, steep_ms=rows[0]["ms"]))
        middle = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
        over = {f"over_{name}": statistics.median(r[f"{name}_ms"] / r["steep_ms"] for r in rounds) for name in ways}
        row = dict(size=size, config=c, batch=2, dtype=dtype, threads=a.threads, max_abs_error=error, **middle, **over,
                   rounds=rounds)
        say(f"forward {size:6} {dtype:4} steep {row['steep_ms']:9.3f} ms   " + "   ".join(
            f"{name} {row[name + '_ms']:9.3f} ms ({row['over_' + name]:.2f}x)" for name in ways) + f"   largest difference {error:.1e}")
        yield row

def onnx_way(model, inputs, path, threads):
    """ONNX Runtime's CPU provider, with all of its own optimisations, on the model as PyTorch exports it."""
    torch.onnx.export(model, tuple(inputs.values()), path, dynamo=True, input_names=list(inputs), verbose=False, external_data=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {name: t.numpy() for name, t in inputs.items()}
    return lambda: session.run(None, feed)[0]

class Candle:
    """candle's CPU backend, a program of its own that waits between rounds."""
    def __init__(s, a, config, weights, inputs, out):
        env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
        s.program = subprocess.Popen([a.candle, json.dumps(config), weights, inputs, out], env=env, text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        s.version, s.out = json.loads(s.program.stdout.readline())["candle"], out
    def __call__(s): return load_file(s.out)["out"]
    def ms(s, seconds):
        print(seconds, file=s.program.stdin, flush=True)
        return float(s.program.stdout.readline())

def ops(a, steep, say):
    """Rows of ops, and of the copies that both measured."""
    for dtype in a.dtype:
        copies = []
        for op in a.ops:
            rows = timed(steep("bench", "--op", op, "--device", a.device, "--dtype", dtype, "--json", *(["--cold"] if a.cold else [])))
            copies += [r["ceiling"] for r in rows if r["bound"] == "copy"]
            for shape in dict.fromkeys(r["shape"] for r in rows):
                best = min((r for r in rows if r["shape"] == shape), key=lambda r: r["ms"])
                for name, found in peers.of(op, shape, TYPES[dtype], a.device, not a.no_compile):
                    row = dict(op=op, shape=shape, dtype=dtype, peer=name, steep_source=best["source"], steep_ms=best["ms"], steep_error=best["error"])
                    try:
                        run, error = peers.verified(found, a.device, a.cold or a.device == "cuda")
                        ms = peers.median_ms(run, a.seconds, a.device) / run.calls
                        row |= dict(peer_ms=ms, peer_error=error, over=ms / best["ms"])
                        say(f"{op:10} {shape:24} {dtype:4} {name:12} steep {best['ms']:9.4f} ms   PyTorch {ms:9.4f} ms   {ms / best['ms']:.2f}x")
                    except (RuntimeError, NotImplementedError) as e:
                        row["skipped"] = str(e).strip().splitlines()[0]
                        say(f"{op:10} {shape:24} {dtype:4} {name:12} skipped: {row['skipped']}")
                    yield row
        if copies:
            theirs = peers.copy_gbps(a.device, a.seconds)
            ours = statistics.median(copies)
            say(f"copy {ours:9.1f} GB/s   PyTorch {theirs:9.1f} GB/s   {ours / theirs:.2f}x")
            yield dict(op="copy", dtype=dtype, steep_gbps=ours, peer="copy_", peer_gbps=theirs, over=ours / theirs)

def main():
    words = lambda text: text.split(",") if text else []
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steep", default="target/release/steep")
    p.add_argument("--model", default="models/moving-mnist-32.safetensors")
    p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    p.add_argument("--dtype", type=words, default=["f32"], help="f32, f16, bf16, with commas between")
    p.add_argument("--ops", type=words, help=f"default: on a GPU {','.join(peers.OPS)}, on a CPU none")
    p.add_argument("--sizes", type=words, default=["32x32", "64x64", "S"], help="of the model")
    p.add_argument("--cold", action="store_true", help="operands beyond any cache on a CPU too")
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--candle", help="the program of benches/peers/candle, to have it in the table")
    p.add_argument("--isa", choices=list(LIMITS), help="of a CPU's instruction sets, take none past this one, here and there; "
                   "leaves out ONNX Runtime and candle, which cannot be told")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    p.add_argument("--out", help="write the results here as JSON")
    a = p.parse_args()
    if a.isa and os.environ.get("STEEP_ISA") != a.isa:
        # Libraries look at this when they are loaded.
        os.environ.update(LIMITS[a.isa])
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if a.isa: torch._inductor.config.cpp.simdlen = 256
    if a.ops is None: a.ops = list(peers.OPS) if a.device == "cuda" else []
    torch.set_num_threads(a.threads); torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
    steep = lambda *args: subprocess.run([a.steep, *map(str, args)], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    say = lambda line: print(line, flush=True)
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    about = dict(cpu=cpu, torch=torch.__version__, date=time.strftime("%Y-%m-%d"))
    names = {d["name"]: d["description"] for d in json.loads(steep("devices", "--json"))}
    about |= dict(steep=names["cuda:0" if a.device == "cuda" else "cpu"])
    if a.isa: about |= dict(isa=a.isa, environment=LIMITS[a.isa])
    if onnxruntime and not a.isa: about["onnxruntime"] = onnxruntime.__version__
    if a.device == "cuda":
        about |= dict(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    about["results"] = list(forwards(a, steep, say))
    if a.candle: about["candle"] = "0.11.1"
    if a.ops: about["ops"] = list(ops(a, steep, say))
    if a.out:
        with open(a.out, "w") as f: json.dump(about, f, indent=1)

main()
