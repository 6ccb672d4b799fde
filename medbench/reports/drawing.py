"""How figures are laid out, named and saved: what every figure of a run shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.files import replacing_file, writing
from medbench.reports.text import plain

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that figures look alike everywhere."""
_GREY, _LIGHT = ".15", ".8"
STYLE: Mapping[str, Any] = {
    "font.family": [FONT],
    "figure.facecolor": "white",
    "text.color": _GREY,
    "axes.facecolor": "white",
    "axes.edgecolor": _LIGHT,
    "axes.labelcolor": _GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linestyle": "-",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    **{f"axes.spines.{side}": True for side in ("left", "bottom", "right", "top")},
    **{f"{axis}tick.color": _GREY for axis in "xy"},
    **{f"{axis}tick.direction": "out" for axis in "xy"},
    **dict.fromkeys(("xtick.top", "xtick.bottom", "ytick.left", "ytick.right"), False),
}
"""Settings of matplotlib: the white grid of seaborn, whose import took as long as all figures."""
PALETTE = (
    *("#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC"),
    *("#CA9161", "#FBAFE4", "#949494", "#ECE133", "#56B4E9"),
)
"""Colours that are told apart with every colour vision: seaborn's ``colorblind``."""
_DARK = 0.408
"""Relative luminance from which on black text is read more easily than white (WCAG 2)."""
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


def heatmap(
    axes: Any,
    values: NDArray[np.float64],
    limits: tuple[float, float],
    *,
    xticklabels: Sequence[str],
    yticklabels: Sequence[str],
    text: NDArray[np.str_] | None,
    fontsize: int,
    linewidth: float,
) -> Any:
    """Draw a matrix as coloured cells, the first row on top.

    Args:
        axes: Where it is drawn.
        values: Shape (rows, columns); NaN leaves a cell empty.
        limits: Values of the lightest and the darkest colour.
        xticklabels: A label for each column.
        yticklabels: A label for each row, or none at all.
        text: What stands in each cell, shape (rows, columns); None for nothing.
        fontsize: Of that, in points.
        linewidth: Of the white lines between cells, in points.

    Returns:
        The drawn cells, for a colour bar.
    """
    rows, columns = values.shape
    axes.spines[:].set_visible(False)
    shown = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(
        shown,
        cmap="Blues",
        vmin=limits[0],
        vmax=limits[1],
        linewidths=linewidth,
        edgecolor="white",
    )
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_xticks(np.arange(columns) + 0.5, xticklabels)
    axes.set_yticks(np.arange(len(yticklabels)) + 0.5, yticklabels, va="center")
    if text is not None:
        mesh.update_scalarmappable()
        colours = mesh.get_facecolors()[:, :3]
        linear = np.where(colours <= 0.03928, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        light = (linear @ [0.2126, 0.7152, 0.0722] > _DARK).reshape(values.shape)
        for row, column in np.argwhere(~np.ma.getmaskarray(shown)):
            axes.text(
                column + 0.5,
                row + 0.5,
                text[row, column],
                color=_GREY if light[row, column] else "w",
                ha="center",
                va="center",
                fontsize=fontsize,
            )
    return mesh


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
