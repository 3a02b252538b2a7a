"""The model in PyTorch, eager and unfused, with the tensor names of facebook/DiT and Latte: what the fixtures in
`tests/fixtures` were made with, and what `compare.py` times. Building, testing and running steep never need it."""
import math, torch, torch.nn as nn, torch.nn.functional as F

CFG = dict(frames=16, height=32, width=32, channels=1, patch=8, dim=192, depth=6, heads=3, mlp_ratio=4,
           classes=10, temporal=True, learn_sigma=False, prediction="velocity")

def sincos_1d(pos, n):                       # [len(pos), n]: sin half, then cos half
    w = 10000.0 ** (-torch.arange(n // 2, dtype=torch.float64) / (n // 2))
    a = pos.double()[:, None] * w[None]
    return torch.cat([a.sin(), a.cos()], -1)

def sincos_2d(h, w, d):                      # first half of the channels: column, second half: row
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.cat([sincos_1d(c.flatten(), d // 2), sincos_1d(r.flatten(), d // 2)], -1).float()

def timestep_embedding(t, dim=256):          # cos first
    f = torch.exp(-math.log(10000.0) * torch.arange(dim // 2, dtype=torch.float32, device=t.device) / (dim // 2))
    a = t.float()[:, None] * f[None]
    return torch.cat([a.cos(), a.sin()], -1)

def modulate(x, shift, scale):               # x [R, S, d]; shift, scale [R, d]
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

class Attn(nn.Module):
    def __init__(s, d, h):
        super().__init__(); s.h = h; s.qkv = nn.Linear(d, 3 * d); s.proj = nn.Linear(d, d)
    def forward(s, x):
        B, N, D = x.shape
        q, k, v = s.qkv(x).view(B, N, 3, s.h, -1).permute(2, 0, 3, 1, 4)
        return s.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, D))

class Block(nn.Module):
    def __init__(s, d, h, r):
        super().__init__()
        s.attn = Attn(d, h)
        s.mlp = nn.ModuleDict(dict(fc1=nn.Linear(d, r * d), fc2=nn.Linear(r * d, d)))
        s.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
    def forward(s, x, c):
        sa, ca, ga, sm, cm, gm = s.adaLN_modulation(c).chunk(6, -1)
        x = x + ga[:, None] * s.attn(modulate(x, sa, ca))
        h = s.mlp["fc2"](F.gelu(s.mlp["fc1"](modulate(x, sm, cm)), approximate="tanh"))
        return x + gm[:, None] * h

class DiT(nn.Module):
    def __init__(s, cfg=CFG):
        super().__init__(); s.cfg = cfg
        d, p, C = cfg["dim"], cfg["patch"], cfg["channels"]
        s.gh, s.gw = cfg["height"] // p, cfg["width"] // p
        out = C * (2 if cfg["learn_sigma"] else 1)
        s.x_embedder = nn.ModuleDict(dict(proj=nn.Conv2d(C, d, p, p)))
        s.t_embedder = nn.ModuleDict(dict(mlp=nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))))
        s.y_embedder = nn.ModuleDict(dict(embedding_table=nn.Embedding(cfg["classes"] + 1, d)))
        s.pos_embed = nn.Parameter(sincos_2d(s.gh, s.gw, d)[None], requires_grad=False)
        if cfg["temporal"]:
            s.temp_embed = nn.Parameter(sincos_1d(torch.arange(cfg["frames"]), d).float()[None], requires_grad=False)
        s.blocks = nn.ModuleList(Block(d, cfg["heads"], cfg["mlp_ratio"]) for _ in range(cfg["depth"]))
        s.final_layer = nn.ModuleDict(dict(linear=nn.Linear(d, p * p * out),
                                           adaLN_modulation=nn.Sequential(nn.SiLU(), nn.Linear(d, 2 * d))))
        s.out = out
        for b in s.blocks:
            nn.init.zeros_(b.adaLN_modulation[1].weight); nn.init.zeros_(b.adaLN_modulation[1].bias)
        for l in (s.final_layer["linear"], s.final_layer["adaLN_modulation"][1]):
            nn.init.zeros_(l.weight); nn.init.zeros_(l.bias)
        nn.init.normal_(s.y_embedder["embedding_table"].weight, std=0.02)
        for i in (0, 2): nn.init.normal_(s.t_embedder["mlp"][i].weight, std=0.02)
    def condition(s, t, y):
        return s.t_embedder["mlp"](timestep_embedding(t).to(s.pos_embed.dtype)) + s.y_embedder["embedding_table"](y)
    def embed(s, v):                         # [B, F, C, H, W] -> [B*F, N, d]
        x = s.x_embedder["proj"](v.flatten(0, 1)).flatten(2).transpose(1, 2)
        return x + s.pos_embed
    def gate_signal(s, x, c):                # block 0's modulated input: what TeaCache compares
        sa, ca, *_ = s.blocks[0].adaLN_modulation(c).chunk(6, -1)
        return modulate(x, sa, ca)
    def stack(s, x, c, Fr):                  # c already one row per frame for spatial: [B, d]
        B = c.shape[0]; N, d = x.shape[1:]
        cs, ct = c.repeat_interleave(Fr, 0), c.repeat_interleave(N, 0)
        for i, b in enumerate(s.blocks):
            if s.cfg["temporal"] and i % 2:
                x = x.view(B, Fr, N, d).transpose(1, 2).reshape(B * N, Fr, d)
                if i == 1: x = x + s.temp_embed
                x = b(x, ct).view(B, N, Fr, d).transpose(1, 2).reshape(B * Fr, N, d)
            else:
                x = b(x, cs)
        return x
    def head(s, x, c, B, Fr):
        p = s.cfg["patch"]
        sh, sc = s.final_layer["adaLN_modulation"](c.repeat_interleave(Fr, 0)).chunk(2, -1)
        x = s.final_layer["linear"](modulate(x, sh, sc))
        x = x.view(B, Fr, s.gh, s.gw, p, p, s.out).permute(0, 1, 6, 2, 4, 3, 5)
        return x.reshape(B, Fr, s.out, s.gh * p, s.gw * p)
    def forward(s, v, t, y):                 # v [B, F, C, H, W], t [B] in [0, 1000], y [B]
        B, Fr = v.shape[:2]
        x, c = s.embed(v), s.condition(t, y)
        x = s.stack(x, c, Fr)
        return s.head(x, c, B, Fr)

def load(path):                              # a checkpoint with its configuration, widened to f32
    import json
    from safetensors import safe_open
    with safe_open(path, "pt") as f:
        model = DiT(json.loads(f.metadata()["config"]))
        model.load_state_dict({k: f.get_tensor(k).float() for k in f.keys()})
    return model.eval()
def save(model, path):                       # a checkpoint that steep reads
    import json
    from safetensors.torch import save_file
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, {"config": json.dumps(model.cfg)})
