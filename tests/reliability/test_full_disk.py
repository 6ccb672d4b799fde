"""A run folder, cache or temporary folder that fills, and the same command when there is room."""

from __future__ import annotations

import random

import pytest
from disturbed_runs import FOLDERS, endured, full_after, space_below

WORDS = {"out": "run folder", "cache": "cache", "temporary": "temporary folder"}
ALL = 10


def moments(*in_ci: tuple[str, int]) -> list:
    """Which folder is full, and a seed."""
    slow = pytest.mark.slow
    return [
        pytest.param(which, n, marks=[] if (which, n) in in_ci else [slow])
        for n in range(ALL)
        for which in FOLDERS
    ]


# hardly anything is made in the temporary folder
@pytest.mark.parametrize(("which", "number"), moments(("out", 0), ("cache", 0)))
def test_a_folder_in_which_nothing_can_be_made_any_more(
    suite, folders, paid, tmp_path, which, number
):
    """For every Python process from some file on; it needs no right to mount anything."""
    after = random.Random(number).randrange(0, 60 if which == "out" else 25)
    variables = full_after(folders.told[which], after, tmp_path)
    toll = endured(suite, folders, f"full {WORDS[which]}, by layer", environment=variables)
    paid(toll, moments=int((tmp_path / "met").exists()))


@pytest.mark.parametrize(("which", "number"), moments())
def test_a_disk_that_is_full(suite, folders, paid, which, number):
    """Native code meets it too."""
    whole = space_below(getattr(suite.folders, which))
    size = int(random.Random(number).uniform(0.02, 0.98) * whole) // 4096 * 4096 + 8192
    try:
        disk = folders.put_on_a_small_disk(which, size)
    except OSError as error:
        pytest.skip(str(error))
    try:
        kind = f"full {WORDS[which]}, by mount"
        gone = lambda: disk.grow(8 * whole + (64 << 20))  # noqa: E731
        toll = endured(suite, folders, kind, prefix=disk.entering, gone=gone)
        paid(toll, moments=int(whole > size))
    finally:
        disk.close()
