"""Two threads against one: decoding films of real size, and extracting every family's features.

Decoding is the preparation of a data set from its files to the table, without the cache; features
are those of hog-svm and xgboost on the films as they come prepared. Both run in one process with
one BLAS thread on either side, so that only the threads that MedBench starts make a difference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import REPEATS, Record, Settings, answer, ask

_FILMS = "covid-cxr"
_SIDE = 512
"""Pixels of the drawn films; the longer side of those in the real set."""
_PREPARED_SIDE = 128


def measure(settings: Settings) -> list[Record]:
    """Wall seconds."""
    folder = settings.folder("two-cores")
    films = settings.data_dir / _FILMS if settings.data_dir else None
    if settings.quick or films is None or not films.is_dir():
        films = folder / "films"
        _draw(films, 6 if settings.quick else 100, 96 if settings.quick else _SIDE)
    request = {"films": str(films), "scratch": str(folder)}
    found = ask("two_cores.py", request, threads=1)[1]
    about = {"images": found["images"], "films": "real" if films.name == _FILMS else "drawn"}
    shared: dict[str, Any] = {
        "ours_is": "two threads",
        "other_is": "one thread",
        "unit": "s",
        "wanted": 1.6,
        "sense": "at least",
    }
    features = found["features"]
    return [
        Record(name="decoding", details=about, **found["decoding"], **shared),
        Record(
            name="features",
            ours=_sums(side["ours"] for side in features.values()),
            other=_sums(side["other"] for side in features.values()),
            details={
                **about,
                "ratio by feature": {
                    name: sum(side["other"]) / sum(side["ours"]) for name, side in features.items()
                },
            },
            **shared,
        ),
    ]


def _sums(sides: Any) -> tuple[float, ...]:
    """Sum over features, repeat by repeat."""
    return tuple(sum(repeat) for repeat in zip(*sides, strict=True))


def _draw(folder: Path, patients: int, side: int) -> None:
    """Class folders of grey JPEG files with the content of a chest film."""
    from PIL import Image

    from medbench.datasets.sources.phantoms import PhantomSource

    source = PhantomSource(
        modality="chest", patients=patients, images_per_patient=2, image_size=side
    )
    listing = source.listing()
    for i, label in enumerate(listing.table["label"]):
        place = folder / listing.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.draw(i)).save(place / f"{i:04d}.jpg", quality=92)


def main() -> None:
    """Both sides in turns, decoding first."""
    import numpy as np

    from medbench.datasets.batch import PROPERTIES, Batch
    from medbench.datasets.prepared import prepare
    from medbench.datasets.sources.folder import FolderSource
    from medbench.features.feature_cache import FeatureCache
    from medbench.features.hog import Hog
    from medbench.models.xgboost import _ALWAYS, _OPTIONAL

    request = json.load(sys.stdin)
    source = FolderSource(path=request["films"], image_size=_PREPARED_SIDE)
    scratch = Path(request["scratch"])
    made = iter(range(10**6))

    def decoded(threads: int) -> Any:
        return prepare("films", source, cache=scratch / f"cache-{next(made)}", threads=threads)

    data = decoded(1)  # and the films are in the system's memory
    found: dict[str, Any] = {"images": len(data.table), "features": {}}
    found["decoding"] = _in_turns(decoded)
    batch = Batch(images=np.array(data.images), properties=data.table[list(PROPERTIES)])
    batch.keys  # noqa: B018  hashed before the clock starts
    for extractor in (Hog(), _ALWAYS, *_OPTIONAL.values()):

        def extracted(threads: int, extractor: Any = extractor) -> None:
            FeatureCache(None, threads=threads).get(extractor, batch)

        extracted(1)
        found["features"][extractor.key] = _in_turns(extracted)
    answer(found)


def _in_turns(work: Callable[[int], Any]) -> dict[str, list[float]]:
    """Seconds of ``work`` with two threads (ours) and with one (other)."""
    import time

    found: dict[str, list[float]] = {"ours": [], "other": []}
    for _ in range(REPEATS):
        for side, threads in (("ours", 2), ("other", 1)):
            began = time.perf_counter()
            work(threads)
            found[side].append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    main()
