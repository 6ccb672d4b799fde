"""``python benchmarks/ablation/fine_tuning.py``: should a pretrained top block be trained further?

Of MobileNet the frozen classifier, of all depths and of the deepest alone, is compared with what
training the top block on from the latter gives, at the two rates that a search tries, and with the
head left as it is. Three of five grouped folds are learnt from, one is what training stops early
by, and one is held out; three of them in turn. A draw divides the images anew; of a larger set it
takes the patients of about 260 images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
from images import real
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from medbench.backbones import BACKBONES
from medbench.datasets.batch import PROPERTIES, LabelledBatch
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, Context, Progress
from medbench.models.transfer import FineTunedClassifier, transfer_family
from medbench.models.weights import Weights, find_weights

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_BACKBONE, _EPOCHS = "mobilenet", 8
_SETS, _DRAWS, _FOLDS, _HELD_OUT = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia"), 1, 5, 3
_MOST = 260
"""Images of a draw."""
_DEEPEST = {"cut": BACKBONES[_BACKBONE].cuts[-1].layer}
_TUNED = {**_DEEPEST, "fine_tune": "top block"}
_WAYS: Mapping[str, Mapping[str, Any]] = {
    "all depths": {},
    "deepest": _DEEPEST,
    "3e-5": {**_TUNED, "learning_rate": 3e-5},
    "1e-4": {**_TUNED, "learning_rate": 1e-4},
    "1e-4, head kept": {**_TUNED, "learning_rate": 1e-4, "head": "kept"},
}
_TASK = Task(classes=("negative", "positive"), image_shape=(128, 128, 1))

Scores = Mapping[str, tuple[float, float, float]]
"""By way: AUROC on the images that stop training, on those held out, and seconds of the fit."""


class _HeadKept(FineTunedClassifier):
    def _head_model(self, *parts: Any) -> Any:
        model = super()._head_model(*parts)
        model.trainable = False
        return model


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/fine_tuning.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    rows = [f"| images | | {' | '.join(_WAYS)} |", "|---" * (len(_WAYS) + 2) + "|"]
    weights = find_weights(_BACKBONE, options.weights_dir, print, download=False)
    for name, batch in _measured(options.data_dir):
        draws = [_draw(batch, weights, seed) for seed in range(_DRAWS)]
        rows += _rows(name, draws)
        print("\n".join(rows[-3:]), file=sys.stderr, flush=True)
    print("\n".join(rows))
    if options.page is not None:
        write_between_markers(options.page, "fine-tuning", "\n".join(rows))


def _rows(name: str, draws: list[list[Scores]]) -> Iterator[str]:
    """Validation and held-out AUROC, then seconds; gains over all depths, by fold and draw."""
    folds = [fold for draw in draws for fold in draw]
    base, *others = _WAYS
    for number, what in enumerate(("stopped by", "held out")):
        cells = [f"{fmean(fold[base][number] for fold in folds):.3f}"]
        for way in others:
            gains = [fold[way][number] - fold[base][number] for fold in folds]
            cells.append(f"{fmean(gains):+.3f} ± {stdev(gains) / len(gains) ** 0.5:.3f}")
        yield f"| {name} | {what} | {' | '.join(cells)} |"
    seconds = " | ".join(f"{fmean(fold[way][2] for fold in folds):.1f}" for way in _WAYS)
    yield f"| {name} | seconds of a fit | {seconds} |"


def _measured(data_dir: Path) -> Iterator[tuple[str, LabelledBatch]]:
    for name in _SETS:
        images, labels, groups = real(name, data_dir)
        yield (
            name,
            LabelledBatch(
                images=images,
                properties=pd.DataFrame(index=range(len(images)), columns=PROPERTIES),
                labels=labels,
                groups=groups,
            ),
        )


def _draw(batch: LabelledBatch, weights: Weights, seed: int) -> list[Scores]:
    order = np.random.default_rng(seed).permutation(np.unique(batch.groups))
    so_far = np.cumsum([np.sum(batch.groups == group) for group in order])
    batch = batch.take(np.flatnonzero(np.isin(batch.groups, order[so_far <= _MOST])))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    parts = [part for _, part in folds.split(batch.labels, batch.labels, batch.groups)]
    features = FeatureCache(None)
    found = []
    for number in range(_HELD_OUT):
        held_out, stop, *rest = np.roll(np.arange(_FOLDS), -number)
        train = batch.take(np.concatenate([parts[one] for one in rest]))
        others = batch.take(parts[stop]), batch.take(parts[held_out])
        context = Context(seed=seed, threads=1, features=features, weights=weights)
        _classifier({}, context).fit(train, None, Progress())
        found.append({way: _scored(_WAYS[way], context, train, *others) for way in _WAYS})
        print(seed, number, found[-1], file=sys.stderr, flush=True)
    return found


def _scored(
    params: Mapping[str, Any],
    context: Context,
    train: LabelledBatch,
    stop: LabelledBatch,
    held_out: LabelledBatch,
) -> tuple[float, float, float]:
    classifier = _classifier(params, context)
    began = time.perf_counter()
    classifier.fit(train, stop, Progress())
    seconds = time.perf_counter() - began
    first, second = (
        float(roc_auc_score(part.labels, classifier.predict_proba(part.unlabelled())[:, 1]))
        for part in (stop, held_out)
    )
    return first, second, seconds


def _classifier(params: Mapping[str, Any], context: Context) -> Classifier:
    family = transfer_family(_BACKBONE)()
    whole = {"pooling": "avg", "C": 3e-3, **params}
    if "head" in params:
        embedding = family.embedding(_TASK, context.weights)
        return _HeadKept(whole, _TASK, context, embedding, max_steps=_EPOCHS)
    return family.build(whole, _TASK, context)


if __name__ == "__main__":
    main()
