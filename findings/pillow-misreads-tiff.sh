#!/bin/sh
# Pillow 13.0.0: three kinds of valid TIFF give other values, without an error.
#
# Expected: what tifffile wrote and reads; the tags (PlanarConfiguration, byte order, SampleFormat)
#   say it all.
# Seen: RGB of 16 bits whose planes are stored apart is scrambled. Signed and floating-point samples
#   of big-endian files come with their bytes swapped where the file is compressed (plain ones and
#   unsigned ones are right: only their raw modes are turned to the native order that libtiff
#   gives). Signed samples of 8 bits are taken for unsigned ones.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
    pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cat > "$folder/kinds.py" <<'PYTHON'
import io
import sys

import numpy as np
import tifffile
from PIL import Image

grey = (np.arange(16).reshape(4, 4) * 100 - 300).astype(np.int16)
planes = (np.arange(48).reshape(3, 4, 4) * 1000).astype(np.uint16)
kinds = {
    "16-bit RGB, planes apart": (planes, {"photometric": "rgb", "planarconfig": "separate"}),
    "big-endian int16": (grey, {"byteorder": ">"}),
    "big-endian int16, Deflate": (grey, {"byteorder": ">", "compression": "zlib"}),
    "big-endian float32, Deflate": (
        grey.astype(np.float32), {"byteorder": ">", "compression": "zlib"}),
    "big-endian uint16, Deflate": (
        (grey + 300).astype(np.uint16), {"byteorder": ">", "compression": "zlib"}),
    "int8": ((grey // 100).astype(np.int8), {}),
}
wrong = []
for name, (values, how) in kinds.items():
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **{"photometric": "minisblack"} | how)
    file.seek(0)
    assert np.array_equal(tifffile.imread(file), values)
    seen = np.asarray(Image.open(file))
    expected = np.moveaxis(values, 0, -1) / 257 if values.ndim == 3 else values
    right = np.abs(seen.astype(float) - expected).max() <= 1
    print(f"{name}: {'right' if right else f'{seen[0, :3].tolist()} in place of {values[..., 0, :3].tolist()}'}")
    wrong += [] if right else [name]
expected = [n for n in kinds if n not in ("big-endian int16", "big-endian uint16, Deflate")]
sys.exit(wrong != expected)
PYTHON
"$folder/venv/bin/python" "$folder/kinds.py"
