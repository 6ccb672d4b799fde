#!/bin/sh
# pydicom 3.0.2: single frames of 1-bit objects lose pixels where frames do not end on a byte.
#
# Expected: pixel_array(file, index=n) equals pixel_array(file)[n]. The standard (PS3.5, 8.1.1) lets
#   the frames of a segmentation follow each other bit by bit.
# Seen: a frame that begins inside of a byte is given as many bytes as its pixels fill, one too few,
#   so that the last pixels are missing and the frame cannot be reshaped. Reading all frames at once
#   is right.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array

bits = np.random.default_rng(0).integers(0, 2, (3, 63, 61), dtype=np.uint8)
file = Dataset()
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.SegmentationStorage, "1.2.3.4"
file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
file.NumberOfFrames, file.Rows, file.Columns = bits.shape
file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 1, 1, 0, 0
packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
file.PixelData = packed + bytes(len(packed) % 2)
file["PixelData"].VR = "OB"
file.save_as("frames.dcm", enforce_file_format=True)

seen = []
for frame in range(3):
    try:
        one = pixel_array(pydicom.dcmread("frames.dcm"), index=frame)
        seen.append("right" if (one == bits[frame]).all() else "wrong")
    except ValueError as error:
        seen.append(str(error))
whole = pydicom.dcmread("frames.dcm").pixel_array
print(f"pydicom {pydicom.__version__}: all frames at once "
      f"{'right' if (whole == bits).all() else 'wrong'}; one by one: {'; '.join(seen)}")
sys.exit(0 if (whole == bits).all() and seen[2].startswith("cannot reshape") else 1)
PYTHON
