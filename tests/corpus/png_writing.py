"""PNG files by hand: every colour type, depth, filter and way of transparency."""

from __future__ import annotations

import struct
import zlib

import numpy as np

DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]  # fmt: skip


def png_file(
    samples: np.ndarray,
    bits: int,
    kind: int,
    *,
    interlaced: bool = False,
    filters: tuple[int, ...] = (0,),
    **chunks: bytes,
) -> bytes:
    """A PNG file.

    Args:
        samples: Shape (height, width, channels of the kind).
        bits: Of a sample.
        kind: Colour type.
        interlaced: By Adam7.
        filters: Filters of the lines, in turn.
        chunks: Bodies of chunks before the image data, by name.
    """
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    data = b""
    for x, y, across, down in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::down, x::across]
        if part.size:
            data += lines(part, bits, filters)
    packed = zlib.compress(data)
    body = chunk(b"IHDR", header)
    body += b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    middle = len(packed) // 2
    body += chunk(b"IDAT", packed[:middle]) + chunk(b"IDAT", packed[middle:])
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def lines(part: np.ndarray, bits: int, filters: tuple[int, ...]) -> bytes:
    channels = part.shape[2]
    back = max(channels * bits // 8, 1)
    out, above = b"", b""
    for y, row in enumerate(part):
        text = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
        text += "0" * (-len(text) % 8)
        line = int(text, 2).to_bytes(len(text) // 8, "big")
        above = above or bytes(len(line))
        kind = filters[y % len(filters)]
        out += bytes([kind]) + filtered(line, above, back, kind)
        above = line
    return out


def filtered(line: bytes, above: bytes, back: int, kind: int) -> bytes:
    out = bytearray()
    for i, byte in enumerate(line):
        a = line[i - back] if i >= back else 0
        b, c = above[i], above[i - back] if i >= back else 0
        nearest = min((a, b, c), key=lambda one: abs(a + b - c - one))
        out.append((byte - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
    return bytes(out)


def random_png(seed: int) -> bytes:
    """A valid file, another one for each seed."""
    rng = np.random.default_rng(seed)
    kind = int(rng.choice([0, 2, 3, 4, 6]))
    bits = int(rng.choice(DEPTHS[kind]))
    top = 2**bits - 1
    height, width = (int(n) for n in rng.integers(1, 24, 2))
    high = min(top, int(rng.choice([top, 4095, 255, 9000])))
    samples = np.round(rng.random((height, width, CHANNELS[kind])) * 4) / 4 * high
    if kind in (4, 6):
        full = 4095 if high == 4095 and rng.random() < 0.5 else top
        samples[..., -1] = np.round(rng.random((height, width)) * 3) / 3 * full
        samples[0, 0, -1] = full
    samples = samples.astype(np.uint16)
    chunks: dict[str, bytes] = {}
    if kind in (2, 6) and bits == 16 and rng.random() < 0.3:
        chunks["sBIT"] = bytes([int(rng.choice([10, 12, 14]))]) * CHANNELS[kind]
    if kind == 3:
        chunks["PLTE"] = bytes(rng.integers(0, 256, 3 * 2**bits, dtype=np.uint8))
    if rng.random() < 0.6:
        if kind == 3:
            n = int(rng.integers(1, 2**bits + 1))
            chunks["tRNS"] = bytes(rng.choice([0, 255, 120], n).astype(np.uint8))
        elif kind in (0, 2):
            chunks["tRNS"] = samples[0, 0].astype(">u2").tobytes()
    return png_file(
        samples,
        bits,
        kind,
        interlaced=bool(rng.random() < 0.3),
        filters=tuple(int(n) for n in rng.permutation(5)),
        **chunks,
    )
