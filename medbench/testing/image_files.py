"""Small synthetic image files for tests: nobody was ever imaged."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def picture_file(pixels: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """An encoded picture.

    Args:
        pixels: What Pillow makes an image of, shape (height, width) or (height, width, 3).
        kind: Pillow's name of the format.
        options: Of Pillow's ``save``.
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def dicom_file(pixels: NDArray[Any], *, syntax: str | None = None, **elements: Any) -> bytes:
    """A DICOM file.

    Args:
        pixels: Stored values of 8 or 16 bits, shape (height, width), (frames, height, width) or
            either with 3 channels behind.
        syntax: UID of the transfer syntax; Explicit VR Little Endian where it is None.
        elements: Values of elements by keyword, as ``PatientID="4711"``; None leaves one out that
            would be there.
    """
    import pydicom
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax or uid.ExplicitVRLittleEndian)
    dataset.SOPClassUID = uid.CTImageStorage
    dataset.SOPInstanceUID = uid.generate_uid()
    colour = pixels.shape[-1] == 3
    bits = pixels.dtype.itemsize * 8
    standard: dict[str, Any] = {
        "Rows": pixels.shape[-3 if colour else -2],
        "Columns": pixels.shape[-2 if colour else -1],
        "NumberOfFrames": pixels.shape[0] if pixels.ndim - colour == 3 else None,
        "SamplesPerPixel": 3 if colour else 1,
        "PlanarConfiguration": 0 if colour else None,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    for name, value in (standard | elements).items():
        if value is not None:
            setattr(dataset, name, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def nifti_file(voxels: NDArray[Any], affine: Any = None, *, version: int = 1) -> bytes:
    """A NIfTI file.

    Args:
        voxels: Their values.
        affine: From voxels to millimetres, shape (4, 4); to the right, anterior and superior where
            it is None.
        version: 1 or 2.
    """
    import nibabel

    kind: Any = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    content: bytes = kind(voxels, np.eye(4) if affine is None else affine).to_bytes()
    return content
