"""InceptionV3 heads over cached embeddings against embedding the images again for every trial.

Both sides run in one process, so that neither pays for the import of Keras or for building the
network, in turns, with the engine that MedBench takes by default. Every repeat of ours begins
with an empty cache on disk, so the images are embedded once within it. The other side embeds them
once a trial, not once a fold: the least that goes without a cache from trial to trial.
"""

from __future__ import annotations

import json
import sys
from itertools import islice, product
from pathlib import Path
from typing import Any

from harness import REPEATS, BenchmarkError, Record, Settings, answer, ask, write_phantoms

_BACKBONE = "inceptionv3"
_PENALTIES = (1e-3, 1e-1)


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of the search alone."""
    folder = settings.folder("head-search")
    patients, size, trials = (6, 32, 2) if settings.quick else (20, 224, 20)
    request = {
        "development": str(folder / "development"),
        "classes": write_phantoms(folder / "development", patients, size),
        "trials": trials,
        "threads": settings.cores,
        "scratch": str(folder),
        "weights_dir": str(settings.weights_dir) if settings.weights_dir else None,
    }
    found = ask("head_search.py", request, threads=settings.cores)[1]
    if found["ours_scores"] != found["other_scores"]:
        raise BenchmarkError("head-search: the two sides give different AUROC.")
    return [
        Record(
            name="head-search",
            ours_is=f"{trials} InceptionV3 heads, embeddings cached",
            other_is="embedding again every trial",
            unit="s",
            ours=tuple(found["ours"]),
            other=tuple(found["other"]),
            wanted=10.0,
            sense="at least",
            details={
                "images": 3 * patients,
                "pixels": size,
                "engine": found["engine"],
                "equal AUROC": True,
                "seconds of which the cached side embeds": found["embedding"],
            },
        )
    ]


def main() -> None:
    """Both sides in turns."""
    import time

    from trials import trial_score, weights_from

    from medbench.datasets.splits import group_folds
    from medbench.datasets.task import Task
    from medbench.execution.parts import read_development
    from medbench.features.embeddings import Embedding
    from medbench.features.feature_cache import FeatureCache
    from medbench.models.transfer import transfer_family

    request = json.load(sys.stdin)
    development, _ = read_development(Path(request["development"]))
    task = Task(classes=tuple(request["classes"]), image_shape=development.image_shape)
    folds = group_folds(development.labels, development.groups, folds=3, seed=0)
    weights_dir = Path(request["weights_dir"]) if request["weights_dir"] else None
    weights = weights_from(weights_dir, _BACKBONE)
    embedding = Embedding(
        backbone=_BACKBONE,
        image_shape=task.image_shape,
        weights_path=weights.path,
        weights_sha256=weights.sha256,
    )
    configurations = list(islice(_configurations(embedding), request["trials"]))
    assert len(configurations) == request["trials"]

    def scores(params: dict[str, Any], features: FeatureCache) -> list[float]:
        family, threads = transfer_family(_BACKBONE)(), request["threads"]
        return trial_score(family, params, task, development, folds, features, weights, threads)

    found: dict[str, Any] = {"ours": [], "other": [], "embedding": [], "engine": embedding.engine}
    scores(configurations[0], FeatureCache(None))  # builds the network, imports scikit-learn
    for repeat in range(REPEATS):
        began = time.perf_counter()
        cached = FeatureCache(Path(request["scratch"]) / f"features-{repeat}")
        found["ours_scores"] = [scores(params, cached) for params in configurations]
        found["ours"].append(time.perf_counter() - began)
        found["embedding"].append(cached.spent_seconds)
        began = time.perf_counter()
        found["other_scores"] = [scores(params, FeatureCache(None)) for params in configurations]
        found["other"].append(time.perf_counter() - began)
    answer(found)


def _configurations(embedding: Any) -> Any:
    """Cuts, poolings and penalties of the family's space, from the cheap to the costly mixed."""
    from medbench.backbones import BACKBONES
    from medbench.features.embeddings import POOLINGS

    cuts = [cut.layer for cut in BACKBONES[embedding.backbone].cuts]
    for penalty, pooling, cut in product(_PENALTIES, (*POOLINGS, "both"), cuts):
        yield {"cut": cut, "pooling": pooling, "C": penalty}


if __name__ == "__main__":
    main()
