"""Finding near-identical images: twice as many images must not take four times as long.

Noise of 28 px with a smooth content, so that perceptual hashes are as skewed as those of films; a
hundredth of the images are copies with other brightness. Hashing, search and comparison of pixels
are timed, in the process that a run uses for it, on all cores.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from harness import REPEATS, Record, Settings, answer, ask

_SIDE = 28
_LIMIT_SECONDS = 180.0
"""What 100,000 images may take on two cores."""


def measure(settings: Settings) -> list[Record]:
    """Wall seconds."""
    n = 2_000 if settings.quick else 100_000
    request = {"n": n, "threads": settings.cores}
    found = ask("near_duplicates.py", request, threads=settings.cores)[1]
    return [
        Record(
            name="near-duplicates",
            ours_is=f"{n:,} images of {_SIDE} px",
            other_is="half as many",
            unit="s",
            wanted=3.0,
            sense="at most",
            ours=tuple(found["all"]),
            other=tuple(found["half"]),
            details={
                f"within {_LIMIT_SECONDS:g} s": max(found["all"]) <= _LIMIT_SECONDS,
                "seconds of which images are hashed": found["hashing"],
                "copies made": found["copies"],
                "pairs found": found["pairs"],
            },
        )
    ]


def _draw(n: int) -> tuple[Any, int]:
    """uint8 images of shape (n, 28, 28, 1), and how many of them are copies."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (n, 5, 5), dtype=np.uint8)
    images = np.stack(
        [
            np.asarray(Image.fromarray(c).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
            for c in coarse
        ]
    ).astype(np.float32)
    images = images * 0.3 + 90 + rng.normal(0, 6, images.shape)
    copies = n // 100
    images[-copies:] = images[:copies] * 0.9 + 4
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], copies


def main() -> None:
    """Hash and search, all and half."""
    import numpy as np
    from PIL import Image

    from medbench.datasets.duplicates import near_pairs, perceptual_hash

    request = json.load(sys.stdin)
    images, copies = _draw(request["n"])
    found: dict[str, Any] = {"all": [], "half": [], "hashing": [], "copies": copies}
    for side, step in (("all", 1), ("half", 2)) * REPEATS:
        some = images[::step]
        began = time.perf_counter()
        hashes = np.array([perceptual_hash(Image.fromarray(i[..., 0])) for i in some])
        hashing = time.perf_counter() - began
        pairs = near_pairs(hashes, [str(i) for i in range(len(some))], some, request["threads"])
        found[side].append(time.perf_counter() - began)
        if side == "all":
            found.update(hashing=hashing, pairs=len(pairs))
    answer(found)


if __name__ == "__main__":
    main()
