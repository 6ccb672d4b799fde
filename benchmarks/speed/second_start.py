"""A second start on an unchanged set with one image that cannot be read, against an earlier commit.

``unreadable``: wall seconds of the whole command ``run --skip-unreadable --dry-run`` on a folder
of films that the same side has read once before: imports, listing, and whatever of the set is
decoded again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from earlier import Sides, record
from harness import Record, Settings, in_turns
from PIL import Image

_CLASSES = ("normal", "pneumonia")
_SIDE = 1024
"""Pixels of the drawn films, as of published chest films."""
_COARSE = 12
"""Pixels of the shadows of which a film is made."""


def unreadable(settings: Settings) -> list[Record]:
    """Wall seconds of the second start."""
    sides = Sides(settings, "unreadable")
    n = write_films(sides.folder / "films", 24 if settings.quick else 2000)
    plan = ("run", "--data", sides.folder / "films", "--models", "majority", "--no-sanity")

    def seconds(side: str) -> float:
        return sides.seconds(side, *plan, "--skip-unreadable", "--dry-run")

    first = {side: seconds(side) for side in ("ours", "other")}
    costs = in_turns(lambda: seconds("ours"), lambda: seconds("other"), settings.repeats)
    what = f"a second start on {n:,} films and one that cannot be read"
    details = {"pixels": _SIDE, "first start, s": first}
    return [record("unreadable", what, "s", 0.2, costs, **details)]


def write_films(folder: Path, n: int) -> int:
    """Class folders of drawn films and a file that is no image; how many films."""
    generator = np.random.default_rng(0)
    for label in _CLASSES:
        (folder / label).mkdir(parents=True)
    for i in range(n):
        coarse = generator.integers(30, 200, (_COARSE, _COARSE), dtype=np.uint8)
        film = np.array(Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
        film += generator.integers(0, 8, film.shape, dtype=np.uint8)
        Image.fromarray(film).save(folder / _CLASSES[i % 2] / f"{i:05d}.png", compress_level=1)
    (folder / _CLASSES[0] / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    return n
