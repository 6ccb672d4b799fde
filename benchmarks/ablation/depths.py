"""``python benchmarks/ablation/depths.py``: should the depth of a pretrained backbone be searched?

On frozen MobileNet a search over depth, pooling and penalty is compared with one over pooling and
penalty that always sees all depths side by side. Each draw takes some groups of images for the
search (default configuration and 19 random ones, mean AUROC of three grouped inner folds), fits
the chosen one on them and scores it on the other images. The search is repeated 20 times with other
random configurations, and a draw counts once, with the mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from medbench.backbones import BACKBONES
from medbench.datasets.catalog import load_catalog
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.execution.plan import Settings, Setup, plan_datasets
from medbench.features.embeddings import Embedding
from medbench.models.linear_head import Standardised, fit_head
from medbench.models.weights import find_weights
from medbench.tuning.budget import Budget

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_BACKBONE, _SIDE = "mobilenet", 128
_CUTS = tuple(cut.layer for cut in BACKBONES[_BACKBONE].cuts)
_POOLINGS = {"avg": ("avg",), "max": ("max",), "both": ("avg", "max")}
_PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_ALL = "all"
_DEFAULT = (_ALL, "avg", 3e-3)
_TRIALS, _SEARCHES, _INNER_FOLDS = 20, 20, 3
_SETS = {"nih-pneumonia": (8, 210), "brain-mri": (5, 150)}
"""Draws, and images that the search has of each."""
_PHANTOMS, _DRAWS, _SEARCHED = 3, 3, 210
"""Drawn sets of each modality, draws of each, images that the search has."""

Configuration = tuple[str, str, float]
Floats = NDArray[np.floating]


def main() -> None:
    """Measure, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/depths.py")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--weights-dir", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    rows = ["| images | draws | depth searched | all depths | all depths, avg | default |"]
    rows.append("|---" * 6 + "|")
    for name, draws in _measured(options):
        base = [draw["depth searched"] for draw in draws]
        cells = [f"{fmean(base):.3f}"]
        for way in ("all depths", "all depths, avg", "default"):
            more = [draw[way] - before for draw, before in zip(draws, base, strict=True)]
            cells.append(f"{fmean(more):+.4f} ± {stdev(more) / len(more) ** 0.5:.4f}")
        rows.append(f"| {name} | {len(draws)} | {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    text = "\n".join(rows)
    print(text)
    if options.page is not None:
        write_between_markers(options.page, "depths", text)


def _measured(options: argparse.Namespace) -> Iterator[tuple[str, list[Mapping[str, float]]]]:
    """By data set, what each way of choosing scores in each draw."""
    embedding = _embedding(options.weights_dir)
    for modality in ("chest", "mr"):
        draws = []
        for seed in range(_PHANTOMS):
            source = PhantomSource(
                image_size=_SIDE, modality=modality, patients=300, images_per_patient=2,
                difficulty=0.6, seed=seed,
            )  # fmt: skip
            table = source.listing().table
            images = np.stack([source.draw(row) for row in range(len(table))])[..., None]
            draws += _draws(embedding(images), table, _DRAWS, _SEARCHED)
        yield f"phantoms, {modality} (drawn)", draws
    catalog = load_catalog(data_dir=options.data_dir)
    settings = Settings(budget=Budget(trials=1, seconds=None))
    for name, (n_draws, searched) in _SETS.items():
        with tempfile.TemporaryDirectory() as cache:
            (planned,) = plan_datasets(
                [name], catalog, settings, Setup(cache=Path(cache), threads=1)
            )
            features = embedding(np.asarray(planned.data.images))
        yield name, _draws(features, planned.data.table, n_draws, searched)


def _embedding(weights_dir: Path) -> Embedding:
    weights = find_weights(_BACKBONE, weights_dir, print, download=False)
    return Embedding(
        backbone=_BACKBONE,
        image_shape=(_SIDE, _SIDE, 1),
        weights_path=weights.path,
        weights_sha256=weights.sha256,
    )


def _draws(
    features: Floats, table: pd.DataFrame, n_draws: int, searched: int
) -> list[Mapping[str, float]]:
    """Draw groups until the search has so many images, and score each way on the others."""
    labels = table["label"].to_numpy(np.int64)
    groups = table["group"].astype("category").cat.codes.to_numpy()
    return [_draw(features, labels, groups, searched, seed) for seed in range(n_draws)]


def _draw(
    features: Floats, labels: NDArray[np.int64], groups: NDArray[np.int8], n: int, seed: int
) -> Mapping[str, float]:
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    so_far = np.cumsum([np.sum(groups == group) for group in order])
    inside = np.isin(groups, order[: np.searchsorted(so_far, n) + 1])
    x, y, g = features[inside], labels[inside], groups[inside]
    grid = list(product((_ALL, *_CUTS), _POOLINGS, _PENALTIES))
    inner: dict[Configuration, list[float]] = {one: [] for one in grid}
    splitter = StratifiedGroupKFold(_INNER_FOLDS, shuffle=True, random_state=seed)
    for train, validation in splitter.split(x, y, g):
        scores = _scores((x[train], y[train]), (x[validation], y[validation]), grid)
        for one, score in scores.items():
            inner[one].append(score)
    outer = _scores((x, y), (features[~inside], labels[~inside]), grid)
    all_depths = [one for one in grid if one[0] == _ALL and one[1] != "max"]
    spaces = {
        "depth searched": grid,
        "all depths": all_depths,
        "all depths, avg": [one for one in all_depths if one[1] == "avg"],
        "default": [_DEFAULT],
    }
    return {way: _searched(space, inner, outer) for way, space in spaces.items()}


def _searched(
    space: Sequence[Configuration],
    inner: Mapping[Configuration, Sequence[float]],
    outer: Mapping[Configuration, float],
) -> float:
    """Mean outer score of what searches of a space choose."""
    found = []
    for seed in range(_SEARCHES):
        order = np.random.default_rng(seed).permutation(len(space))[: _TRIALS - 1]
        tried = [_DEFAULT, *(space[index] for index in order)]
        found.append(outer[max(tried, key=lambda one: fmean(inner[one]))])
    return fmean(found)


def _scores(
    train: tuple[Floats, NDArray[np.int64]],
    other: tuple[Floats, NDArray[np.int64]],
    grid: Sequence[Configuration],
) -> dict[Configuration, float]:
    """AUROC on other images of each configuration."""
    found: dict[Configuration, float] = {}
    for cut, pooling in dict.fromkeys((cut, pooling) for cut, pooling, _ in grid):
        columns = _columns(cut, pooling)
        standard = Standardised(train[0][:, columns])
        for penalty in _PENALTIES:
            head = fit_head(standard, train[1], 2, penalty)
            found[cut, pooling, penalty] = float(
                roc_auc_score(other[1], head.predict(other[0][:, columns])[:, 1])
            )
    return found


def _columns(cut: str, pooling: str) -> NDArray[np.int64]:
    """Columns of an embedding: of each cut its averages, then its maxima."""
    begin, columns = 0, []
    for known in BACKBONES[_BACKBONE].cuts:
        for name in ("avg", "max"):
            if cut in (_ALL, known.layer) and name in _POOLINGS[pooling]:
                columns.append(np.arange(begin, begin + known.channels))
            begin += known.channels
    return np.concatenate(columns)


if __name__ == "__main__":
    main()
