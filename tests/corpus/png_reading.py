"""An independent reading of PNG (ISO/IEC 15948): plain struct, zlib and numpy.

Shares no code with the product. ``picture(content)`` gives what docs/formats.md promises.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]  # fmt: skip
"""Clause 8.2: first column, first row, and their steps."""


def picture(content: bytes) -> np.ndarray:
    """From 0 to 255, shape (height, width, 1 or 3)."""
    chunks = dict(read_chunks(content))
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    data = zlib.decompress(chunks[b"IDAT"])
    samples = np.zeros((height, width, CHANNELS[kind]), np.uint16)
    for x, y, across, down in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::down, x::across]
        if part.size:
            data = read_part(data, part, bits, CHANNELS[kind])
    return light(samples, bits, kind, chunks)


def read_chunks(content: bytes):
    """Clause 5; the parts of the image data are put together."""
    offset, data = 8, b""
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        name, body = content[offset + 4 : offset + 8], content[offset + 8 : offset + 8 + length]
        if name == b"IDAT":
            data += body
        else:
            yield name, body
        offset += 12 + length
    yield b"IDAT", data


def read_part(data: bytes, part: np.ndarray, bits: int, channels: int) -> bytes:
    """Clause 9: the filters of each line; gives back the data that follow."""
    height, width = part.shape[:2]
    length, back = (width * channels * bits + 7) // 8, max(channels * bits // 8, 1)
    above = bytes(length)
    for y in range(height):
        kind, line = data[0], bytearray(data[1 : 1 + length])
        data = data[1 + length :]
        for i in range(length):
            a = line[i - back] if i >= back else 0
            b, c = above[i], above[i - back] if i >= back else 0
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth(a, b, c))[kind]) % 256
        text = "".join(format(byte, "08b") for byte in line)
        values = [int(text[i * bits : (i + 1) * bits], 2) for i in range(width * channels)]
        part[y] = np.array(values).reshape(width, channels)
        above = bytes(line)
    return data


def paeth(a: int, b: int, c: int) -> int:
    estimate = a + b - c
    return min((a, b, c), key=lambda one: abs(estimate - one))


def light(samples: np.ndarray, bits: int, kind: int, chunks: dict) -> np.ndarray:
    """Clauses 11.3.2 (transparency) and 13; more than 8 bits as docs/formats.md says."""
    top = 2**bits - 1
    said = chunks.get(b"tRNS", b"")
    values = samples[..., : 1 if kind in (0, 3, 4) else 3].astype(float)
    alpha = np.ones((*samples.shape[:2], 1))
    if kind == 3:
        table = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3).astype(float)
        opaque = np.array([*said, *[255] * (256 - len(said))]) / 255
        values, alpha = table[samples[..., 0]], opaque[samples[..., 0]][..., None]
        bits, top = 8, 255
    elif kind in (4, 6):
        full = samples[..., -1].max() if samples[..., -1].max() in (255, 4095) else top
        alpha = samples[..., -1:] / full
    elif said:
        clear = np.array(struct.unpack(f">{len(said) // 2}H", said)) & top
        alpha = (samples != clear).any(axis=2, keepdims=True).astype(float)
    shown = values * alpha
    if bits <= 8:
        return shown / top * 255
    if shown.shape[2] == 1 or (shown == shown[..., :1]).all():
        low, high = shown.min(), shown.max()
        return (shown[..., :1] - low) / (high - low or 1) * 255
    seen = values[alpha[..., 0] > 0] if alpha.any() else values
    tops = [255, 4095, top]
    if b"sBIT" in chunks:
        tops.append(2 ** max(chunks[b"sBIT"][:3]) - 1)
    return shown / min(t for t in tops if t >= seen.max()) * 255
