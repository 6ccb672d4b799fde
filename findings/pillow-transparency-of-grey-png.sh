#!/bin/sh
# Pillow 13.0.0: the transparent value of grey PNG of 2 and 4 bits is not found.
#
# Expected: pixels of the value in the tRNS chunk are transparent in convert("RGBA"), as the PNG
#   standard (11.3.2.1) defines it for every depth, and as Pillow does at 8 bits.
#   (and at 1 and 16).
# Seen: grey of 2 and 4 bits is expanded to 0..255, but info["transparency"] keeps the value as it
#   is stored, so that white of 4 bits is looked for as 15 where it is 255, and nothing is clear.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pillow==13.0.0
cat > "$folder/depths.py" <<'PYTHON'
import io
import struct
import sys
import zlib

from PIL import Image


def chunk(name, body):
    whole = name + body
    return struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))


seen = {}
for bits in (1, 2, 4, 8, 16):
    white = 2**bits - 1
    line = bytes(1 + bits) + b"\xff" * bits  # eight black pixels, eight white ones
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 1, bits, 0, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", white))
        + chunk(b"IDAT", zlib.compress(line))
        + chunk(b"IEND", b"")
    )
    image = Image.open(io.BytesIO(content))
    rgba = image.convert("RGBA")
    seen[bits] = [rgba.getpixel((x, 0))[3] for x in (0, 15)] == [255, 0]
    print(f"{bits} bits: white, which is transparent, is {'so, and black is not' if seen[bits] else 'not told from black'}")
sys.exit(seen != {1: True, 2: False, 4: False, 8: True, 16: True})
PYTHON
"$folder/venv/bin/python" "$folder/depths.py"
