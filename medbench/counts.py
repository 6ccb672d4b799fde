"""How many of anything there may be: no option, field or file is believed that asks for more."""

from __future__ import annotations

from medbench.errors import DatasetError

MOST_IMAGES = 10_000_000
"""Of a data set; the largest public sets of medical pictures have below a million."""
MOST_FILES = 10_000_000
"""Of an archive that is unpacked."""
MOST_CLASSES = 1_000
"""Of a data set, or labels of a multi-label one; ImageNet has a thousand."""
MOST_COLUMNS = 20_000
"""Of a table."""
MOST_CELLS = 50_000_000
"""Of a table: rows times columns."""
MOST_SLICES = 1_000_000
"""Of a file: frames, pages or planes."""

MOST_FOLDS = 1_000
"""Of a data set, outer or inner."""
MOST_SEEDS = 1_000
"""How often folds are drawn."""
MOST_SPLITS = 10_000
"""Folds times seeds."""
MOST_TRIALS = 1_000_000
"""Of a cell."""
MOST_CORES = 4_096
"""Of cells at a time, and of threads of each."""
LARGEST_SEED = 2**31 - 1
"""Others are counted on from it, and scikit-learn takes up to 2**32 - 1."""
LONGEST_SECONDS = 366 * 24 * 3600
"""Of a budget: a year."""


def check_images(n_images: int, named_in: str) -> None:
    """Refuse too many images.

    Raises:
        DatasetError: They are above the limit.
    """
    _refuse_above(MOST_IMAGES, n_images, "images", named_in, "Divide the data set.")


def check_files(n_files: int, named_in: str) -> None:
    """Refuse an archive of too many files; errors as ``check_images``."""
    remedy = "Divide it, or unpack it yourself and name the folder."
    _refuse_above(MOST_FILES, n_files, "files", named_in, remedy)


def check_n_classes(n_classes: int, named_in: str) -> None:
    """Refuse too many classes; errors as ``check_images``."""
    remedy = (
        "Give labels that several images have; is what was read another number, as of a patient?"
    )
    _refuse_above(MOST_CLASSES, n_classes, "classes", named_in, remedy)


def check_slices(n_slices: int, origin: str) -> None:
    """Refuse a file that announces too many slices; errors as ``check_images``."""
    remedy = "Copy the file again from its source, as it may be damaged, or divide it."
    _refuse_above(MOST_SLICES, n_slices, "frames", origin, remedy)


def _refuse_above(most: int, n: int, what: str, where: str, remedy: str) -> None:
    if n > most:
        raise DatasetError(f"{where}: {n:,} {what} are above the limit of {most:,}. {remedy}")
