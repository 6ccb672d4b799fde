"""Numbers in coloured cells, which the page has as tables: decisions, and scores of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.evaluation.metrics import confusion, decide
from medbench.reports.drawing import UNITS_A_CHARACTER, Canvas, save, shown, style_of_figures
from medbench.reports.figures.models import Drawn
from medbench.reports.text import format_score

_ANNOTATED_CLASSES = 10
"""Above this many classes, numbers in the cells of a confusion matrix cannot be read."""
_ANNOTATED_COLUMNS = 20
"""The same for one row of numbers a model."""
_GAP, _TITLE, _LINE, _AXIS, _MARGIN = 24.0, 26.0, 12.0, 18.0, 10.0
_ROW, _COLUMN = 24.0, 44.0
_BAR, _BAR_HEIGHT = 90.0, 200.0
"""Width of a colour bar with its gap, numbers and label; its greatest height."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Decisions of one model on all held-out images, each once."""

    one: Drawn
    counts: NDArray[np.int64]
    """True class (row) by decided class (column)."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of the images of the true class."""
        shares: NDArray[np.float64] = self.counts / np.maximum(
            self.counts.sum(axis=1, keepdims=True), 1
        )
        return shares


def decisions(record: Mapping[str, Any], models: Sequence[Drawn]) -> tuple[Decisions, ...]:
    """Count them; none for a task of several labels an image.

    Args:
        record: ``dataset.json``.
        models: The real models, in the order of the leaderboard.
    """
    if record["task"] == "multi-label":
        return ()
    n, found = len(record["classes"]), []
    for one in models:
        counts = np.zeros((n, n), dtype=np.int64)
        for cell, fold in zip(one.cells, one.row.folds, strict=True):
            if not fold.repeat:  # every image once
                decided = decide(fold.probabilities, cell.record.get("threshold"))
                counts += confusion(fold.labels, decided, n)
        found.append(Decisions(one=one, counts=counts))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ConfusionFigure:
    """Confusion matrix of each model, rows normalised, all in one heat map with gaps."""

    classes: Sequence[str]
    matrices: Sequence[Decisions]

    def write_png(self, path: Path) -> None:
        """Write the file.

        Raises:
            StoreError: It cannot be written.
        """
        n, count = len(self.classes), len(self.matrices)
        names = [shown(name, 14) for name in self.classes]
        cell = max(18.0, min(44.0, 360.0 / n))
        label = max(map(len, names)) * UNITS_A_CHARACTER
        upright = label > cell
        columns = _columns(count, 4 if n <= 3 else 3 if n <= 6 else 2)
        # gaps are whole cells, too: below a matrix stand its classes and the next one's name
        across = n + math.ceil(_GAP / cell)
        down = n + math.ceil(((label if upright else _LINE) + 8 + _TITLE) / cell)
        positions = [divmod(number, columns) for number in range(count)]
        shape = (positions[-1][0] * down + n, (min(count, columns) - 1) * across + n)
        shares, texts = np.full(shape, np.nan), np.full(shape, "", dtype=object)
        for (row, column), each in zip(positions, self.matrices, strict=True):
            block = np.s_[row * down : row * down + n, column * across : column * across + n]
            shares[block], texts[block] = each.shares, _cells(each)
        annotated = n <= _ANNOTATED_CLASSES
        left, below = _AXIS + label + 8, (label if upright else _LINE) + 8 + _AXIS
        size = (shape[1] * cell, shape[0] * cell)
        right = _MARGIN if annotated else _BAR
        with style_of_figures():
            canvas = Canvas(left + size[0] + right, _TITLE + size[1] + below + _MARGIN)
            axes = canvas.axes(left, _TITLE, *size)
            _heatmap(axes, shares, texts if annotated else None, (0, 1), 7 if n > 5 else 9)
            for (row, column), each in zip(positions, self.matrices, strict=True):
                x, y = left + column * across * cell, _TITLE + row * down * cell
                title = shown(each.one.label, int((across * cell) / UNITS_A_CHARACTER))
                canvas.text((x, y - 7), title, colour="ink")
                for k, name in enumerate(names):
                    at, foot = x + (k + 0.5) * cell + 4, y + n * cell + 6
                    if upright:
                        canvas.text((at, foot), name, anchor="right", upwards=True)
                    else:
                        canvas.text((at - 4, foot + 8), name, anchor="center")
                    if column == 0:
                        canvas.text((x - 6, y + (k + 0.5) * cell + 4), name, anchor="right")
            foot = _TITLE + size[1] + below
            middle = left + size[0] / 2
            canvas.text((middle, foot), "decided class", anchor="center", colour="ink")
            beside = (12.0, _TITLE + size[1] / 2)
            canvas.text(beside, "true class", anchor="center", colour="ink", upwards=True)
            if not annotated:
                _draw_bar(canvas, axes, left + size[0], size[1], "share of the true class")
            save(canvas.figure, path)


def _columns(count: int, most: int) -> int:
    """Columns that spread ``count`` matrices evenly over the rows that at most ``most`` need."""
    return math.ceil(count / math.ceil(count / most))


def _cells(each: Decisions) -> NDArray[np.str_]:
    """Share and count of every cell."""
    pairs = zip(each.shares.ravel(), each.counts.ravel(), strict=True)
    texts = [f"{format_score(round(share, 2))[:-1]}\n{count:,}" for share, count in pairs]
    return np.array(texts).reshape(each.counts.shape)


@dataclass(frozen=True, kw_only=True)
class ClassesFigure:
    """AUROC of each class against the rest, averaged over the folds."""

    classes: Sequence[str]
    rows: Sequence[Drawn]
    """Those with scores of classes."""

    def write_png(self, path: Path) -> None:
        """Write the file.

        Raises:
            StoreError: It cannot be written.
        """
        scores = np.array([one.row.class_scores["auroc"] for one in self.rows])
        texts = (
            np.vectorize(format_score)(scores) if len(self.classes) <= _ANNOTATED_COLUMNS else None
        )
        names, labels = [shown(c, 18) for c in self.classes], [one.label for one in self.rows]
        left = max(map(len, labels)) * UNITS_A_CHARACTER + 10
        below = max(map(len, names)) * UNITS_A_CHARACTER + 10
        size = len(names) * _COLUMN, len(labels) * _ROW
        with style_of_figures():
            canvas = Canvas(left + size[0] + _BAR, _TITLE + size[1] + below)
            axes = canvas.axes(left, _TITLE, *size)
            _heatmap(axes, scores, texts, (0.5, 1), 9)
            axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
            axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
            _draw_bar(canvas, axes, left + size[0], size[1], "AUROC")
            save(canvas.figure, path)


def _heatmap(
    axes: Any,
    values: NDArray[np.float64],
    texts: NDArray[np.str_] | None,
    bounds: tuple[float, float],
    size: float,
) -> None:
    import seaborn as sns

    sns.heatmap(
        values,
        ax=axes,
        vmin=bounds[0],
        vmax=bounds[1],
        cmap="Blues",
        cbar=False,
        annot=False if texts is None else texts,
        fmt="",
        annot_kws={"fontsize": size},
        linewidths=0 if texts is None else 0.5,
        xticklabels=False,
        yticklabels=False,
    )
    axes.tick_params(length=0)


def _draw_bar(canvas: Canvas, axes: Any, left: float, height: float, label: str) -> None:
    """What the colours are worth."""
    bar = canvas.axes(left + _GAP, _TITLE, 12, min(height, _BAR_HEIGHT))
    canvas.figure.colorbar(axes.collections[0], cax=bar, label=label)
