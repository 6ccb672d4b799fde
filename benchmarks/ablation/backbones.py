"""``python benchmarks/ablation/backbones.py``: what the weights that come by pip are worth.

Where Keras' own files cannot be had, a transfer family had random weights (Inception v3 by
default). The frozen embeddings of that one, of EfficientNet-Lite0 and of MobileNet are compared
under the default configuration, on grouped inner folds that are drawn several times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from medbench.backbones import BACKBONES
from medbench.datasets.catalog import load_catalog
from medbench.execution.plan import Settings, Setup, plan_datasets
from medbench.features.embeddings import Embedding
from medbench.models.linear_head import Standardised, fit_head
from medbench.models.transfer import DEFAULT_PENALTY
from medbench.models.weights import Weights, find_weights
from medbench.tuning.budget import Budget

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_BEFORE, _AFTER, _BESIDE = "inceptionv3", "efficientnet-lite0", "mobilenet"
_SETS = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia")
_DRAWS, _FOLDS = 5, 3


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/backbones.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    nothing = Weights(path=None, sha256=None, note="no pretrained weights")
    after, beside = (
        find_weights(name, options.weights_dir, print, download=False) for name in (_AFTER, _BESIDE)
    )
    rows = [f"| images | {_BEFORE}, random weights | {_AFTER} | {_BESIDE} |", "|---|---|---|---|"]
    for name in _SETS:
        images, table = _prepared(name, options.data_dir)
        base = _scores(_embedded(images, _BEFORE, nothing), table)
        cells = [f"{fmean(base):.3f}"]
        for backbone, weights in ((_AFTER, after), (_BESIDE, beside)):
            scores = _scores(_embedded(images, backbone, weights), table)
            more = [score - before for score, before in zip(scores, base, strict=True)]
            cells.append(f"{fmean(more):+.3f} ± {stdev(more) / len(more) ** 0.5:.3f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    text = "\n".join(rows)
    print(text)
    if options.page is not None:
        write_between_markers(options.page, "backbones", text)


def _prepared(name: str, data_dir: Path) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    settings = Settings(budget=Budget(trials=1, seconds=None))
    with tempfile.TemporaryDirectory() as cache:
        setup = Setup(cache=Path(cache), threads=1)
        (planned,) = plan_datasets([name], load_catalog(data_dir=data_dir), settings, setup)
        return np.asarray(planned.data.images), planned.data.table


def _embedded(images: NDArray[np.uint8], backbone: str, weights: Weights) -> NDArray[np.float32]:
    """The averages of all depths, as the default configuration has them."""
    embedding = Embedding(
        backbone=backbone,
        image_shape=images.shape[1:],
        weights_path=weights.path,
        weights_sha256=weights.sha256,
    )
    rows = embedding(images)
    cuts = (cut.layer for cut in BACKBONES[backbone].cuts)
    return np.concatenate([rows[:, embedding.columns(cut, "avg")] for cut in cuts], axis=1)


def _scores(features: NDArray[np.float32], table: pd.DataFrame) -> list[float]:
    """Mean AUROC of the folds of each draw."""
    labels, groups = table["label"].to_numpy(np.int64), table["group"].to_numpy()
    means = []
    for seed in range(_DRAWS):
        splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        scores = []
        for train, validation in splitter.split(features, labels, groups):
            head = fit_head(Standardised(features[train]), labels[train], 2, DEFAULT_PENALTY)
            said = head.predict(features[validation])[:, 1]
            scores.append(float(roc_auc_score(labels[validation], said)))
        means.append(fmean(scores))
    return means


if __name__ == "__main__":
    main()
