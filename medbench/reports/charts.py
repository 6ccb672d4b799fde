"""Charts: axes, lines with bands and marks, ranks, and parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medbench.reports.drawing import (
    UNITS_A_CHARACTER,
    Aside,
    Canvas,
    Drawing,
    Look,
    Point,
    cut,
    series_look,
    shown,
)
from medbench.reports.svg import Tag
from medbench.reports.text import plain as _plain
from medbench.reports.text import without_paths

if TYPE_CHECKING:
    from medbench.evaluation.ranks import RanksAcross

WIDTH, HEIGHT = 380.0, 300.0
"""Of a chart, in pixels of the page."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 10.0, 40.0
_ROW = 24.0
_KEY_MARK, _KEY_LINE, _KEY_GAP = 22.0, 16.0, 14.0
_FEWEST_TICKS = 3
_BAND = 0.14
"""Opacity of a band around a line."""
_DIAGONAL = Look(colour="faint", width=1.0, dash=(0, (4, 4)))


def plain(text: str) -> str:
    """One line without control characters and absolute paths."""
    return without_paths(_plain(text))


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a chart."""

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Whether only whole numbers have a place, as of a count."""

    def __post_init__(self) -> None:
        if not self.low < self.high:  # a single value still has a place, in the middle
            pad = abs(self.low) / 2 or 1.0
            object.__setattr__(self, "low", self.low - pad if not self.log else self.low / 2)
            object.__setattr__(self, "high", self.high + pad if not self.log else self.high * 2)

    def position(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Values at which a line is drawn, with their text.

        Args:
            most: Steps into which an axis that is not logarithmic is divided at most.
        """
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for leads in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):  # the finer, the later
                values = [lead * 10.0**power for power in powers for lead in leads]
                values = [value for value in values if self.low <= value <= self.high]
                if len(values) >= _FEWEST_TICKS:
                    break
            else:
                values = [self.low, self.high]
            return [(value, f"{value:.3g}") for value in values]
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span))
        step = next(lead * power for lead in (0.2, 0.5, 1, 2, 5) if span / (lead * power) <= most)
        if self.whole:
            step = max(1.0, round(step))
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor((self.high - first * step) / step + 1e-9) + 1
        return [(v := (first + i) * step, f"{v:.6g}") for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is drawn of one model."""

    name: str
    number: int
    """Which colour and dash; the same number is the same model in all charts of a data set."""
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    """x, low and high of a shaded band."""
    marks: Sequence[tuple[float, float, str]] = ()
    """x, y and text (shown on hovering) of single points."""
    step: bool = False
    """Whether a value holds until the next one."""
    key: str = ""
    """What the key of the file says of it, where that is more than the name."""
    look: Look | None = None
    """How it is drawn, where not as the model of its number."""


class Plot:
    """A rectangle of a canvas in which values are placed along two axes."""

    def __init__(
        self, canvas: Canvas, x: Axis, y: Axis, *, left: float, top: float, size: Point
    ) -> None:
        self._canvas, self._x, self._y = canvas, x, y
        self._left, self._top, (self._width, self._height) = left, top, size

    def at(self, x: float, y: float) -> Point:
        """Where a pair of values stands."""
        return (
            self._left + self._x.position(x) * self._width,
            self._top + (1 - self._y.position(y)) * self._height,
        )

    def grid(
        self, *, x_texts: bool = True, y_texts: bool = True, most: tuple[int, int] = (6, 6)
    ) -> None:
        """Lines at the ticks, with their values below and on the left.

        Args:
            x_texts: Whether values are written below.
            y_texts: Whether values are written on the left.
            most: Steps of either axis at most.
        """
        right, bottom = self._left + self._width, self._top + self._height
        places_x = [
            (self.at(value, self._y.low)[0], text) for value, text in self._x.ticks(most[0])
        ]
        places_y = [
            (self.at(self._x.low, value)[1], text) for value, text in self._y.ticks(most[1])
        ]
        upright = [[(x, self._top), (x, bottom)] for x, _ in places_x]
        self._canvas.grid([*upright, *([(self._left, y), (right, y)] for y, _ in places_y)])
        for x, text in places_x if x_texts else ():
            self._canvas.text((x, bottom + 14), text, anchor="center")
        for y, text in places_y if y_texts else ():
            self._canvas.text((self._left - 5, y + 4), text, anchor="right")

    def draw(self, one: Series) -> None:
        """A model's line with its band and marks."""
        look, tag = (
            one.look or series_look(one.number),
            Tag(series=one.number, title=plain(one.name)),
        )
        if one.band:
            edge = [self.at(a, high) for a, _, high in one.band]
            edge += [self.at(a, low) for a, low, _ in reversed(one.band)]
            self._canvas.area(edge, look.colour, _BAND, tag)
        points = [self.at(x, y) for x, y in one.points]
        if len(points) > 1:
            self._canvas.line(points, look, step=one.step, tag=tag)
        elif points:  # a line of one point would not be seen
            self._canvas.line(points, _marks(look), tag=tag)
        if one.marks:
            tag = replace(tag, each=tuple(plain(text) for _, _, text in one.marks))
            self._canvas.line([self.at(x, y) for x, y, _ in one.marks], _marks(look), tag=tag)


def _marks(look: Look) -> Look:
    return replace(look, mark="o", line=False)


def line_chart(
    name: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    title: str,
    *,
    diagonal: str = "",
    key_title: str = "",
) -> Drawing:
    """Lines with bands and marks.

    Args:
        name: Tells it from the other figures of a page.
        series: What is drawn, the most important last (it lies on top).
        x: From left to right.
        y: Upwards.
        title: What a screen reader says of the chart.
        diagonal: What a dashed line from corner to corner shows; empty for none.
        key_title: Heads the names of the models in the file.
    """

    def draw(canvas: Canvas) -> None:
        size = (WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM)
        plot = Plot(canvas, x, y, left=_LEFT, top=_TOP, size=size)
        plot.grid()
        middle = (_LEFT + size[0] / 2, HEIGHT - 8)
        canvas.text(middle, shown(plain(x.label), 40), anchor="center", colour="ink")
        beside = (12.0, _TOP + size[1] / 2)
        canvas.text(beside, shown(plain(y.label), 40), anchor="center", colour="ink", upwards=True)
        if diagonal:
            canvas.line([plot.at(x.low, y.low), plot.at(x.high, y.high)], _DIAGONAL)
        for one in series:
            plot.draw(one)

    entries = [(one.key or shown(plain(one.name)), _key_look(one)) for one in reversed(series)]
    entries += [(diagonal, _DIAGONAL)] if diagonal else []
    return Drawing(name, title, (WIDTH, HEIGHT), draw, aside=key(entries, key_title))


def _key_look(one: Series) -> Look:
    look = one.look or series_look(one.number)
    return look if len(one.points) > 1 else _marks(look)


def key(entries: Sequence[tuple[str, Look]], title: str = "", *, left: float = WIDTH) -> Aside:
    """Names of lines beside their looks, for files: the page has lists that choose what is shown.

    Args:
        entries: What is said of each line or mark.
        title: Above them.
        left: Where the figure ends.
    """
    start, first = left + _KEY_GAP, _TOP + 8

    def draw(canvas: Canvas) -> None:
        canvas.text((start, first), title, colour="ink")
        for number, (words, look) in enumerate(entries, bool(title)):
            y = first + number * _KEY_LINE
            ends = [(start, y - 4), (start + _KEY_MARK - 6, y - 4)]
            canvas.line(ends if look.line else [(start + 8, y - 4)], look)
            canvas.text((start + _KEY_MARK, y), words, colour="ink")

    longest = max([len(title), *(len(words) for words, _ in entries)])
    return Aside(
        width=_KEY_GAP + _KEY_MARK + longest * UNITS_A_CHARACTER + _RIGHT,
        height=first + (len(entries) + 1) * _KEY_LINE,
        draw=draw,
    )


def rank_chart(ranks: RanksAcross) -> Drawing:
    """Mean ranks with their intervals, best first; bars join what a rank test cannot separate.

    Source: Demsar (2006), "Statistical comparisons of classifiers over multiple data sets",
    JMLR 7, for the bars and the critical difference.
    """
    n, test = len(ranks.ranks), ranks.test
    cliques = test.cliques if test is not None else ()
    left, right, top = 170.0, 360.0, 34.0 if test is not None else 8.0
    bottom = top + n * _ROW

    def across(value: float) -> float:
        return left + (value - 1) / max(1, n - 1) * (right - left)

    def draw(canvas: Canvas) -> None:
        canvas.grid([[(across(k), top), (across(k), bottom)] for k in range(1, n + 1)])
        for number in range(1, n + 1):
            canvas.text((across(number), bottom + 14), str(number), anchor="center")
        if test is not None:
            end = across(min(1 + test.critical_difference, max(n, 2)))
            canvas.line([(left, 20), (end, 20)], Look(colour="ink"))
            words = f"critical difference {test.critical_difference:.2f}"
            canvas.text((left, 14), words, colour="ink")
        for number, rank in enumerate(ranks.ranks):
            y = top + 10 + number * _ROW
            name = plain(rank.model)
            words = f"{shown(name, 18)}  {rank.mean_rank:.2f}"
            canvas.text((left - 12, y + 4), words, anchor="right", colour="ink")
            if rank.low is not None and rank.high is not None:
                interval = Look(colour="s0", width=4.0, opacity=0.55)
                canvas.line([(across(rank.low), y), (across(rank.high), y)], interval)
            mean = across(rank.mean_rank)
            tag = Tag(title=f"{name}: mean rank {rank.mean_rank:.2f}")
            canvas.line([(mean, y)], Look(colour="s0", mark="o", mark_size=8), tag=tag)
        position = {rank.model: number for number, rank in enumerate(ranks.ranks)}
        for number, clique in enumerate(cliques):
            rows = [position[model] for model in clique]
            x = right + 14 + 7 * (number % 5)
            ends = [(x, top + 4 + min(rows) * _ROW), (x, top + 16 + max(rows) * _ROW)]
            canvas.line(ends, Look(colour="ink", width=4.0))

    said = ", ".join(f"{plain(rank.model)} {rank.mean_rank:.1f}" for rank in ranks.ranks)
    size = (400.0, bottom + 26)
    return Drawing("critical-difference", f"Mean ranks: {said}", size, draw)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One upright line of parallel coordinates."""

    name: str
    low: str
    """Text at the lower end."""
    high: str


def parallel_coordinates(
    name: str,
    dimensions: Sequence[Dimension],
    lines: Sequence[tuple[Sequence[float | None], float]],
    title: str,
) -> Drawing:
    """Trials as lines over their parameters.

    Args:
        name: Tells it from the other figures of a page.
        dimensions: The parameters, and the score last.
        lines: Of each trial where it stands in every dimension (0 to 1, None where it has no such
            parameter) and how good it is (0 worst, 1 best), the best last.
        title: What a screen reader says of the chart.
    """
    width, height, top, bottom = 90.0 * max(2, len(dimensions)), 210.0, 34.0, 30.0
    gap = width / max(2, len(dimensions))

    def at(column: int, value: float) -> Point:
        return gap / 2 + column * gap, height - bottom - value * (height - top - bottom)

    def draw(canvas: Canvas) -> None:
        parts, opacities = [], []
        for values, goodness in lines:
            segments: list[list[Point]] = [[]]
            for column, value in enumerate(values):
                if value is None:
                    segments.append([])
                else:
                    segments[-1].append(at(column, value))
            drawn = [segment for segment in segments if len(segment) > 1]
            parts += drawn
            opacities += [round(0.12 + 0.88 * goodness**2, 2)] * len(drawn)
        canvas.bundle(parts, "s0", opacities)
        upright = Look(colour="faint", width=1.0)
        for column, one in enumerate(dimensions):
            canvas.line([at(column, 0), at(column, 1)], upright)
            x = gap / 2 + column * gap
            for y, words, colour in (
                (12, one.name, "ink"),
                (27, one.high, "faint"),
                (height - 12, one.low, "faint"),
            ):
                canvas.text((x, y), cut(plain(words), 14), anchor="center", colour=colour)

    return Drawing(name, title, (width, height), draw, wide=True)


def share_axis(label: str) -> Axis:
    """An axis of probabilities or rates."""
    return Axis(label=label, low=0.0, high=1.0)


def score_axis(values: Sequence[float], label: str) -> Axis:
    """An axis of scores that begins a little below the lowest of them."""
    known = [value for value in values if math.isfinite(value)] or [0.5]
    low = math.floor((min(known) - 0.02) * 20) / 20
    return Axis(label=label, low=min(max(low, 0.0), 0.9), high=1.0)


def described(series: Sequence[Series], what: str) -> str:
    """A sentence for a screen reader: what is drawn of whom."""
    return f"{what} of {', '.join(plain(one.name) for one in series) or 'no model'}"
