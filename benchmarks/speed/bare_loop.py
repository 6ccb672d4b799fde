"""The fits of one cell without MedBench around them; see ``overhead.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import answer
from trials import fold_score

from medbench import registry
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.splits import inner_folds
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Context, Progress
from medbench.seeds import derive_seed

_INNER_FOLDS = 3


def main() -> None:
    """Fit what the cell has tried, then refit the best and predict."""
    request = json.load(sys.stdin)
    cell = Path(request["cell"])
    tried = [json.loads(line) for line in (cell / "trials.jsonl").read_text().splitlines()]
    chosen = json.loads((cell / "cell.json").read_text())
    development, held_out = _parts(request)
    task = Task(classes=("0", "1"), image_shape=development.images.shape[1:])
    # The seeds of the cell, by the names of what they depend on.
    split_seed = derive_seed("split", request["seed"], request["dataset"], "official")
    seed = derive_seed("cell", request["seed"], json.loads((cell / "key.json").read_text())["key"])
    folds = inner_folds(
        development.labels, development.groups, None, folds=_INNER_FOLDS, split_seed=split_seed
    )
    family = registry.models.get(request["model"])()
    features = FeatureCache(None, threads=request["threads"])

    def build(params: dict[str, Any], *axes: object) -> Any:
        context = Context(
            seed=derive_seed(seed, *axes), threads=request["threads"], features=features
        )
        return family.build(params, task, context)

    scores = []
    for trial in tried:
        reached = folds[: len(trial["fold_scores"])]
        scores.append(
            [
                fold_score(
                    build(trial["params"], "trial", trial["number"], "fold", number),
                    development,
                    fold,
                    len(task.classes),
                )
                for number, fold in enumerate(reached)
            ]
        )
    classifier, progress = build(chosen["params"], "refit"), Progress()
    progress.last_step = chosen["step"]
    classifier.fit(development, None, progress)
    classifier.predict_proba(held_out)
    answer({"folds": scores})


def _parts(request: dict[str, Any]) -> tuple[LabelledBatch, Batch]:
    """Development and held-out images of the archive, grouped as the run has grouped them."""
    with np.load(request["archive"], allow_pickle=False) as archive:
        arrays = dict(archive)
    train, test = arrays["train_images"][..., None], arrays["test_images"][..., None]
    table = pd.read_parquet(
        Path(request["run"]) / "datasets" / request["dataset"] / "images.parquet"
    )
    groups = table["group"].to_numpy(np.int64)[: len(train)]
    development = LabelledBatch(
        images=train, properties=_properties(train), labels=arrays["train_labels"], groups=groups
    )
    return development, Batch(images=test, properties=_properties(test))


def _properties(images: Any) -> pd.DataFrame:
    """As far as a classifier needs them: only sanity rows look."""
    side = images.shape[1]
    about = {"width": side, "height": side, "mode": "uint8", "bytes": side * side}
    return pd.DataFrame(about, index=range(len(images)))


if __name__ == "__main__":
    main()
