"""Reads every file of a folder as MedBench does, in a process that its test may end.

A line of JSON a file: its name, what became of it, and where that is no error of MedBench's the
traceback. The limits are lowered, so that nothing that is refused by them could do harm.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from medbench import counts, parquet
from medbench.atomic_files import read_json, read_lines, read_npy, read_parquet
from medbench.datasets.catalog import read_datasets
from medbench.datasets.csv_files import read_csv
from medbench.datasets.excel_files import read_excel
from medbench.datasets.readers import HEAD_BYTES, nifti, open_image, reader_of
from medbench.datasets.sources.npz import NpzSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import MedBenchError
from medbench.features.out_of_distribution import OutOfDistribution
from medbench.models.persistence import load_sklearn
from medbench.opening import IMAGE, open_regular

SECONDS = 60
"""A file that takes longer ends the process, which the test sees."""
MEMORY = 768 << 20
"""Bytes that may come on top of what the process has when it begins."""
PIXELS = 1 << 20


def read_image(path: Path) -> None:
    content = path.read_bytes()
    with (
        open_regular(path, IMAGE) as file,
        contextlib.suppress(MedBenchError),
    ):  # opening says it too
        reader_of(content[:HEAD_BYTES]).look(file, origin=path.name)
    opened = open_image(content, origin=path.name, pixel_limit=PIXELS)
    for index in sorted({0, opened.header.n_slices // 2, opened.header.n_slices - 1}):
        pixels = opened.pixels(index)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2 or pixels.shape[2:] == (3,)
        assert 0 < pixels.size <= 3 * PIXELS
    opened.warnings()


def read_archive(path: Path) -> None:
    listing = NpzSource(source="npz", path=str(path)).listing()
    for row in range(len(listing.table)):
        open_image(listing.read(row), origin=path.name, pixel_limit=PIXELS).pixels(0)


def read_table(path: Path) -> None:
    listing = TableSource(path=str(path), file="image").listing()
    for row in range(len(listing.table)):
        open_image(listing.read(row), origin=path.name, pixel_limit=PIXELS).pixels(0)


READERS = {
    ".npz": read_archive,
    ".npy": read_npy,
    ".csv": read_csv,
    ".xlsx": read_excel,
    ".yaml": read_datasets,
    ".parquet": read_parquet,
    ".json": read_json,
    ".jsonl": read_lines,
    ".skops": load_sklearn,
}


def reader(path: Path):
    if path.name.endswith("out-of-distribution.npz"):
        return OutOfDistribution.load
    if path.name.endswith("images.parquet"):
        return read_table
    return READERS.get(path.suffix, read_image)


def lower_limits() -> None:
    counts.MOST_IMAGES = 1000
    counts.MOST_CLASSES = 100
    counts.MOST_SLICES = 10_000
    nifti.BYTE_LIMIT = 16 << 20
    parquet._MOST_ROWS = 100_000
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(folder: Path) -> None:
    import PIL.Image
    import pyarrow.parquet
    import pydicom
    import skops.io  # noqa: F401  all of them, before memory is bounded
    import tifffile  # noqa: F401

    assert PIL.Image and pyarrow.parquet and pydicom
    with contextlib.suppress(ImportError):
        import openpyxl  # noqa: F401  an extra
    lower_limits()
    for path in sorted(folder.iterdir()):
        print(json.dumps({"begins": path.name}), flush=True)
        signal.alarm(SECONDS)
        said = {"name": path.name, "became": "read", "trace": ""}
        try:
            reader(path)(path)
        except MedBenchError as error:
            said["became"] = "refused" if path.name in str(error) else f"nameless: {error}"
        except BaseException:
            said |= {"became": "crash", "trace": traceback.format_exc()}
        signal.alarm(0)
        print(json.dumps(said), flush=True)


main(Path(sys.argv[1]))
