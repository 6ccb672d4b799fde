"""TIFF files by hand: every kind that the standard knows, and random valid ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

SHORT, LONG, LONG8 = 3, 4, 16
FORMS = {"u": 1, "i": 2, "f": 3}


def tiff_page(
    samples: np.ndarray,
    *,
    bits: int = 0,
    meaning: int = 1,
    order: str = "<",
    compression: int = 1,
    predictor: int = 1,
    apart: bool = False,
    rows_per_strip: int = 0,
    tile: tuple[int, int] | None = None,
    fill_order: int = 1,
    tags: dict[int, Any] | None = None,
) -> tuple[dict[int, Any], list[bytes]]:
    """The tags of a page, without offsets, and its strips or tiles.

    Args:
        samples: Shape (height, width) or (height, width, samples); the type decides the format.
        bits: Of a sample, where not all of the type.
        meaning: Photometric interpretation.
        order: Byte order.
        compression: None (1), LZW (5), Deflate (8, 32946) or PackBits (32773).
        predictor: 1 to 3.
        apart: Whether the planes are stored apart.
        rows_per_strip: All rows where it is 0.
        tile: Width and height of tiles.
        fill_order: 2 reverses the bits of each byte.
        tags: Further tags.
    """
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width, n = samples.shape
    bits = bits or samples.dtype.itemsize * 8
    found: dict[int, Any] = {
        256: width, 257: height, 258: [bits] * n, 259: compression, 262: meaning, 277: n,
    }  # fmt: skip
    optional = {
        266: (fill_order, 1), 278: (rows_per_strip, 0), 284: (1 + apart, 1), 317: (predictor, 1),
        322: (tile[0] if tile else 0, 0), 323: (tile[1] if tile else 0, 0),
    }  # fmt: skip
    found |= {code: value for code, (value, default) in optional.items() if value != default}
    if samples.dtype.kind != "u":
        found[339] = [FORMS[samples.dtype.kind]] * n
    parts = [
        packed(part, bits, order, compression, predictor, fill_order)
        for plane in ([samples[..., k : k + 1] for k in range(n)] if apart else [samples])
        for part in segments(plane, tile, rows_per_strip or height)
    ]
    return found | (tags or {}), parts


def segments(plane: np.ndarray, tile: tuple[int, int] | None, rows: int) -> Iterator[np.ndarray]:
    """Its tiles, which are filled at the edges, or its strips."""
    height, width = plane.shape[:2]
    across, down = tile or (width, rows)
    for top in range(0, height, down):
        for left in range(0, width, across):
            part = plane[top : top + down, left : left + across]
            missing = (down - part.shape[0], across - part.shape[1]) if tile else (0, 0)
            yield np.pad(part, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")


def packed(
    part: np.ndarray, bits: int, order: str, compression: int, predictor: int, fill_order: int
) -> bytes:
    lines = []
    for row in part:
        if predictor == 3:
            lines.append(float_differences(row))
            continue
        if predictor == 2:
            row = row.copy()
            whole = row.view(f"u{row.itemsize}")
            whole[1:] = whole[1:] - whole[:-1]
        lines.append(line(row.ravel(), bits, order))
    data = b"".join(lines)
    if compression == 5:
        data = lzw(data)
    elif compression in (8, 32946):
        data = zlib.compress(data)
    elif compression == 32773:
        data = b"".join(packbits(one) for one in lines)
    if fill_order == 2:
        data = bytes(int(format(byte, "08b")[::-1], 2) for byte in data)
    return data


def line(values: np.ndarray, bits: int, order: str) -> bytes:
    if bits == values.itemsize * 8:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    text = "".join(format(int(value), f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def float_differences(row: np.ndarray) -> bytes:
    n = row.shape[1]
    size = row.itemsize
    big = row.astype(row.dtype.newbyteorder(">")).tobytes()
    apart = bytearray(b"".join(big[b::size] for b in range(size)))
    for i in range(len(apart) - 1, n - 1, -1):
        apart[i] = (apart[i] - apart[i - n]) % 256
    return bytes(apart)


def lzw(data: bytes) -> bytes:
    codes: list[tuple[int, int]] = [(256, 9)]
    table = {bytes([i]): i for i in range(256)}
    following, width, word = 258, 9, b""
    for byte in data:
        longer = word + bytes([byte])
        if longer in table:
            word = longer
            continue
        codes.append((table[word], width))
        table[longer] = following
        following += 1
        word = bytes([byte])
        if following == 4094:
            codes.append((256, 12))
            table = {bytes([i]): i for i in range(256)}
            following = 258
        width = 9 + (following >= 512) + (following >= 1024) + (following >= 2048)
    if word:
        codes.append((table[word], width))
        following += 1
    codes.append((257, 9 + (following >= 512) + (following >= 1024) + (following >= 2048)))
    text = "".join(format(code, f"0{width}b") for code, width in codes)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def packbits(data: bytes) -> bytes:
    out = bytearray()
    i = 0
    while i < len(data):
        run = 1
        while run < 128 and data[i : i + 1] == data[i + run : i + run + 1]:
            run += 1
        if run > 1:
            out += bytes([257 - run, data[i]])
            i += run
            continue
        end = i + 1
        while end < len(data) and end - i < 128 and data[end] != data[end - 1]:
            end += 1
        out += bytes([end - i - 1]) + data[i:end]
        i = end
    return bytes(out)


def tiff_file(
    pages: list[tuple[dict[int, Any], list[bytes]]], *, order: str = "<", big: bool = False
) -> bytes:
    """The file of these pages, whose bytes are in that order."""
    word, counter, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    head = {"<": b"II", ">": b"MM"}[order]
    out = bytearray(head + struct.pack(order + "H", 43 if big else 42))
    if big:
        out += struct.pack(order + "HH", 8, 0)
    link = len(out)
    out += bytes(inline)
    for tags, parts in pages:
        offsets = []
        for part in parts:
            out += bytes(len(out) % 2)
            offsets.append(len(out))
            out += part
        tiled = 322 in tags
        where = {324 if tiled else 273: offsets, 325 if tiled else 279: [len(p) for p in parts]}
        entries = b""
        for code, value in sorted((tags | where).items()):
            numbers = value if isinstance(value, list) else [value]
            kind = LONG if code in where or max(numbers) > 65535 else SHORT
            data = struct.pack(f"{order}{len(numbers)}{'I' if kind == LONG else 'H'}", *numbers)
            if len(data) > inline:
                out += bytes(len(out) % 2)
                at = len(out)
                out += data
                data = struct.pack(order + word, at)
            entries += struct.pack(f"{order}HH{word}", code, kind, len(numbers))
            entries += data.ljust(inline, b"\0")
        out += bytes(len(out) % 2)
        struct.pack_into(order + word, out, link, len(out))
        out += struct.pack(order + counter, len(tags | where)) + entries
        link = len(out)
        out += bytes(inline)
    return bytes(out)


# --- random ones ----------------------------------------------------------------------------

KINDS = {
    0: ("u1", "u2", "u4", "u8", "u12", "u16", "u32", "i8", "i16", "i32", "f16", "f32", "f64"),
    1: ("u1", "u2", "u3", "u4", "u7", "u8", "u10", "u12", "u14", "u16", "u32", "u64", "i8", "i16",
        "i32", "i64", "f16", "f32", "f64"),
    2: ("u4", "u8", "u10", "u12", "u16", "u16", "u32", "i16", "f32"),
    3: ("u1", "u2", "u4", "u8"),
    5: ("u8", "u16"),
}  # fmt: skip
EXTRAS = [[0], [1], [2], [2, 0], [0, 2], [0, 0]]
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}


def random_tiff(seed: int) -> bytes:
    """A valid file, another one for each seed."""
    rng = np.random.default_rng(seed)
    order, big = str(rng.choice(["<", ">"])), bool(rng.random() < 0.25)
    height, width = (int(n) for n in rng.integers(1, 30, 2))
    pages = []
    for _ in range(rng.choice([1, 2, 4], p=[0.7, 0.15, 0.15])):
        if rng.random() < 0.15:
            copy = {int(rng.choice([254, 255])): 1}
            copy = {code: 2 if code == 255 else int(rng.choice([1, 4, 5])) for code in copy}
            pages.append(random_page(rng, order, (max(height // 2, 1), width), copy))
        pages.append(random_page(rng, order, (height, width), {}))
        if rng.random() < 0.1 and height > 1:
            pages.append(random_page(rng, order, (height - 1, width), {}))
    return tiff_file(pages, order=order, big=big)


def random_page(
    rng: np.random.Generator, order: str, size: tuple[int, int], tags: dict[int, Any]
) -> tuple[dict[int, Any], list[bytes]]:
    meaning = int(rng.choice([0, 1, 2, 3, 5], p=[0.2, 0.35, 0.3, 0.08, 0.07]))
    kind, bits = (name := str(rng.choice(KINDS[meaning])))[0], int(name[1:])
    extra = EXTRAS[rng.integers(len(EXTRAS))] if rng.random() < 0.3 and kind != "i" else []
    if (extra == [0, 0] and meaning != 2) or (extra == [1] and meaning == 0 and kind == "f"):
        extra = []  # which have no meaning
    samples = random_samples(rng, (*size, CHANNELS[meaning] + len(extra)), kind, bits)
    random_opacity(rng, samples, CHANNELS[meaning], extra, bits)
    if meaning == 2 and rng.random() < 0.2:
        samples[..., 1] = samples[..., 2] = samples[..., 0]
    compression = int(rng.choice([1, 5, 8, 32946, 32773], p=[0.3, 0.3, 0.2, 0.05, 0.15]))
    whole = bits == samples.itemsize * 8
    more: dict[int, Any] = {338: extra} if extra else {}
    if rng.random() < 0.3:
        more[274] = int(rng.integers(1, 9))
    if meaning == 3:
        more[320] = [65535, *(int(v) * 257 for v in rng.integers(0, 256, 3 * 2**bits - 1))]
    return tiff_page(
        samples,
        bits=bits,
        meaning=meaning,
        order=order,
        compression=compression,
        predictor=random_predictor(rng, kind) if compression in (5, 8, 32946) and whole else 1,
        apart=bool(samples.shape[2] > 1 and rng.random() < 0.4),
        rows_per_strip=int(rng.integers(1, size[0] + 1)) if rng.random() < 0.6 else 0,
        tile=tuple(16 * int(n) for n in rng.integers(1, 3, 2)) if rng.random() < 0.3 else None,
        fill_order=2 if rng.random() < 0.1 else 1,
        tags=more | tags,
    )


def random_predictor(rng: np.random.Generator, kind: str) -> int:
    if rng.random() < 0.6:
        return 1
    return 3 if kind == "f" and rng.random() < 0.7 else 2


def random_samples(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str, bits: int
) -> np.ndarray:
    """Smooth steps, so that they compress, of a range that is drawn."""
    share = rng.random(shape)
    if rng.random() < 0.5:
        share = np.round(share * 4) / 4
    if kind == "f":
        low, high = [(0.0, 1.0), (-3.0, 5.0), (0.0, 200.0), (10.0, 4000.0)][rng.integers(4)]
        return (low + share * (high - low)).astype(f"f{bits // 8}")
    top = 2**bits - 1
    high = min(top, int(rng.choice([top, 4095, 255, 1000, 60000])))
    if kind == "i":
        high = min(high // 2, 2**52)
        low = -high if rng.random() < 0.7 else 0
        return (low + share * (high - low)).astype(f"i{bits // 8}")
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    high = min(high, 2**53)
    low = high // 5 if rng.random() < 0.5 else 0
    return (low + share * (high - low)).astype(f"u{size}")


def random_opacity(
    rng: np.random.Generator, samples: np.ndarray, n: int, extra: list[int], bits: int
) -> None:
    """Puts opacities where the samples beyond the first n are some."""
    share = np.round(rng.random(samples.shape[:2]) * 3) / 3
    share.flat[0] = 1
    top: float = 1 if samples.dtype.kind == "f" else 2**bits - 1 if bits < 64 else 2**53
    if bits == 16 and rng.random() < 0.3 and samples.max() <= 4095 and top > 1:
        top = 4095
    for place, what in enumerate(extra):
        if what:
            samples[..., n + place] = share * top
        if what == 1:
            samples[..., :n] = np.minimum(samples[..., :n], samples[..., n + place, None])
