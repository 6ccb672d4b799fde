"""The charts of the page: inline SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from medbench.reports.text import plain as _plain
from medbench.reports.text import without_paths

if TYPE_CHECKING:
    from medbench.evaluation.ranks import RanksAcross

SERIES = 10
"""Colours of the style sheet (``--s0`` to ``--s9``); further series repeat them with dashes."""
_WIDTH, _HEIGHT = 380, 300
"""Of a chart, in the units of its own coordinates (pixels on a narrow screen)."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 40
_BAR_WIDTH, _BAR_HEIGHT = 160, 16
_ROW = 24
_FEWEST_TICKS = 3
_LONGEST_NAME = 24

Point = tuple[float, float]


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

    def place(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Values at which a line is drawn, with their text."""
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
        step = 10 ** math.floor(math.log10(self.high - self.low))
        for finer in (5, 2, 1):
            if (self.high - self.low) / (step / finer) <= 6:
                step /= finer
                break
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
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The space of a chart and how values are placed in it."""

    x: Axis
    y: Axis
    width: float = _WIDTH
    height: float = _HEIGHT
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = _LEFT + self.x.place(x) * (self.width - _LEFT - _RIGHT)
        down = self.height - _BOTTOM - self.y.place(y) * (self.height - _TOP - _BOTTOM)
        return across, down

    def path(self, points: Sequence[Point], *, step: bool = False) -> str:
        """A line as SVG's path language has it, in relative whole tenths."""
        placed = [self.at(x, y) for x, y in points]
        text = []
        for number, (x, y) in enumerate(placed):
            if number and step:
                text.append(f"H{_short(x)}")
            text.append(f"{'L' if number else 'M'}{_short(x)} {_short(y)}")
        return "".join(text)

    def axes(self) -> None:
        """Grid lines, numbers and labels."""
        left, bottom = self.at(self.x.low, self.y.low)
        right, top = self.at(self.x.high, self.y.high)
        for value, text in self.x.ticks():
            x = _short(self.at(value, self.y.low)[0])
            self.parts.append(
                f'<path class="grid" d="M{x} {_short(top)}V{_short(bottom)}"/>'
                f'<text x="{x}" y="{_short(bottom + 14)}" text-anchor="middle">{text}</text>'
            )
        for value, text in self.y.ticks():
            y = self.at(self.x.low, value)[1]
            self.parts.append(
                f'<path class="grid" d="M{_short(left)} {_short(y)}H{_short(right)}"/>'
                f'<text x="{_short(left - 5)}" y="{_short(y + 4)}" text-anchor="end">{text}</text>'
            )
        middle = (left + right) / 2
        self.parts.append(
            f'<text class="axis" x="{_short(middle)}" y="{_short(self.height - 8)}" '
            f'text-anchor="middle">{escape(self.x.label)}</text>'
            f'<text class="axis" transform="translate(12 {_short((top + bottom) / 2)})rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )

    def svg(self, title: str) -> Markup:
        """The finished chart; ``title`` is what a screen reader says."""
        box = f"0 0 {_short(self.width)} {_short(self.height)}"
        said = f'role="img" aria-label="{escape(plain(title))}"'
        parts = "".join(self.parts)
        return Markup(f'<svg class="chart" viewBox="{box}" {said}>{parts}</svg>')


def line_chart(
    series: Sequence[Series], x: Axis, y: Axis, title: str, *, diagonal: bool = False
) -> Markup:
    """Lines with bands and marks.

    Args:
        series: What is drawn, the most important last (it lies on top).
        x: From left to right.
        y: Upwards.
        title: What a screen reader says of the chart.
        diagonal: Whether a dashed line from corner to corner shows chance or perfection.
    """
    frame = _Frame(x=x, y=y)
    frame.axes()
    if diagonal:
        ends = [(x.low, y.low), (x.high, y.high)]
        frame.parts.append(f'<path class="diagonal" d="{frame.path(ends)}"/>')
    for one in series:
        frame.parts.append(f"<g {_look(one)}><title>{escape(plain(one.name))}</title>")
        if one.band:
            edge = [(a, high) for a, _, high in one.band]
            edge += [(a, low) for a, low, _ in reversed(one.band)]
            frame.parts.append(f'<path class="band" d="{frame.path(edge)}Z"/>')
        if len(one.points) > 1:
            frame.parts.append(f'<path class="line" d="{frame.path(one.points, step=one.step)}"/>')
        elif one.points:  # a line of one point would not be seen
            ((only_x, only_y),) = one.points
            frame.parts.append(_mark(frame, only_x, only_y, one.name))
        frame.parts.extend(_mark(frame, a, b, text) for a, b, text in one.marks)
        frame.parts.append("</g>")
    return frame.svg(title)


def interval_bar(
    value: float, low: float, high: float, start: float, number: int | None = None
) -> Markup:
    """A score with its interval on a scale from ``start`` to 1, small enough for a table's cell.

    What is not known (NaN) is not drawn. The scale begins at ``start`` for all rows alike; a line
    marks .5.
    """

    def at(v: float) -> str:
        return _short(4 + (min(max(v, start), 1) - start) / (1 - start) * (_BAR_WIDTH - 8))

    middle = _BAR_HEIGHT / 2
    parts = [f'<path class="grid" d="M{at(0.5)} 1V{_BAR_HEIGHT - 1}"/>']
    if not (math.isnan(low) or math.isnan(high)):
        ends = f"M{at(low)} {middle - 4}v8m0 -4H{at(high)}m0 -4v8"
        parts.append(f'<path class="whisker" d="{ends}"/>')
    if not math.isnan(value):
        parts.append(f'<circle cx="{at(value)}" cy="{middle}" r="3"/>')
    series = "" if number is None else f" s{number % SERIES}"
    return Markup(
        f'<svg class="bar{series}" viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def rank_chart(ranks: RanksAcross) -> Markup:
    """Mean ranks with their intervals, best first; bars join what a rank test cannot separate."""
    n = len(ranks.ranks)
    cliques = ranks.test.cliques if ranks.test is not None else ()
    left, right = 170.0, 360.0
    height = 34 + n * _ROW
    place = {rank.model: number for number, rank in enumerate(ranks.ranks)}

    def across(value: float) -> float:
        return left + (value - 1) / max(1, n - 1) * (right - left)

    parts = []
    for number in range(1, n + 1):
        x = _short(across(number))
        parts.append(
            f'<path class="grid" d="M{x} 8V{height - 26}"/>'
            f'<text x="{x}" y="{height - 12}" text-anchor="middle">{number}</text>'
        )
    for number, rank in enumerate(ranks.ranks):
        y = 18 + number * _ROW
        name = escape(_cut(rank.model))
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        if rank.low is not None and rank.high is not None:
            ends = f"M{_short(across(rank.low))} {y}H{_short(across(rank.high))}"
            parts.append(f'<path class="interval" d="{ends}"/>')
        parts.append(
            f'<circle cx="{_short(across(rank.mean_rank))}" cy="{y}" r="4">'
            f"<title>{name}: mean rank {rank.mean_rank:.2f}</title></circle>"
        )
    for number, clique in enumerate(cliques):
        rows = [place[model] for model in clique]
        x = _short(right + 14 + 7 * (number % 5))
        ends = f"M{x} {12 + min(rows) * _ROW}V{24 + max(rows) * _ROW}"
        parts.append(f'<path class="clique" d="{ends}"/>')
    said = ", ".join(f"{rank.model} {rank.mean_rank:.1f}" for rank in ranks.ranks)
    return Markup(
        f'<svg class="chart ranks s0" role="img" viewBox="0 0 400 {height}" '
        f'aria-label="Mean ranks: {escape(plain(said))}">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One upright line of parallel coordinates."""

    name: str
    low: str
    """Text at the lower end."""
    high: str


def parallel_coordinates(
    dimensions: Sequence[Dimension],
    lines: Sequence[tuple[Sequence[float | None], float]],
    title: str,
) -> Markup:
    """Trials as lines over their parameters.

    Args:
        dimensions: The parameters, and the score last.
        lines: Of each trial where it stands in every dimension (0 to 1, None where it has no such
            parameter) and how good it is (0 worst, 1 best), the best last.
        title: What a screen reader says of the chart.
    """
    width, height, top, bottom = 90.0 * max(2, len(dimensions)), 210.0, 34.0, 30.0
    gap = width / max(2, len(dimensions))

    def at(column: int, value: float) -> str:
        down = height - bottom - value * (height - top - bottom)
        return f"{_short(gap / 2 + column * gap)} {_short(down)}"

    parts = []
    for values, goodness in lines:
        pieces: list[list[str]] = [[]]
        for column, value in enumerate(values):
            if value is None:
                pieces.append([])
            else:
                pieces[-1].append(at(column, value))
        path = "".join("M" + "L".join(piece) for piece in pieces if len(piece) > 1)
        if path:
            shade = round(0.12 + 0.88 * goodness**2, 2)
            best = ' class="best"' if goodness == 1 else ""
            parts.append(f'<path{best} opacity="{shade}" d="{path}"/>')
    for column, one in enumerate(dimensions):
        x = gap / 2 + column * gap
        name = _cut(one.name, 14)
        parts.append(
            f'<path class="upright" d="M{at(column, 0)}L{at(column, 1)}"/>'
            f'<text class="axis" x="{_short(x)}" y="12" text-anchor="middle">{escape(name)}</text>'
            f'<text x="{_short(x)}" y="27" text-anchor="middle">{escape(_cut(one.high, 14))}</text>'
            f'<text x="{_short(x)}" y="{_short(height - 12)}" text-anchor="middle">'
            f"{escape(_cut(one.low, 14))}</text>"
        )
    return Markup(
        f'<svg class="chart parallel s0" role="img" viewBox="0 0 {_short(width)} {_short(height)}" '
        f'style="min-width:{_short(width * 0.8)}px" aria-label="{escape(plain(title))}">'
        f"{''.join(parts)}</svg>"
    )


def _look(one: Series) -> str:
    """Class and number of a series, by which it has its colour and can be hidden."""
    dash = f" d{one.number // SERIES}" if one.number >= SERIES else ""
    faint = " faint" if one.faint else ""
    return f'class="series s{one.number % SERIES}{dash}{faint}" data-series="{one.number}"'


def _mark(frame: _Frame, x: float, y: float, text: str) -> str:
    across, down = frame.at(x, y)
    return (
        f'<circle cx="{_short(across)}" cy="{_short(down)}" r="4.5">'
        f"<title>{escape(plain(text))}</title></circle>"
    )


def _cut(text: str, longest: int = _LONGEST_NAME) -> str:
    text = plain(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _short(value: float) -> str:
    """A coordinate to a tenth, without a needless zero."""
    return f"{value:.1f}".removesuffix(".0")


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
