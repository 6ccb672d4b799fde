"""ROC and precision-recall curves, and how far probabilities hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ProtocolError
from medbench.evaluation.curves import (
    GRID,
    Curve,
    Reliability,
    precision_recall_curve,
    reliability,
    roc_curve,
)
from medbench.evaluation.resampling import FoldPredictions
from medbench.reports.charts import Series, described, line_chart, share_axis
from medbench.reports.drawing import Drawing, cut
from medbench.reports.figures.models import Drawn
from medbench.reports.text import format_score, plain

_TOLERANCE = 1e-3
"""How far a drawn curve may lie from the computed one; less than a line is wide."""
_BANDS = {
    "folds": "band: lowest to highest fold or seed",
    "bootstrap": "band: pointwise 95% interval of 1,000 bootstrap resamples of groups",
    "none": "no band: too few groups",
}


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Three figures of the models that can be scored."""

    roc: Drawing
    precision_recall: Drawing
    calibration: Drawing
    band: str
    """What the bands around the curves are."""


def curves(name: str, record: Mapping[str, Any], models: Sequence[Drawn]) -> Curves | None:
    """Compute the curves of one data set; None where no model can be scored.

    Args:
        name: The data set.
        record: Its ``dataset.json``.
        models: The real models, in the order of the leaderboard.
    """
    n_classes = len(record["classes"])
    roc, precision, holds, band = [], [], [], "none"
    for one in reversed(models):  # the best lies on top
        try:
            found = (
                roc_curve(one.row.folds, n_classes),
                precision_recall_curve(one.row.folds, n_classes),
            )
        except ProtocolError:  # nothing to tell apart; the table says so
            continue
        band = _BANDS[found[0].band]
        roc.append(_curve(one, found[0], start=True))
        precision.append(_curve(one, found[1]))
        holds.append(_reliability(one, reliability(_first_repeat(one))))
    if not roc:
        return None
    rest = "" if n_classes == 2 and record["task"] == "binary" else ", each class against the rest"
    return Curves(
        roc=line_chart(
            f"{name}/roc",
            roc,
            share_axis("1 - specificity"),
            share_axis("sensitivity"),
            described(roc, "ROC curves"),
            diagonal=".500  chance",
            key_title=f"AUROC{rest}",
        ),
        precision_recall=line_chart(
            f"{name}/precision-recall",
            precision,
            share_axis("recall (sensitivity)"),
            share_axis("precision (PPV)"),
            described(precision, "Precision-recall curves"),
        ),
        calibration=line_chart(
            f"{name}/calibration",
            holds,
            share_axis(_confidence(record)),
            share_axis("share that came true"),
            described(holds, "Reliability diagram"),
            diagonal="probabilities hold",
        ),
        band=band,
    )


def _first_repeat(one: Drawn) -> list[FoldPredictions]:
    """Folds in which every image is held out at most once."""
    return [fold for fold in one.row.folds if not fold.repeat] or list(one.row.folds)


def _confidence(record: Mapping[str, Any]) -> str:
    return {
        "binary": f"probability of {cut(plain(str(record['classes'][-1])), 24)}",
        "multi-label": "probability of a label",
    }.get(record["task"], "probability of the decided class")


def _curve(one: Drawn, curve: Curve, *, start: bool = False) -> Series:
    kept = _kept(curve)
    points = [(float(GRID[i]), float(curve.values[i])) for i in kept]
    band = [(float(GRID[i]), float(curve.low[i]), float(curve.high[i])) for i in kept]
    if start:  # a ROC curve begins in the corner, whatever is reached without false positives
        points.insert(0, (0.0, 0.0))
    return Series(
        name=one.title,
        number=one.number,
        points=points,
        band=band if curve.band != "none" else (),
        key=f"{format_score(one.row.fields.auroc)}  {one.label}" if start else one.label,
    )


def _kept(curve: Curve) -> NDArray[np.int64]:
    """Places of the grid that a line needs to stay within a thousandth of curve and band.

    From each place kept, the next is the farthest one up to which straight lines hold.
    """
    values = np.array([curve.values, curve.low, curve.high])
    kept, last = [0], len(GRID) - 1
    while kept[-1] < last:
        begin = kept[-1]
        end = begin + 1
        while end < last and _straight(values[:, begin : end + 2]):
            end += 1
        kept.append(end)
    return np.array(kept)


def _straight(values: NDArray[np.float64]) -> bool:
    """Whether values between the first and last column lie on the lines between those."""
    share = np.linspace(0, 1, values.shape[1])
    lines = values[:, :1] + (values[:, -1:] - values[:, :1]) * share
    return bool(np.abs(values - lines).max() <= _TOLERANCE)


def _reliability(one: Drawn, found: Reliability) -> Series:
    points = list(zip(found.predicted.tolist(), found.observed.tolist(), strict=True))
    marks = [
        (
            x,
            y,
            f"{one.title}: predicted {format_score(x)}, came true {format_score(y)}, {n:,} images",
        )
        for (x, y), n in zip(points, found.images.tolist(), strict=True)
    ]
    band = list(zip(found.predicted.tolist(), found.low.tolist(), found.high.tolist(), strict=True))
    return Series(
        name=one.title, number=one.number, points=points, band=band, marks=marks, key=one.label
    )
