"""A score with its interval, drawn in a cell of a table."""

from __future__ import annotations

import math

from markupsafe import Markup

_WIDTH, _HEIGHT = 160, 16


def interval_bar(value: float, low: float, high: float, start: float) -> Markup:
    """A score with its interval on a scale from ``start`` to 1, small enough for a table's cell.

    What is not known (NaN) is not drawn. The scale begins at ``start`` for all rows alike; a line
    marks .5.
    """

    def at(v: float) -> str:
        return _short(4 + (min(max(v, start), 1) - start) / (1 - start) * (_WIDTH - 8))

    middle = _HEIGHT / 2
    parts = [f'<path class="grid" d="M{at(0.5)} 1V{_HEIGHT - 1}"/>']
    if not (math.isnan(low) or math.isnan(high)):
        ends = f"M{at(low)} {middle - 4}v8m0 -4H{at(high)}m0 -4v8"
        parts.append(f'<path class="whisker" d="{ends}"/>')
    if not math.isnan(value):
        parts.append(f'<circle cx="{at(value)}" cy="{middle}" r="3"/>')
    return Markup(
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _short(value: float) -> str:
    """A coordinate to a tenth, without a needless zero."""
    return f"{value:.1f}".removesuffix(".0")
