"""One look for every explanation: the image beside itself under its heat map."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.reports.drawing import FONT
from medbench.reports.text import plain

_WIDTH, _HEIGHT, _DPI = 900, 450, 100
"""Size in pixels, and pixels an inch, as text is measured in points."""
_MARGIN, _GAP, _PANEL = 24, 24, 362
"""Lengths in pixels: around everything, between the panels, and a panel's side."""
_BAR_WIDTH, _BAR_LABELS = 14, 58
_TITLE_TOP, _TITLE_LINE, _SUBTITLE_LINE = 8, 19, 15
_TITLE_SIZE, _TEXT_SIZE = 12.0, 8.5
"""Of fonts, in points."""
_TITLE_LINES, _SUBTITLE_LINES = 1, 2
_LONGEST = 400
"""Characters of a text that are looked at; no more would ever fit."""
_INK, _FAINT = "#1d2733", "#5b6673"

_COLOURS = "viridis"
"""Equal steps look equal, also to the colour-blind and in grey print."""
_OPACITY = 0.65
"""Of the map where it is strongest, so that the image can still be read."""
_FULL_FROM = 0.5
"""From this heat on the map is as opaque as it gets; below, it fades to nothing at 0."""
_SAMPLE_GREY = 110
"""What the colour bar lies on, as the map lies on an image."""


def explanation_picture(
    image: NDArray[np.uint8], heat: NDArray[np.floating[Any]], *, title: str, subtitle: str
) -> bytes:
    """Draw an image as the model sees it, and beside it the same under its heat map.

    The same input gives the same bytes with one version of matplotlib, whatever its settings are.
    It is drawn without pyplot, whose global state belongs to others, so a server may call this
    from several threads.

    Args:
        image: uint8, shape (height, width) or (height, width, channels) with 1 or 3 channels.
        heat: From 0 to 1, shape (height, width).
        title: What was decided, in plain text; shortened where it does not fit.
        subtitle: Anything more, in plain text; takes up to two lines.

    Returns:
        A PNG, 900 x 450 pixels.

    Raises:
        ValueError: The image or the heat map has another shape or type, or values are outside.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pixels, covered = _rgb(image), overlay(image, heat)
    size = (_WIDTH / _DPI, _HEIGHT / _DPI)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white", edgecolor="white")
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    _write_heading(figure, canvas.get_renderer(), title, subtitle)
    left, top = _MARGIN, _HEIGHT - _PANEL - _SUBTITLE_LINE - 6
    right = left + _PANEL + _GAP
    _show(figure, pixels, left, top, _PANEL, _PANEL)
    _show(figure, covered, right, top, _PANEL, _PANEL)
    empty = not np.asarray(heat).any()
    below = top + _PANEL + 3
    _write(figure, "the image as the model sees it", left, below, color=_FAINT)
    told = "no single region stands out" if empty else "regions that speak for the class"
    _write(figure, told, right, below, color=_FAINT)
    _draw_bar(figure, right + _PANEL + 14, top)
    file = io.BytesIO()
    # without the name of the software equal pictures are equal bytes
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The image under its heat map, transparent where the map is 0.

    Args:
        image: As in ``explanation_picture``.
        heat: As in ``explanation_picture``.

    Returns:
        uint8 RGB, shape (height, width, 3).

    Raises:
        ValueError: As ``explanation_picture``.
    """
    pixels, values = _rgb(image), np.asarray(heat, np.float64)
    if values.shape != pixels.shape[:2]:
        raise ValueError(f"heat has shape {values.shape}; the image has {pixels.shape[:2]}.")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("heat must be from 0 to 1 everywhere.")
    table = _colour_table()
    colours = table[np.rint(values * (len(table) - 1)).astype(np.intp)]
    opacity = _OPACITY * np.minimum(values / _FULL_FROM, 1)[..., None]
    mixed: NDArray[np.uint8] = np.rint(pixels + opacity * (colours - pixels)).astype(np.uint8)
    return mixed


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"an image must be uint8 of shape (height, width) or (height, width, 1 or 3); this "
            f"one is {pixels.dtype} of shape {np.shape(image)}."
        )
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


@lru_cache(maxsize=1)
def _colour_table() -> NDArray[np.float64]:
    """Colours from heat 0 to heat 1, 0 to 255, shape (n, 3)."""
    import matplotlib

    colours = matplotlib.colormaps[_COLOURS](np.linspace(0, 1, 256))[:, :3]
    return np.asarray(255 * colours, np.float64)


def _show(
    figure: Any, pixels: NDArray[np.uint8], left: int, top: int, width: int, height: int
) -> Any:
    """Put pixels into a box, as they are: larger, but not smoother than the model sees them."""
    box = (left / _WIDTH, 1 - (top + height) / _HEIGHT, width / _WIDTH, height / _HEIGHT)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="auto", origin="upper", aspect="equal", resample=True)
    return axes


def _draw_bar(figure: Any, left: int, top: int) -> None:
    """The colours from 1 at the top to 0, on grey, as they look on an image."""
    steps = np.linspace(1, 0, _PANEL)[:, None]
    grey = np.full(steps.shape, _SAMPLE_GREY, np.uint8)
    _show(figure, overlay(grey, steps), left, top, _BAR_WIDTH, _PANEL).set_aspect("auto")
    beside = left + _BAR_WIDTH + 5
    _write(figure, "1", beside, top - 1)
    _write(figure, "0", beside, top + _PANEL - 14)
    label = "weight of the evidence, 0 to 1"
    middle = top + _PANEL // 2
    _write(figure, label, beside + 6, middle, rotation=90, va="center", ha="center")


def _write_heading(figure: Any, renderer: Any, title: str, subtitle: str) -> None:
    """Title and subtitle above the panels, in as many lines as there is room for."""
    wide, y = _WIDTH - 2 * _MARGIN, _TITLE_TOP
    for text, size, weight, most, step in (
        (title, _TITLE_SIZE, "bold", _TITLE_LINES, _TITLE_LINE),
        (subtitle, _TEXT_SIZE, "normal", _SUBTITLE_LINES, _SUBTITLE_LINE),
    ):
        font = _font(size, weight)

        def width_of(line: str, font: Any = font) -> float:
            width: float = renderer.get_text_width_height_descent(line, font, ismath=False)[0]
            return width

        for line in fitted_lines(drawable(text), wide, most, width_of):
            color = _INK if weight == "bold" else _FAINT
            _write(figure, line, _MARGIN, y, size=size, weight=weight, color=color)
            y += step


def _write(
    figure: Any,
    text: str,
    left: float,
    top: float,
    *,
    size: float = _TEXT_SIZE,
    weight: str = "normal",
    **look: Any,
) -> None:
    """Write text as it is: a pair of $ in a name is no formula."""
    look = {"color": _INK, "va": "top", "ha": "left", **look}
    figure.text(
        left / _WIDTH,
        1 - top / _HEIGHT,
        text,
        fontproperties=_font(size, weight),
        parse_math=False,
        usetex=False,
        antialiased=True,
        **look,
    )


def _font(size: float, weight: str) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family=[FONT],
        size=size,
        weight=weight,
        style="normal",
        variant="normal",
        stretch="normal",
    )


def drawable(text: str) -> str:
    """One line without control characters, in characters that the font has."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(_font(_TEXT_SIZE, "normal")))
    return "".join(
        c if font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}"
        for c in plain(text[:_LONGEST])
    )


def fitted_lines(text: str, width: float, most: int, width_of: Callable[[str], float]) -> list[str]:
    """Break a text between words, and within one that is too long; the last line is cut off.

    Args:
        text: One line.
        width: What a line may measure.
        most: Number of lines there is room for.
        width_of: Measures a line.

    Returns:
        At most ``most`` lines, none if there is no text.
    """
    lines: list[str] = []
    rest = text
    while rest and len(lines) < most:
        if width_of(rest) <= width:
            return [*lines, rest]
        last = len(lines) == most - 1
        end = "…" if last else ""
        fits = max(1, _longest(rest, end, width, width_of))
        blank = rest.rfind(" ", 1, fits + 1)
        at = blank if blank > 0 and not last else fits
        lines.append(rest[:at].rstrip() + end)
        rest = rest[at:].lstrip()
    return lines


def _longest(text: str, end: str, width: float, width_of: Callable[[str], float]) -> int:
    """Length of the longest beginning of a text that fits together with an end."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(text[:middle] + end) <= width:
            low = middle
        else:
            high = middle - 1
    return low
