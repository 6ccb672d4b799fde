"""How figures are laid out, named and saved: what every figure of a run shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medbench.files import replacing_file, writing
from medbench.reports.text import plain

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that figures look alike everywhere."""
_DPI = 150
_MARGIN = 0.1
"""Inches around everything that is drawn."""
_LONGEST_NAME = 26
"""Characters of a name that fit beside a figure; the rest is cut off."""


def columns_for(count: int, most: int) -> int:
    """Columns that spread ``count`` plots evenly over the rows that at most ``most`` need."""
    return math.ceil(count / math.ceil(count / most))


def panels_of(
    count: int,
    columns: int,
    width: float,
    height: float,
    layout: Literal["constrained", "compressed"] = "constrained",
    *,
    sharey: bool = False,
) -> tuple[Any, list[Any]]:
    """A figure of ``count`` plots in rows of ``columns``, each of a size in inches.

    It is made outside pyplot, whose global state belongs to the caller.
    """
    from matplotlib.figure import Figure

    rows = math.ceil(count / columns)
    figure = Figure(figsize=(columns * width + 0.6, rows * height + 0.7), layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for unused in panels[count:]:
        unused.remove()
    return figure, list(panels[:count])


def legend_below(figure: Any, kinds: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Put a legend in one row under a figure: each label with the look of its line."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **look) for label, look in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(kinds), frameon=False)


def save(figure: Any, path: Path) -> None:
    """Write a PNG under a temporary name, then rename it."""
    # what a tight box does by itself, without drawing everything a first time for nothing
    figure.dpi = _DPI
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    box = figure.get_tightbbox().padded(_MARGIN)
    with writing(path), replacing_file(path) as temporary:
        # without the name of the software equal figures are equal files
        figure.savefig(
            temporary, format="png", dpi=_DPI, bbox_inches=box, metadata={"Software": None}
        )


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is longer than it may be."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def shown(name: str) -> str:
    """A name as it can be drawn: one line, in characters that the font has, without formulas."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(FONT))
    name = "".join(
        c if font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in plain(name)
    )
    name = cut(name, _LONGEST_NAME).replace("$", r"\$")  # a pair of $ begins a formula
    return f" {name}" if name.startswith("_") else name  # legends leave out names with _
