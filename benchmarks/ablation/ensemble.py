"""``python benchmarks/ablation/ensemble.py RUN...``: how should models be made into one?

Of finished runs that still have their inner predictions, each split's families are put together in
several ways. What chooses weights sees inner predictions alone: those of all inner folds for the
held-out AUROC, and for the inner AUROC of each fold those of the others. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from medbench.datasets.splits import inner_folds
from medbench.datasets.task import labels_in
from medbench.evaluation.calibration import Calibration
from medbench.evaluation.ensemble import DRAWS, FIRST, select, weighted_mean
from medbench.evaluation.metrics import auroc
from medbench.registry import ENSEMBLE
from medbench.seeds import derive_seed
from medbench.store import CellResult, RunResult, RunStore

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

_LOWEST, _PENALTY = 1e-5, 1e-2
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Weigh = Callable[[Ints, Floats, Sequence[Ints]], Floats]
"""Weights from labels, probabilities (n_members, n_images, n_classes) and scored folds."""
Mean = Callable[[Floats, Floats], Floats]
"""Probabilities of all members as one, by weights."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """What a run has of one split."""

    labels: Ints
    folds: Sequence[Ints]
    """What inner scores are of."""
    parts: Sequence[Ints]
    """What weights are chosen on: the same, or parts of the only one."""
    inner: Floats
    held_out_labels: Ints
    held_out: Floats


def main() -> None:
    """Compare, print, and write the table where a page is named."""
    parser = argparse.ArgumentParser(prog="python benchmarks/ablation/ensemble.py")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="of these families alone")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write between its markers")
    options = parser.parse_args()
    rows = [f"| images | {' | '.join(_WAYS)} |", "|---" * (1 + len(_WAYS)) + "|"]
    for folder in options.runs:
        run = RunStore(folder).read()
        for name in run.datasets:
            splits = list(_splits(run, name, options.models))
            if splits:
                scores = [_scored(splits, *way) for way in _WAYS.values()]
                cells = [f"{inner:.3f} / {outer:.3f}" for inner, outer in scores]
                rows.append(f"| {name} | {' | '.join(cells)} |")
                print(rows[-1], file=sys.stderr, flush=True)
    text = "\n".join(rows)
    print(text)
    if options.page is not None:
        write_between_markers(options.page, "ensemble", text)


def _scored(splits: Sequence[Split], weigh: Weigh, mean: Mean) -> tuple[float, float]:
    """Mean AUROC of the inner folds and of the held-out parts."""
    inner, outer = [], []
    for one in splits:
        n_classes, nested = one.inner.shape[2], np.full(one.inner.shape[1:], np.nan)
        for number, part in enumerate(one.parts):
            others = [each for i, each in enumerate(one.parts) if i != number]
            weights = weigh(one.labels, one.inner, others)
            nested[part] = mean(one.inner[:, part], weights)
        inner.append(fmean(auroc(one.labels[f], nested[f], n_classes) for f in one.folds))
        said = mean(one.held_out, weigh(one.labels, one.inner, one.parts))
        outer.append(auroc(one.held_out_labels, said, n_classes))
    return fmean(inner), fmean(outer)


def _splits(run: RunResult, name: str, models: Sequence[str] | None) -> Iterator[Split]:
    """The splits of a data set of which two families or more have all that is needed."""
    store, settings = RunStore(run.folder), run.configuration
    images = store.dataset_images(name)
    cells: dict[str, list[CellResult]] = {}
    for cell in run.cells_of(name):
        left_out = cell.id.model == ENSEMBLE or (models and cell.id.model not in models)
        if not (left_out or cell.record.get("sanity") or cell.record.get("cut")):
            cells.setdefault(cell.id.split, []).append(cell)
    for split, members in cells.items():
        if len(members) < 2:
            continue
        part = images[split].to_numpy(str)
        rows = np.flatnonzero(np.isin(part, ("development", "validation")))
        labels, groups = labels_in(images.iloc[rows]), images["group"].to_numpy(np.int64)[rows]
        inner = np.stack([_inner(store, cell) for cell in members])
        known = np.flatnonzero(np.isfinite(inner).all(axis=(0, 2)))
        pairs = inner_folds(
            labels[known],
            groups[known],
            None,
            folds=settings["inner_folds"],
            split_seed=derive_seed("split", settings["seed"], name, split),
        )
        parts = [known[validation] for _, validation in pairs]
        yield Split(
            labels=labels,
            folds=[known] if (part == "validation").any() else parts,
            parts=parts,
            inner=inner,
            held_out_labels=labels_in(members[0].predictions),
            held_out=np.stack([_held_out(cell) for cell in members]),
        )


def _inner(store: RunStore, cell: CellResult) -> Floats:
    """Calibrated inner predictions of the chosen trial."""
    (chosen,) = [trial for trial in cell.trials if trial["number"] == cell.record["trial"]]
    return _calibrated(cell, store.cell(cell.id).oof(chosen))


def _held_out(cell: CellResult) -> Floats:
    assert cell.predictions is not None
    columns = [name for name in cell.predictions if str(name).startswith("p")]
    return _calibrated(cell, cell.predictions[columns].to_numpy(np.float64))


def _calibrated(cell: CellResult, probabilities: Floats) -> Floats:
    calibration = Calibration.from_record(cell.record.get("calibration"))
    return calibration.apply(probabilities, multi_label=False)


# --- ways to weigh ---------------------------------------------------------------------------


def _single(labels: Ints, members: Floats, folds: Sequence[Ints]) -> Floats:
    scores = [_mean_auroc(labels, member, folds) for member in members]
    return np.eye(len(members))[int(np.argmax(scores))]


def _equal(labels: Ints, members: Floats, folds: Sequence[Ints]) -> Floats:
    return np.full(len(members), 1 / len(members))


def _kept(labels: Ints, members: Floats, folds: Sequence[Ints]) -> Floats:
    return select(labels, members, folds).weights


def _greedy(
    mean: Mean, loss: Callable[[Ints, Floats, Sequence[Ints]], float], first: int = FIRST
) -> Weigh:
    """As many draws as MedBench makes, by another mean or loss, or from another beginning."""

    def weigh(labels: Ints, members: Floats, folds: Sequence[Ints]) -> Floats:
        votes, each = np.full(len(members), float(first)), np.eye(len(members))
        for _ in range(DRAWS):
            after = (votes + each) / (votes.sum() + 1)
            losses = [loss(labels, mean(members, weights), folds) for weights in after]
            votes += each[int(np.argmin(losses))]
        return votes / votes.sum()

    return weigh


def _stacked(labels: Ints, members: Floats, folds: Sequence[Ints]) -> Floats:
    """Weights of a logistic regression on logits, none below 0, shrunk to equal ones."""
    every = np.concatenate(folds)
    logs, true = np.log(np.maximum(members[:, every], _LOWEST)), labels[every]
    n, equal = len(every), np.full(len(members), 1 / len(members))

    def loss(weights: Floats) -> tuple[float, Floats]:
        mean = np.tensordot(weights, logs, axes=1)
        mean -= mean.max(axis=1, keepdims=True)
        total = np.log(np.exp(mean).sum(axis=1))
        slope = np.exp(mean - total[:, None])
        slope[np.arange(n), true] -= 1
        away = weights - equal
        value = float((total - mean[np.arange(n), true]).mean() + _PENALTY * away @ away)
        return value, (logs * slope).sum(axis=(1, 2)) / n + 2 * _PENALTY * away

    bounds = [(0, None)] * len(members)
    return np.asarray(minimize(loss, equal, jac=True, bounds=bounds, method="L-BFGS-B").x)


def _mean_auroc(labels: Ints, said: Floats, folds: Sequence[Ints]) -> float:
    return fmean(auroc(labels[fold], said[fold], said.shape[1]) for fold in folds)


def _auroc_loss(labels: Ints, said: Floats, folds: Sequence[Ints]) -> float:
    return -_mean_auroc(labels, said, folds)


def _log_loss(labels: Ints, said: Floats, folds: Sequence[Ints]) -> float:
    every = np.concatenate(folds)
    return float(-np.log(np.maximum(said[every, labels[every]], _LOWEST)).mean())


def _of_logits(members: Floats, weights: Floats) -> Floats:
    return weighted_mean(members, weights, multi_label=False)


def _of_probabilities(members: Floats, weights: Floats) -> Floats:
    return np.tensordot(weights, members, axes=1)


_WAYS: Mapping[str, tuple[Weigh, Mean]] = {
    "best single": (_single, _of_logits),
    "equal": (_equal, _of_logits),
    "greedy (kept)": (_kept, _of_logits),
    "no first votes": (_greedy(_of_logits, _log_loss, first=0), _of_logits),
    "greedy, probabilities": (_greedy(_of_probabilities, _log_loss), _of_probabilities),
    "greedy, by AUROC": (_greedy(_of_logits, _auroc_loss), _of_logits),
    "stacking": (_stacked, _of_logits),
}

if __name__ == "__main__":
    main()
