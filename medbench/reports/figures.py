"""Figures of a run: scores, ROC curves, confusion, classes, tuning; a folder a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.evaluation.metrics import auroc, class_aurocs, confusion, decide, scored_classes
from medbench.evaluation.resampling import FoldPredictions
from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.critical_difference import draw_critical_difference
from medbench.reports.drawing import (
    FONT,
    columns_for,
    cut,
    legend_below,
    panels_of,
    save,
    shown,
)
from medbench.reports.rows import CUT
from medbench.reports.text import format_interval, format_score
from medbench.store import CellResult, RunLayout

_INCHES_A_CHARACTER = 0.08
"""Width of a character of a tick's label."""
_ROC_POINTS = 501
_ANNOTATED_CLASSES = 10
"""Above this many classes, numbers in the cells of a confusion matrix cannot be read."""
_ANNOTATED_COLUMNS = 20
"""The same for one row of numbers a model."""
_INK = "0.25"
_FAINT = "0.5"
_DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One row of the leaderboard with what is drawn of it."""

    name: str
    """As it is shown: one line, cut where it is too long."""
    row: Mapping[str, Any]
    """Its row of the leaderboard."""
    cells: tuple[CellResult, ...]
    """Its finished cells."""
    folds: tuple[FoldPredictions, ...]
    """Their held-out predictions."""
    sanity: bool


def write_figures(assessment: Assessment, folder: Path) -> list[Path]:
    """Draw ``figures/DATASET/{scores,roc,confusion,classes,tuning}.png`` below a folder.

    A data set without a finished cell has no figures; scores and ROC curves are left out where no
    model can be scored, the tuning history where no trial is complete. Rows stand in the order
    of the leaderboard; sanity rows are in the figures of scores and classes only. Where models
    can be ranked across data sets, ``figures/critical-difference.png`` shows it.

    Args:
        assessment: The run, assessed.
        folder: Where ``figures`` is created.

    Returns:
        The files that were written, by data set.

    Raises:
        StoreError: A file cannot be written.
    """
    import seaborn as sns

    style = {"font.family": [FONT], "axes.titlesize": 10, "axes.labelsize": 10}
    small = {"xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9}
    files, written = RunLayout(folder), []
    with sns.axes_style("whitegrid", rc=style | small | {"grid.color": "0.9"}):
        for dataset in assessment.datasets:
            rows = _models(assessment, dataset)
            classes = [shown(name) for name in dataset.record["classes"]]
            real = [row for row in rows if not row.sanity]
            for kind, (draw, with_sanity) in _FIGURES.items():
                models = rows if with_sanity else real
                figure = draw(models, classes) if models else None
                if figure is not None:
                    path = files.figure(dataset.name, kind)
                    save(figure, path)
                    written.append(path)
        if assessment.ranks is not None and assessment.ranks.test is not None:
            save(draw_critical_difference(assessment.ranks), files.critical_difference)
            written.append(files.critical_difference)
    return written


def _models(assessment: Assessment, dataset: DatasetAssessment) -> list[_Model]:
    """The models and sanity rows with a finished cell, in the order of the leaderboard."""
    models = []
    for row in dataset.rows:
        if not row.folds or row.fields["kind"] not in ("model", "sanity"):
            continue
        models.append(
            _Model(
                name=shown(row.name),
                row=row.fields,
                cells=assessment.run.cells_of(dataset.name, row.name),
                folds=row.folds,
                sanity=row.fields["kind"] == "sanity",
            )
        )
    return models


# --- the figures --------------------------------------------------------------------------


def _draw_scores(models: Sequence[_Model], classes: Sequence[str]) -> Any:
    """AUROC of each fold, their mean and its interval; None where nothing can be scored."""
    import seaborn as sns

    scored = [model for model in models if not math.isnan(model.row["auroc"])]
    if not scored:
        return None
    blue, orange = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[1]
    figure, (axes,) = panels_of(1, 1, 6.6, 0.65 + 0.36 * len(scored))
    several = max(len(model.folds) for model in scored) > 1
    bounds = [model.row["auroc_low"] for model in scored]
    lowest = [0.5, *(low for low in bounds if not math.isnan(low))]
    for position, model in enumerate(scored):
        row = model.row
        each = [auroc(fold.labels, fold.probabilities, len(classes)) for fold in model.folds]
        lowest += each
        low, high = row["auroc_low"], row["auroc_high"]  # NaN draws no line
        color = _FAINT if model.sanity else blue
        axes.plot([low, high], [position] * 2, color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(row["auroc"], position, "D", color=color, markersize=6, zorder=3)
        text = format_interval(row["auroc"], low, high)
        beside = axes.get_yaxis_transform()
        axes.text(1.02, position, text, transform=beside, va="center", fontsize=9, color=_INK)
        if several:
            axes.plot(each, np.full(len(each), position + 0.24), "o", color=orange, markersize=3.5)
    axes.axvline(0.5, color=_FAINT, linestyle="--", linewidth=1.5, zorder=1)
    axes.set_xlim(min(lowest) - 0.03, 1.015)
    axes.set_ylim(len(scored) - 0.4, -0.6)
    axes.set_yticks(range(len(scored)), [_labelled(model) for model in scored])
    axes.set_xlabel("AUROC on held-out images")
    axes.grid(visible=False, axis="y")
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("mean with 95% interval", {"color": blue, "marker": "D", "linewidth": 3}),
        ("a fold", {"color": orange, "marker": "o", "markersize": 4, "linestyle": ""}),
        ("chance", {"color": _FAINT, "linestyle": "--"}),
    ]
    if not several:
        kinds = [("held-out part with 95% interval", kinds[0][1]), kinds[2]]
    if any(model.sanity for model in scored):
        kinds.insert(1, ("sanity row", {"color": _FAINT, "marker": "D", "linewidth": 3}))
    legend_below(figure, kinds)
    sns.despine(ax=axes, left=True)
    return figure


def _draw_roc(models: Sequence[_Model], classes: Sequence[str]) -> Any:
    """Mean ROC curve of each model over thin curves of its folds; None where there is none."""
    import seaborn as sns

    scored = [model for model in models if not math.isnan(model.row["auroc"])]
    if not scored:
        return None
    figure, (axes,) = panels_of(1, 1, 7.0, 4.4, "compressed")
    grid = np.linspace(0, 1, _ROC_POINTS)
    chance = axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1.2)
    lines, labels = [], []
    for number, model in enumerate(scored):
        color = sns.color_palette("colorblind")[number % 10]
        curves = [_roc(fold, len(classes), grid) for fold in model.folds]
        if len(curves) > 1:
            for curve in curves:
                axes.plot(*curve, color=color, linewidth=0.6, alpha=0.3)
        mean = np.mean([sensitivity for _, sensitivity in curves], axis=0)
        look = {"color": color, "linestyle": _DASHES[number % len(_DASHES)], "linewidth": 2}
        lines += axes.plot(curves[0][0], mean, **look)
        labels.append(f"{format_score(model.row['auroc'])}  {_labelled(model)}")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    figure.legend(
        [*lines, *chance],
        [*labels, ".500  chance"],
        title="AUROC" if len(classes) == 2 else "AUROC, each class against the rest",
        loc="outside right center",
        frameon=False,
        alignment="left",
    )
    return figure


def _roc(
    fold: FoldPredictions, n_classes: int, grid: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A fold's ROC curve over a grid of false positive rates, macro averaged over classes."""
    from sklearn.metrics import roc_curve

    sensitivity = []
    present = membership(fold.labels, n_classes)
    for k in scored_classes(fold.labels, n_classes):
        false, true, _ = roc_curve(present[:, k], fold.probabilities[:, k])
        sensitivity.append(np.interp(grid, false, true))
    return np.append(0.0, grid), np.append(0.0, np.mean(sensitivity, axis=0))


def _draw_confusion(models: Sequence[_Model], classes: Sequence[str]) -> Any:
    """Confusion matrix of each model over all held-out images, rows normalised.

    None for several labels an image.
    """
    import seaborn as sns

    if models[0].folds[0].labels.ndim == 2:
        return None
    n = len(classes)
    annotated = n <= _ANNOTATED_CLASSES
    names = [cut(name, 14) for name in classes]
    side = min(max(2.0, 0.55 * n), 5.0)
    label = _INCHES_A_CHARACTER * max(map(len, names))
    upright = label > side / n
    columns = columns_for(len(models), 4 if n <= 3 else 3 if n <= 6 else 2)
    height = side + 0.6 + (label if upright else 0)
    figure, panels = panels_of(len(models), columns, side + label / columns, height, "compressed")
    for number, (model, axes) in enumerate(zip(models, panels, strict=True)):
        counts = np.zeros((n, n), dtype=np.int64)
        for cell, fold in zip(model.cells, model.folds, strict=True):
            decided = decide(fold.probabilities, cell.record.get("threshold"))
            counts += confusion(fold.labels, decided, n)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        text = np.array(
            [
                [f"{format_score(round(s, 2))[:-1]}\n{c:,}" for s, c in zip(*row, strict=True)]
                for row in zip(share, counts, strict=True)
            ]
        )
        sns.heatmap(
            share,
            ax=axes,
            vmin=0,
            vmax=1,
            cmap="Blues",
            cbar=False,
            square=True,
            annot=text if annotated else False,
            fmt="",
            annot_kws={"fontsize": 9 if n <= 5 else 7},
            linewidths=0.5 if annotated else 0,
            xticklabels=names,
            yticklabels=names if number % columns == 0 else False,
        )
        title = cut(model.name, int(side / _INCHES_A_CHARACTER))
        axes.set_title(title + _labelled(model)[len(model.name) :].replace(" ", "\n", 1), size=9)
        axes.tick_params(length=0, labelsize=8)
        axes.tick_params(axis="x", rotation=90 if upright else 0)
        axes.tick_params(axis="y", rotation=0)
        if number + columns >= len(models):
            axes.set_xlabel("decided class")
        if number % columns == 0:
            axes.set_ylabel("true class")
    if not annotated:
        bar = figure.colorbar(panels[0].collections[0], ax=panels, shrink=0.6)
        bar.set_label("share of the true class")
    return figure


def _draw_classes(models: Sequence[_Model], classes: Sequence[str]) -> Any:
    """AUROC of each class against the rest, averaged over the folds; None for two classes."""
    import seaborn as sns

    if models[0].folds[0].labels.ndim == 1 and len(classes) == 2:
        return None
    scores = np.array([_class_scores(model, len(classes)) for model in models])
    annotated = len(classes) <= _ANNOTATED_COLUMNS
    text = np.vectorize(format_score)(scores)
    figure, (axes,) = panels_of(1, 1, 2 + 0.5 * len(classes), 0.9 + 0.35 * len(models))
    sns.heatmap(
        scores,
        ax=axes,
        vmin=0.5,
        vmax=1,
        cmap="Blues",
        annot=text if annotated else False,
        fmt="",
        annot_kws={"fontsize": 8},
        linewidths=0.5,
        xticklabels=[cut(name, 18) for name in classes],
        yticklabels=[_labelled(model) for model in models],
        cbar_kws={"label": "AUROC"},
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    return figure


def _class_scores(model: _Model, n_classes: int) -> NDArray[np.float64]:
    """Mean AUROC of each class over the folds where it varies, NaN where it never does."""
    areas = [class_aurocs(fold.labels, fold.probabilities, n_classes) for fold in model.folds]
    folds = np.isfinite(areas).sum(axis=0)
    return np.where(folds > 0, np.nansum(areas, axis=0) / np.maximum(folds, 1), np.nan)


def _draw_tuning(models: Sequence[_Model], classes: Sequence[str]) -> Any:
    """Best inner score so far against the number of trials; None where no trial is complete."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    histories = [
        (model, [history for cell in model.cells if (history := _history(cell)) is not None])
        for model in models
    ]
    histories = [(model, found) for model, found in histories if found]
    if not histories:
        return None
    blue, orange = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[1]
    most = max(len(best) for _, found in histories for best, _ in found)
    count = len(histories)
    columns = columns_for(count, 4)
    figure, panels = panels_of(count, columns, 2.5 if count > 1 else 4.5, 2.1, sharey=True)
    any_pruned = False
    for number, (axes, (model, found)) in enumerate(zip(panels, histories, strict=True)):
        longest = max(len(best) for best, _ in found)
        kept = np.array([np.append(b, np.full(longest - len(b), b[-1])) for b, _ in found])
        for best, pruned in found:
            numbers = np.arange(1, len(best) + 1)
            if len(found) > 1:
                axes.step(numbers, best, where="post", color=blue, linewidth=0.7, alpha=0.45)
            axes.plot(numbers[pruned], best[pruned], "x", color=orange, markersize=4, zorder=3)
            any_pruned |= bool(pruned.any())
        reached = np.isfinite(kept).all(axis=0)
        numbers = np.arange(1, longest + 1)[reached]
        marker = "o" if longest == 1 else ""
        median = np.median(kept[:, reached], axis=0)
        axes.step(numbers, median, where="post", color=blue, linewidth=2.2, marker=marker)
        axes.set_title(_labelled(model))
        axes.set_xlim(0.5, most + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        if number + columns >= count:
            axes.set_xlabel("trial")
    figure.supylabel("best inner AUROC so far", fontsize=10)
    several = any(len(found) > 1 for _, found in histories)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("median of the folds" if several else "best so far", {"color": blue, "linewidth": 2.2})
    ]
    if several:
        kinds.append(("a fold", {"color": blue, "linewidth": 0.7, "alpha": 0.45}))
    if any_pruned:
        kinds.append(("pruned trial", {"color": orange, "marker": "x", "linestyle": ""}))
    legend_below(figure, kinds)
    return figure


def _history(cell: CellResult) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Best score after each trial (NaN before the first) and which were pruned; None if empty."""
    scores = [
        trial["score"]
        if trial["state"] == "complete" and trial.get("score") is not None
        else -math.inf
        for trial in cell.tried
    ]
    best = np.maximum.accumulate(np.array(scores, dtype=np.float64))
    if not len(best) or best[-1] == -math.inf:
        return None
    pruned = np.array([trial["state"] == "pruned" for trial in cell.tried])
    return np.where(np.isfinite(best), best, np.nan), pruned


_FIGURES: Mapping[str, tuple[Callable[[Sequence[_Model], Sequence[str]], Any], bool]] = {
    "scores": (_draw_scores, True),
    "roc": (_draw_roc, False),
    "confusion": (_draw_confusion, False),
    "classes": (_draw_classes, True),
    "tuning": (_draw_tuning, False),
}
"""How each is drawn, and whether sanity rows are in it."""


def _labelled(model: _Model) -> str:
    """A model's name, with the finished folds where some are missing, and whether it was cut."""
    partial = model.row["status"] == "partial"
    said = [f"{model.row['folds']} folds"] if partial else []
    said += [CUT] if model.row["standing"] == CUT else []
    return f"{model.name} ({', '.join(said)})" if said else model.name
