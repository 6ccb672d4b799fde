#!/bin/sh
# Pillow 13.0.0: a big-endian BigTIFF file cannot be identified.
#
# Expected: it is opened as the little-endian one is; BigTIFF's version 43 is stored in the byte
#   order of the file, so it is the fourth byte here ("MM\0+"), which is among the prefixes that the
#   plugin accepts.
# Seen: the plugin looks for 43 in the third byte, takes the file for a classic TIFF, and reads the
#   directory at a place that is none.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
    pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cat > "$folder/orders.py" <<'PYTHON'
import io
import sys

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

seen = {}
for order in "<>":
    file = io.BytesIO()
    tifffile.imwrite(file, np.eye(8, dtype=np.uint8), bigtiff=True, byteorder=order)
    file.seek(0)
    assert tifffile.imread(file).sum() == 8
    try:
        seen[order] = int(np.asarray(Image.open(file)).sum()) == 8
    except UnidentifiedImageError:
        seen[order] = False
    print(f"BigTIFF {'little' if order == '<' else 'big'}-endian: {'opened' if seen[order] else 'not identified'}")
sys.exit(seen != {"<": True, ">": False})
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/orders.py"
