"""An independent reading of TIFF 6.0 (Adobe, 1992): plain struct, zlib and numpy.

Shares no code with the product; sections are those of the standard. ``pictures(content)`` gives
what docs/formats.md promises of a file: a picture of each slice.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}


def pictures(content: bytes) -> list[np.ndarray]:
    """A picture of each slice: float, shape (height, width, 1 or 3), from 0 to 255."""
    directories = list(read_directories(content))
    whole = [d for d in directories if not d.get(254, [0])[0] & 5 and d.get(255, [0])[0] != 2]
    area = max(d[256][0] * d[257][0] for d in whole)
    first = next(d for d in whole if d[256][0] * d[257][0] == area)
    size = first[256][0], first[257][0]
    return [picture(content, d) for d in whole if (d[256][0], d[257][0]) == size]


def read_directories(content: bytes):
    """Section 2: the chain of directories, each as the numbers of its tags."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack(order + "H", content[2:4])[0] == 43
    word, counter, entry, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (offset,) = struct.unpack_from(order + word, content, 8 if big else 4)
    while offset:
        (n,) = struct.unpack_from(order + counter, content, offset)
        at = offset + struct.calcsize(counter)
        tags: dict = {"order": order}
        for i in range(n):
            code, kind = struct.unpack_from(order + "HH", content, at + i * entry)
            (count,) = struct.unpack_from(order + word, content, at + i * entry + 4)
            where = at + i * entry + 4 + inline
            if count * SIZES[kind] > inline:
                (where,) = struct.unpack_from(order + word, content, where)
            if kind in LETTERS:
                form = f"{order}{count}{LETTERS[kind]}"
                tags[code] = list(struct.unpack_from(form, content, where))
        yield tags
        (offset,) = struct.unpack_from(order + word, content, at + n * entry)


def picture(content: bytes, tags: dict) -> np.ndarray:
    samples = read_samples(content, tags)
    bits, kind = tags.get(258, [1])[0], "uif"[tags.get(339, [1])[0] - 1]
    shown = light(samples, tags, bits, kind)
    return upright(shown, tags.get(274, [1])[0])


# --- samples (sections 3 to 15, 13, 14; technical note 3) -----------------------------------


def read_samples(content: bytes, tags: dict) -> np.ndarray:
    """Shape (height, width, samples)."""
    width, height, n = tags[256][0], tags[257][0], tags.get(277, [1])[0]
    apart = tags.get(284, [1])[0] == 2
    tiled = 322 in tags
    across = tags[322][0] if tiled else width
    down = tags[323][0] if tiled else min(tags.get(278, [height])[0], height)
    offsets, lengths = (tags[324], tags[325]) if tiled else (tags[273], tags[279])
    samples: np.ndarray | None = None
    number = 0
    for plane in range(n if apart else 1):
        for top in range(0, height, down):
            for left in range(0, width, across):
                data = content[offsets[number] : offsets[number] + lengths[number]]
                rows = down if tiled else min(down, height - top)
                part = read_part(data, tags, rows, across, 1 if apart else n)
                if samples is None:
                    samples = np.zeros((height, width, n), part.dtype)
                for y in range(min(rows, height - top)):
                    for_row = part[y, : min(across, width - left)]
                    where = samples[top + y, left : left + across]
                    if apart:
                        where[:, plane] = for_row[:, 0]
                    else:
                        where[:] = for_row
                number += 1
    assert samples is not None
    return samples


def read_part(data: bytes, tags: dict, rows: int, columns: int, n: int) -> np.ndarray:
    """A strip or a tile."""
    bits, form = tags.get(258, [1])[0], tags.get(339, [1])[0]
    if tags.get(266, [1])[0] == 2:
        data = bytes(int(format(byte, "08b")[::-1], 2) for byte in data)
    compression, predictor = tags.get(259, [1])[0], tags.get(317, [1])[0]
    if compression == 5:
        data = lzw(data)
    elif compression in (8, 32946):
        data = zlib.decompress(data)
    elif compression == 32773:
        data = packbits(data)
    length = (columns * n * bits + 7) // 8
    kind = "uif"[form - 1]
    if predictor == 3:
        lines = [
            float_line(data[y * length : (y + 1) * length], columns, n, bits) for y in range(rows)
        ]
        return np.array(lines)
    if bits in (8, 16, 32, 64):
        values = np.frombuffer(data[: rows * length], f"{tags['order']}{kind}{bits // 8}")
        part = values.reshape(rows, columns, n).astype(f"{kind}{bits // 8}")
    else:
        part = np.zeros((rows, columns * n), np.uint16)
        for y in range(rows):
            text = "".join(format(byte, "08b") for byte in data[y * length : (y + 1) * length])
            part[y] = [int(text[i * bits : (i + 1) * bits], 2) for i in range(columns * n)]
        part = part.reshape(rows, columns, n)
    if predictor == 2:
        part = part.copy()
        whole = part.view(f"u{bits // 8}")
        for x in range(1, columns):
            whole[:, x] += whole[:, x - 1]
    return part


def float_line(line: bytes, columns: int, n: int, bits: int) -> np.ndarray:
    """Technical note 3: differences of bytes, which lie apart by their significance."""
    size = bits // 8
    whole = bytearray(line)
    for i in range(n, len(whole)):
        whole[i] = (whole[i] + whole[i - n]) % 256
    count = columns * n
    numbers = b"".join(bytes(whole[b * count + i] for b in range(size)) for i in range(count))
    return np.frombuffer(numbers, f">f{size}").reshape(columns, n).astype(f"f{size}")


def lzw(data: bytes) -> bytes:
    """Section 13."""
    bits = int.from_bytes(data, "big")
    left = len(data) * 8
    out = bytearray()
    table: list[bytes] = []
    old = b""
    width = 9
    while left >= width:
        left -= width
        code = (bits >> left) & ((1 << width) - 1)
        if code == 257:
            break
        if code == 256:
            table = [bytes([i]) for i in range(256)] + [b"", b""]
            width, old = 9, b""
            continue
        entry = table[code] if code < len(table) else old + old[:1]
        out += entry
        if old:
            table.append(old + entry[:1])
        old = entry
        width = 9 + (len(table) >= 511) + (len(table) >= 1023) + (len(table) >= 2047)
    return bytes(out)


def packbits(data: bytes) -> bytes:
    """Section 9."""
    out = bytearray()
    i = 0
    while i < len(data):
        n = data[i]
        if n < 128:
            out += data[i + 1 : i + 2 + n]
            i += n + 2
        elif n > 128:
            out += data[i + 1 : i + 2] * (257 - n)
            i += 2
        else:
            i += 1
    return bytes(out)


# --- what is seen (sections 4 to 6, 16, 18; docs/formats.md) --------------------------------


def light(samples: np.ndarray, tags: dict, bits: int, kind: str) -> np.ndarray:
    """From 0 to 255, shape (height, width, 1 or 3)."""
    meaning = tags[262][0]
    top = 2.0**bits - 1 if kind == "u" else None
    n = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}[meaning]
    values = samples[..., :n].astype(float)
    alpha, multiplied = opacity(samples[..., n:].astype(float), tags.get(338, []), bits, top)
    if meaning in (3, 5):
        table = np.array(tags.get(320, [0] * 3), float).reshape(3, -1).T / 257
        ink = values / top
        light = (1 - ink[..., :3]) * (1 - ink[..., 3:]) * 255
        values, top, bits = table[samples[..., 0]] if meaning == 3 else light, 255.0, 8
    stored = values
    if meaning == 0:
        full = values.max() if top is None else top
        values = (alpha if multiplied else 1) * full - values
    if not multiplied:
        values = values * alpha
    if kind == "u" and bits <= 8:
        return values / top * 255
    if values.shape[2] == 1 or all((values[..., 0] == values[..., k]).all() for k in (1, 2)):
        low, high = values.min(), values.max()
        return (values[..., :1] - low) / (high - low or 1) * 255
    low, high = colour_range(stored[alpha[..., 0] > 0] if alpha.any() else stored, bits, top)
    return np.clip((values - low) / (high - low) * 255, 0, 255)


def opacity(extra: np.ndarray, meanings: list, bits: int, top: float | None):
    """From 0 to 1, shape (height, width, 1), and whether the colours are multiplied by it."""
    for position, what in enumerate(meanings):
        if what in (1, 2):
            stored = extra[..., position : position + 1]
            full = top or 1.0
            if bits in (16, 32, 64) and top and stored.max() in (255, 4095):
                full = stored.max()
            return stored / full, what == 1
    return np.ones((*extra.shape[:2], 1)), False


def colour_range(stored: np.ndarray, bits: int, top: float | None):
    low, high = min(stored.min(), 0), stored.max()
    if low < 0:
        return low, high
    if top and bits not in (16, 32, 64):
        return 0, top
    tops = [255.0, 4095.0, *([top] if top else [1.0, 65535.0])]
    return 0, min([t for t in tops if t >= high], default=high)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Section 8: where the first row and the first column of the stored picture are seen."""
    height, width = pixels.shape[:2]
    turned = orientation > 4
    seen = np.zeros((width, height, pixels.shape[2]) if turned else pixels.shape)
    for row in range(height):
        for column in range(width):
            y = {1: row, 2: row, 3: height - 1 - row, 4: height - 1 - row}.get(orientation)
            x = {1: column, 2: width - 1 - column, 3: width - 1 - column, 4: column}.get(
                orientation
            )
            if turned:
                y = column if orientation in (5, 6) else width - 1 - column
                x = row if orientation in (5, 8) else height - 1 - row
            seen[y, x] = pixels[row, column]
    return seen
