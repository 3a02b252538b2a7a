"""Draws the validation losses of training logs as a small SVG: one line for the newest weights, one for their average.

    python reference/plot.py run/log.jsonl --out reference/loss.svg
"""
import argparse, json, math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 300, 56, 36, 16, 32

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("log")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    rows = [json.loads(line) for line in open(a.log)]
    start = next((r["init_loss"] for r in rows if r.get("init")), None)
    rows = [r for r in rows if "raw" in r]
    values = [r[k] for r in rows for k in ("raw", "ema")] + ([start] if start else [])
    unit = 10 ** math.floor(math.log10(max(values) - min(values) + 1e-9))
    if (max(values) - min(values)) / unit < 3: unit /= 2
    low, high = math.floor(min(values) / unit) * unit, math.ceil(max(values) / unit) * unit
    most = rows[-1]["clips"]
    x = lambda clips: LEFT + (WIDTH - LEFT - RIGHT) * clips / most
    y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)
    text = lambda x, y, s, anchor="middle", colour="#555": f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{s}</text>'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for i in range(round((high - low) / unit) + 1):
        v = low + i * unit
        out += [f'<path d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>', text(LEFT - 6, y(v) + 4, f"{v:.4g}", "end")]
    for i in range(5):
        out.append(text(x(most * i / 4), HEIGHT - 20, f"{most * i / 4:,.0f}"))
    out.append(text((LEFT + WIDTH) / 2, HEIGHT - 5, "training clips; loss on held-out digits at fixed noise and times"))
    if start: out.append(f'<path d="M{LEFT} {y(start):.1f}H{WIDTH - RIGHT}" stroke="#888" stroke-dasharray="4 3"/>')
    for i, (key, name, colour) in enumerate([("raw", "newest weights", "#c60"), ("ema", "their average", "#06c")]):
        points = ([(0, start)] if start else []) + [(r["clips"], r[key]) for r in rows]
        line = " ".join(f"{x(clips):.1f},{y(loss):.1f}" for clips, loss in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out.append(text(WIDTH - RIGHT - 4, TOP + 14 + 14 * i, name, "end", colour))
    if start: out.append(text(WIDTH - RIGHT - 4, TOP + 42, "dashed: the model it started from", "end", "#888"))
    with open(a.out, "w") as f: f.write("\n".join(out + ["</svg>", ""]))

if __name__ == "__main__": main()
