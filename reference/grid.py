"""Clips as one grey PNG: a row for each clip, its frames from left to right."""
import struct, torch, zlib

def filmstrips(clips, every=1):              # [n, F, 1, H, W] in [-1, 1] -> u8 [rows, columns]
    n, _, _, h, w = clips.shape
    picked = torch.nn.functional.pad(clips[:, ::every, 0], (1, 1, 1, 1), value=-0.5)
    rows = picked.permute(0, 2, 1, 3).reshape(n * (h + 2), -1)
    return (127.5 * (rows + 1)).round().clamp(0, 255).to(torch.uint8)

def write_png(path, grey):                   # u8 [rows, columns]
    rows, columns = grey.shape
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    lines = b"".join(b"\0" + bytes(line.tolist()) for line in grey)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))
