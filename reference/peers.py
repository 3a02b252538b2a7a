"""PyTorch's ways to do what an op of steep does, and how to time them; compare.py has them beside steep's."""
import math, statistics, time
import torch, torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

OPS = ("attention", "linear", "modulate", "rel_l1")
# Largest error, as a share of the largest number: one rounding of the result, and some of the way there.
BOUNDS = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}

# Each of these gives, for a shape as `steep bench` writes it: a function that makes operands, one that computes the result
# in f64 from them, and the ways, by name. A way may write to its operands; the result is what it returns.

def attention(shape, dtype, compiled):
    """Of q, k and v in one tensor, as the linear layer before left them. PyTorch gets sequences that are contiguous,
    also where steep's are not (temporal)."""
    b, h, n, d = map(int, shape.split()[-1].split("×"))
    make = lambda on: (torch.randn(b, n, 3 * h * d, device=on, dtype=dtype),)
    heads = lambda x: x.view(b, n, 3, h, d).permute(2, 0, 3, 1, 4)
    def exact(x):
        q, k, v = heads(x.double())
        return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d), -1) @ v
    def way(backend):
        def run(x):
            with sdpa_kernel(backend): return F.scaled_dot_product_attention(*heads(x))
        return run
    backends = dict(flash=SDPBackend.FLASH_ATTENTION, cudnn=SDPBackend.CUDNN_ATTENTION, efficient=SDPBackend.EFFICIENT_ATTENTION, math=SDPBackend.MATH)
    return make, exact, {name: way(backend) for name, backend in backends.items()}

def linear(shape, dtype, compiled):
    """With what follows: GELU after fc1; after proj and fc2 a gate, and the sum with the residual stream in f32."""
    *name, dims = shape.split()
    rows, n, k = map(int, dims.split("×"))
    name, samples = "".join(name), 2
    def make(on):
        r = lambda *s, dtype=dtype: torch.randn(*s, device=on, dtype=dtype)
        return r(rows, k), r(n, k) / math.sqrt(k), r(n), r(rows, n, dtype=torch.float32), r(samples, 1, n, dtype=torch.float32)
    def run(x, w, bias, residual, gate):
        y = F.linear(x, w, bias)
        if name == "fc1": return F.gelu(y, approximate="tanh")
        if name == "mods": return y.float()
        if name in ("proj", "fc2"): return (residual.view(samples, -1, n) + gate * y.view(samples, -1, n)).view(rows, n)
        return y
    exact = lambda *x: run(*(t.double() for t in x))
    if name == "mods": exact = lambda x, w, bias, *_: F.linear(x.double(), w.double(), bias.double())
    return make, exact, compiled(run)

def modulate(shape, dtype, compiled):
    rows, d = map(int, shape.split("×"))
    def make(on):
        r = lambda *s: torch.randn(*s, device=on)
        return r(2, rows // 2, d), r(2, 1, d), r(2, 1, d)
    f = lambda x, shift, scale: F.layer_norm(x, [d], eps=1e-6) * (1 + scale) + shift
    return make, lambda *x: f(*(t.double() for t in x)), compiled(lambda *x: f(*x).to(dtype))

def rel_l1(shape, dtype, compiled):
    """Both sums, and prev := cur."""
    mib = 1 << 20
    n = 64 * mib // dtype.itemsize if "MiB" in shape else math.prod(map(int, shape.split("×")))
    # Far enough apart for the order of additions not to matter.
    make = lambda on: (torch.randn(n, device=on, dtype=dtype), torch.randn(n, device=on, dtype=dtype) + 2)
    sums = lambda cur, prev: torch.stack([(cur - prev).abs().sum(), prev.abs().sum()])
    def run(cur, prev):
        out = sums(cur.float(), prev.float())
        prev.copy_(cur)
        return out
    return make, lambda cur, prev: sums(cur.double(), prev.double()), compiled(run)

def of(op, shape, dtype, device, compile):
    """The ways to do an op at a shape: pairs of a name and what `verified` takes."""
    both = lambda f: dict(eager=f) | (dict(compile=torch.compile(f, dynamic=False)) if compile else {})
    make, exact, ways = globals()[op](shape, dtype, both)
    here = lambda name: device == "cuda" or name not in ("cudnn", "efficient")
    return [(name, (make, exact, way, dtype)) for name, way in ways.items() if here(name)]

@torch.inference_mode()
def verified(found, device, cold):
    """A function that runs a way `calls` times, each time on other operands if cold, after its result was compared with
    the exact one; and the error."""
    make, exact, way, dtype = found
    first = make(device)
    kept = [t.clone() for t in first]
    got, want = way(*first).double(), exact(*kept)
    error = ((got - want).abs().max() / want.abs().max()).item()
    if not error <= BOUNDS[dtype]: raise SystemExit(f"a wrong result: error {error:.2e}, bound {BOUNDS[dtype]:.0e}")
    bytes = sum(t.nbytes for t in first)
    cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else 32 << 20
    copies = min(512, max(2, math.ceil(3 * cache / bytes))) if cold else 1
    operands = [first] + [make(device) for _ in range(copies - 1)]
    calls = [lambda x=x: way(*x) for x in operands]
    if device == "cuda": run = graph(calls)
    else:
        def run():
            for call in calls: call()
    run.calls = len(calls)
    return run, error

def graph(calls):
    """The calls as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls[:3] * 2: call()
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        for call in calls: call()
    def run(): g.replay()
    return run

@torch.inference_mode()
def median_ms(f, seconds, device="cpu"):
    """By the device's own clock."""
    for _ in range(3): f()
    times = []
    if device == "cuda": torch.cuda.synchronize()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        if device == "cuda":
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            marks[0].record(); f(); marks[1].record(); marks[1].synchronize()
            times.append(marks[0].elapsed_time(marks[1]))
        else:
            t = time.perf_counter(); f(); times.append(1e3 * (time.perf_counter() - t))
    return statistics.median(times)

def copy_gbps(device, seconds):
    """Bytes read and written per second, between buffers of 256 MiB."""
    a, b = (torch.ones(256 << 20, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * a.nbytes / median_ms(lambda: b.copy_(a), seconds, device) / 1e6
