"""Files in a run folder that no run writes: killed processes and earlier versions left some.

Earlier versions wrote images of patients into the folder (``.scratch``) while cells were at work.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from medbench.atomic_files import writing
from medbench.store.chunks import ChunkStore
from medbench.store.layout import RunLayout

_UNFINISHED = ".*.????????????????.tmp"
"""What ``medbench.atomic_files`` calls what it has not finished."""
_KNOWN = tuple(
    tuple(pattern.split("/"))
    for pattern in (
        "run.json",
        "environment.json",
        "datasets/*/dataset.json",
        "datasets/*/images.parquet",
        "datasets/*/audit.json",
        "datasets/*/out-of-distribution.npz",
        "datasets/*/pictures/*.webp",
        "datasets/*/pictures/pictures.json",
        "external/*/*/*/external.json",
        "external/*/*/*/predictions.parquet",
        "cells/*/*/*/*.json",
        "cells/*/*/*/trials.jsonl",
        "cells/*/*/*/oof/*.npy",
        "cells/*/*/*/checkpoints/**",
        "cells/*/*/*/model/**",
        "cells/*/*/*/predictions.parquet",
        "cells/*/*/*/cell.log",
        "chunks/*/*",
        "assessment.json",
        "leaderboard.*",
        "*.csv",
        "report.html",
        "cards/*.md",
        "figures/*.png",
        "figures/*/*.png",
    )
)
"""All files that a run may hold, but for those whose names begin with a dot."""


def strangers(layout: RunLayout) -> Iterator[Path]:
    """Files that no run of this version writes, and what a killed process has not finished."""
    for top, below, names in os.walk(layout.folder):
        folder = Path(top)
        for name in [name for name in below if fnmatchcase(name, _UNFINISHED)]:
            below.remove(name)
            yield folder / name
        for name in names:
            parts = (*folder.relative_to(layout.folder).parts, name)
            left = fnmatchcase(name, _UNFINISHED)
            if left or not (name[0] == "." or any(_is_like(parts, one) for one in _KNOWN)):
                yield folder / name


def remove_leftovers(layout: RunLayout) -> None:
    """Remove what killed processes have not finished, and chunks of models that are gone.

    Args:
        layout: Of a run that the caller holds.

    Raises:
        StoreError: They cannot be removed.
    """
    for path in list(layout.folder.rglob(_UNFINISHED)):
        with writing(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    ChunkStore(layout.chunks).remove_unused(layout.models())


def _is_like(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the parts of a path are those of a pattern, whose last may be "**" for any more."""
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        parts = parts[: len(pattern)] if len(parts) > len(pattern) else ()
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
