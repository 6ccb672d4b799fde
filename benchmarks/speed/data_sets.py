"""Reading data sets by this MedBench and by the commit before nothing was misread in silence.

``names``: what is found out from names and tables alone, when the headers of the files are known
already. ``reading``: everything from files of four formats to the prepared data set, into an empty
cache; whatever must open files is in it.
"""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from earlier import Sides, record
from harness import HERE, BenchmarkError, Record, Settings, child, in_turns
from PIL import Image

COMMIT = "8b69470"
_CLASSES = ("normal", "pneumonia")
_SIDE = 256
"""Pixels of the drawn films."""


def names(settings: Settings) -> list[Record]:
    """CPU seconds of listing a folder, and of listing a table."""
    sides = Sides(settings, "names", COMMIT)
    n = 100 if settings.quick else 50_000
    rows = _write_small_files(sides.folder, n)
    entries = {
        f"a folder of {n:,} files": {"source": "folder", "path": str(sides.folder / "films")},
        f"a table of {rows:,} rows": {
            "source": "table",
            "path": str(sides.folder / "films.csv"),
            "group": "patient",
        },
    }
    records = []
    for what, entry in entries.items():
        costs = in_turns(
            lambda entry=entry: _seconds(sides, "ours", "listing", entry),  # type: ignore[misc]
            lambda entry=entry: _seconds(sides, "other", "listing", entry),  # type: ignore[misc]
            settings.repeats,
        )
        name = f"names {entry['source']}"
        records.append(record(name, f"listing {what}", "CPU s", 1.2, costs, COMMIT))
    return records


def reading(settings: Settings) -> list[Record]:
    """CPU seconds of preparing films in four formats."""
    sides = Sides(settings, "reading", COMMIT)
    films = sides.folder / "films"
    n = _write_films(films, 8 if settings.quick else 1000)
    few = sides.folder / "few"
    _write_films(few, 8)
    entry, before = ({"source": "folder", "path": str(folder)} for folder in (films, few))
    numbers = itertools.count()

    def seconds(side: str) -> float:
        cache = f"cache-{next(numbers)}"
        return _seconds(sides, side, "prepared", entry, before, cache=cache, images=n)

    seconds("ours"), seconds("other")
    costs = in_turns(lambda: seconds("ours"), lambda: seconds("other"), settings.repeats)
    what = f"decoding {n:,} PNG, JPEG, TIFF and DICOM files"
    return [record("reading", what, "CPU s", 1.05, costs, COMMIT, pixels=_SIDE)]


def _seconds(
    sides: Sides,
    side: str,
    what: str,
    *entries: dict[str, Any],
    cache: str = "cache",
    images: int | None = None,
) -> float:
    """What ``read_data_set.py`` says of one side.

    Raises:
        BenchmarkError: It failed, or found another number of images.
    """
    command = [str(HERE / "read_data_set.py"), what, *map(json.dumps, entries)]
    found = json.loads(child(command, sides.environment(side, cache))[1].splitlines()[-1])
    if images is not None and found["images"] != images:
        raise BenchmarkError(f"{side}: found {found['images']} images, there are {images}.")
    return float(found["seconds"])


def _write_small_files(folder: Path, n: int) -> int:
    """``n`` class-folder files, as many beside them, and a table of all; how many rows it has."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "png")
    lines = ["file,label,patient"]
    for place in ("films", "more"):
        for i in range(n):
            label = _CLASSES[i % 2]
            name = f"{place}/{label}/{i:06d}.png"
            if i < 2:
                (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(file.getvalue())
            lines.append(f"{name},{label},{place}-{i // 3}")
    (folder / "films.csv").write_text("\n".join(lines) + "\n")
    return len(lines) - 1


def _write_films(folder: Path, patients: int) -> int:
    """Class folders of phantoms, two a patient, in every format in turn; how many files."""
    from medbench.datasets.sources.phantoms import PhantomSource

    source = PhantomSource(
        modality="chest", patients=patients, images_per_patient=2, image_size=_SIDE
    )
    labels = source.listing().table["label"].tolist()
    writers = {".png": _picture, ".jpg": _picture, ".tif": _picture, ".dcm": _dicom}
    for i, label in enumerate(labels):
        suffix = list(writers)[i // 2 % len(writers)]
        path = folder / _CLASSES[label] / f"{i:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[suffix](path, source.draw(i))
    return len(labels)


def _picture(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def _dicom(path: Path, pixels: np.ndarray) -> None:
    """A film of 12 bits with its window."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    film, file = Dataset(), FileMetaDataset()
    file.TransferSyntaxUID = ExplicitVRLittleEndian
    file.MediaStorageSOPClassUID = film.SOPClassUID = DigitalXRayImageStorageForPresentation
    file.MediaStorageSOPInstanceUID = film.SOPInstanceUID = f"1.2.3.{int(path.stem)}"
    film.file_meta, film.Modality = file, "DX"
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.WindowCenter, film.WindowWidth = 2048, 4096
    film.PixelData = (pixels.astype("<u2") * 16).tobytes()
    film.save_as(path, enforce_file_format=True)
