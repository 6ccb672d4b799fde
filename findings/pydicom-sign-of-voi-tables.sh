#!/bin/sh
# pydicom 3.0.2: apply_voi_lut shows a CT as one grey where its table is stored in implicit VR.
#
# Expected: the same picture from an explicit and an implicit file. An implicit one does not say
#   whether the first value that a VOI table maps is signed; by the standard (PS3.3, C.11.2.1.1) it
#   is wherever rescaled values may be negative, and always in Hounsfield units.
# Seen: the sign of the stored pixels decides, so that of unsigned ones the first value -160 is read
#   as 65376; every pixel lies below it and takes the table's first entry.
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
from pydicom.pixels import apply_modality_lut, apply_voi_lut

greys = {}
for syntax in (pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian):
    table, file = Dataset(), Dataset()
    table.add_new("LUTDescriptor", "SS", [401, -160, 16])
    table.add_new("LUTData", "OW", np.linspace(0, 65535, 401).astype("<u2").tobytes())
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3.4"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = 16, 16
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = -1024, 1, "HU"
    file.VOILUTSequence = [table]
    file.add_new("PixelData", "OW", np.arange(824, 1336, 2, dtype="<u2").tobytes())  # -200..310 HU
    file.save_as("scan.dcm", enforce_file_format=True)
    read = pydicom.dcmread("scan.dcm")
    shown = apply_voi_lut(apply_modality_lut(read.pixel_array, read), read)
    greys[syntax.name] = len(np.unique(shown))
print(f"pydicom {pydicom.__version__}: different greys that are shown: {greys}")
sys.exit(0 if list(greys.values())[0] > 100 and list(greys.values())[1] == 1 else 1)
PYTHON
