"""Scores of all rows: AUROC of each fold, their mean and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medbench.evaluation.metrics import auroc
from medbench.reports.charts import Axis
from medbench.reports.drawing import UNITS_A_CHARACTER, Aside, Canvas, Drawing, Look
from medbench.reports.figures.models import Drawn
from medbench.reports.svg import Tag
from medbench.reports.text import format_interval

_WIDTH, _RIGHT, _TOP, _ROW = 380.0, 12.0, 8.0, 21.0
_BELOW = 60.0
"""For the axis and the key."""
_NUMBERS = 156.0
"""Width of a score with its interval, which the file shows; the page has them in its table."""
_NARROW = 6.3
"""Width of a character of small letters, of which the key has little else."""
_MEAN = Look(colour="s0", width=3.0, mark="D", mark_size=7.0)
_SANITY = Look(colour="faint", width=3.0, mark="D", mark_size=7.0)
_FOLD = Look(colour="s1", mark="o", mark_size=4.5, line=False)
_CHANCE = Look(colour="faint", width=1.5, dash=(0, (3, 2)))
_CHANCE_LEVEL = 0.5


def scores(name: str, rows: Sequence[Drawn], n_classes: int) -> Drawing | None:
    """The figure of one data set; None where no row has a score.

    Args:
        name: The data set.
        rows: Models and sanity rows, in the order of the leaderboard.
        n_classes: Number of its classes.
    """
    scored = [one for one in rows if not math.isnan(one.row.fields.auroc)]
    if not scored:
        return None
    folds = [
        [auroc(fold.labels, fold.probabilities, n_classes) for fold in one.row.folds]
        for one in scored
    ]
    several = max(map(len, folds)) > 1
    known = [one.row.fields.auroc_low for one in scored] + [x for each in folds for x in each]
    lowest = min(_CHANCE_LEVEL, *(x for x in known if not math.isnan(x)))
    axis = Axis(label="AUROC on held-out images", low=lowest - 0.02, high=1.01)
    left = 12 + UNITS_A_CHARACTER * max(len(one.label) for one in scored)
    bottom = _TOP + _ROW * len(scored)

    def across(score: float) -> float:
        return left + axis.position(score) * (_WIDTH - left - _RIGHT)

    def draw(canvas: Canvas) -> None:
        ticks = [(across(value), text) for value, text in axis.ticks()]
        canvas.grid([[(x, _TOP), (x, bottom)] for x, _ in ticks])
        for x, text in ticks:
            canvas.text((x, bottom + 14), text, anchor="center")
        middle = (left + _WIDTH - _RIGHT) / 2
        canvas.text((middle, bottom + 30), axis.label, anchor="center", colour="ink")
        canvas.line([(across(_CHANCE_LEVEL), _TOP), (across(_CHANCE_LEVEL), bottom)], _CHANCE)
        for number, (one, each) in enumerate(zip(scored, folds, strict=True)):
            y = _TOP + (number + 0.5) * _ROW
            fields, look = one.row.fields, _SANITY if _is_sanity(one) else _MEAN
            tag = Tag(title=f"{one.title}: {_interval(one)}")
            canvas.text((left - 8, y + 4), one.label, anchor="right", colour="ink")
            low, high = fields.auroc_low, fields.auroc_high
            if not math.isnan(low):
                canvas.line([(across(low), y), (across(high), y)], _without_mark(look), tag=tag)
            canvas.line([(across(fields.auroc), y)], look, tag=tag)
            if several:
                canvas.line([(across(score), y + 6) for score in each], _FOLD)
        _draw_key(canvas, bottom + _BELOW - 8, several, any(map(_is_sanity, scored)))

    def draw_numbers(canvas: Canvas) -> None:
        for number, one in enumerate(scored):
            at = (_WIDTH + 4, _TOP + (number + 0.5) * _ROW + 4)
            canvas.text(at, _interval(one), colour="ink")

    said = ", ".join(f"{one.title} {_interval(one)}" for one in scored)
    size = (_WIDTH, bottom + _BELOW)
    aside = Aside(width=_NUMBERS, height=size[1], draw=draw_numbers)
    return Drawing(f"{name}/scores", f"AUROC with its interval: {said}", size, draw, aside=aside)


def _draw_key(canvas: Canvas, y: float, several: bool, sanity: bool) -> None:
    """What the marks mean, in one row."""
    kinds = [("mean, 95% interval" if several else "held-out part, 95% interval", _MEAN)]
    kinds += [("sanity row", _SANITY)] * sanity
    kinds += [("a fold", _FOLD)] * several + [("chance", _CHANCE)]
    x = 4.0
    for words, look in kinds:
        if look.line:
            canvas.line([(x, y - 4), (x + 16, y - 4)], _without_mark(look))
        if look.mark:
            canvas.line([(x + 8, y - 4)], look)
        canvas.text((x + 20, y), words)
        x += 28 + _NARROW * len(words)


def _without_mark(look: Look) -> Look:
    return Look(colour=look.colour, width=look.width, dash=look.dash)


def _is_sanity(one: Drawn) -> bool:
    return one.row.fields.kind == "sanity"


def _interval(one: Drawn) -> str:
    fields = one.row.fields
    return format_interval(fields.auroc, fields.auroc_low, fields.auroc_high)
