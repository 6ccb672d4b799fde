"""What every figure is drawn on: one drawing gives the SVG of the page and the PNG beside it."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from medbench.atomic_files import replacing_file, writing
from medbench.reports.svg import Tag, for_page
from medbench.reports.text import plain

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that files look alike everywhere; the page has a font of its own."""
_TEXT_SIZE = 11.0
"""As in the page's style sheet."""
COLOURS = {
    **{"paper": "#ffffff", "ink": "#16202b", "faint": "#55626f", "line": "#d6dde4"},
    **{"s0": "#0072b2", "s1": "#f26924", "s2": "#593a3a", "s3": "#a63700", "s4": "#3a3a59"},
    **{"s5": "#a67f6c", "s6": "#1f1fcc", "s7": "#6191f2", "s8": "#806253", "s9": "#800000"},
}
"""By their names in the page's style sheet, which gives them again and has others for the dark."""
SERIES = 10
"""Colours of models, ``s0`` to ``s9``; further models repeat them with other widths."""
_DASHES: tuple[Any, ...] = ("-", (0, (3.5, 1.5)), (0, (1, 1.5)), (0, (4.5, 1.5, 1, 1.5)))
_WIDTHS = (2.0, 1.2, 3.2)
_DPI = 150
_UNITS_AN_INCH = 72.0
_LIGHTLY = 3
"""How hard PNG is compressed: twice as fast as usual, for a tenth more bytes."""
UNITS_A_CHARACTER = 7.0
"""Width of a character of text, of capitals and small letters together."""
_LONGEST_NAME = 26
"""Characters of a name that fit beside a figure; the rest is cut off."""

Point = tuple[float, float]
Anchor = Literal["left", "center", "right"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a line is drawn; the same model looks alike in all figures of a data set."""

    colour: str
    """A name of ``COLOURS``."""
    width: float = 2.0
    dash: Any = "-"
    opacity: float = 1.0
    mark: str = ""
    """A marker of matplotlib at every point; empty for none."""
    mark_size: float = 9.0
    line: bool = True
    """False where only the marks are drawn."""


def series_look(number: int) -> Look:
    """Colour, dash and width of a model by its place in the leaderboard."""
    return Look(
        colour=f"s{number % SERIES}",
        width=_WIDTHS[number // SERIES % len(_WIDTHS)],
        dash=_DASHES[number % len(_DASHES)],
    )


class Canvas:
    """A matplotlib figure with its origin in the upper left corner and pixels of the page as unit.

    Everything is put where it belongs, so that nothing has to be measured and drawn again as
    layouts do, which took most of the time of a figure. What is drawn later lies on top.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        # made outside pyplot, whose global state belongs to the caller
        size = (width / _UNITS_AN_INCH, height / _UNITS_AN_INCH)
        self.figure = Figure(figsize=size, dpi=_UNITS_AN_INCH)
        self.tags: list[Tag] = []
        self._transform = (
            Affine2D().scale(1 / _UNITS_AN_INCH, -1 / _UNITS_AN_INCH).translate(0, size[1])
            + self.figure.dpi_scale_trans
        )

    def line(
        self, points: Sequence[Point], look: Look, *, step: bool = False, tag: Tag | None = None
    ) -> None:
        """A line through points, marks at them, or both."""
        from matplotlib.lines import Line2D

        xs, ys = zip(*points, strict=True) if points else ((), ())
        colour = COLOURS[look.colour]
        self._add(
            Line2D(
                xs,
                ys,
                color=colour,
                linewidth=look.width,
                linestyle=look.dash if look.line else "",
                drawstyle="steps-post" if step else "default",
                alpha=look.opacity if look.opacity < 1 else None,
                marker=look.mark or None,
                markersize=look.mark_size,
                markeredgewidth=1.5 if look.mark == "x" else 0,
                solid_capstyle="butt",
                solid_joinstyle="round",
                dash_capstyle="butt",
            ),
            tag,
        )

    def grid(self, lines: Sequence[Sequence[Point]]) -> None:
        """Thin lines behind everything that is drawn after them."""
        from matplotlib.collections import LineCollection

        self._add(LineCollection(lines, colors=COLOURS["line"], linewidths=1.0))

    def bundle(
        self, lines: Sequence[Sequence[Point]], colour: str, opacities: Sequence[float]
    ) -> None:
        """Many thin lines of one colour, the last one thicker."""
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba

        colours = [to_rgba(COLOURS[colour], opacity) for opacity in opacities]
        widths = [1.2] * (len(lines) - 1) + [3.0]
        self._add(LineCollection(lines, colors=colours, linewidths=widths))

    def area(
        self, points: Sequence[Point], colour: str, opacity: float, tag: Tag | None = None
    ) -> None:
        """A shaded shape without an edge."""
        from matplotlib.patches import Polygon

        shape = Polygon(points, facecolor=COLOURS[colour], alpha=opacity, linewidth=0)
        self._add(shape, tag)

    def text(
        self,
        at: Point,
        words: str,
        *,
        anchor: Anchor = "left",
        colour: str = "faint",
        upwards: bool = False,
    ) -> None:
        """One line of text on its baseline, drawn as it is given."""
        from matplotlib.text import Text

        self._add(
            Text(
                *at,
                words,
                ha=anchor,
                va="baseline",
                color=COLOURS[colour],
                rotation=90 if upwards else 0,
                rotation_mode="anchor",
            )
        )

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes of matplotlib in a rectangle, for what other libraries draw."""
        inches = self.figure.get_size_inches() * _UNITS_AN_INCH
        bottom = inches[1] - top - height
        box = (left / inches[0], bottom / inches[1], width / inches[0], height / inches[1])
        return self.figure.add_axes(box)

    def _add(self, artist: Any, tag: Tag | None = None) -> None:
        artist.set_transform(self._transform)
        artist.set_zorder(1)
        if tag is not None:
            artist.set_gid(f"tag-{len(self.tags)}")
            self.tags.append(tag)
        self.figure.add_artist(artist)


@dataclass(frozen=True, kw_only=True)
class Aside:
    """What stands on the right of a figure in its file alone, such as a key."""

    width: float
    height: float
    draw: Callable[[Canvas], None]
    """Draws it, on the canvas of the figure."""


class Drawing:
    """One figure: what it shows, and how it is drawn when the page or a file asks for it.

    It is drawn once where its file is written before the page is made, as a run does.
    """

    def __init__(
        self,
        name: str,
        title: str,
        size: tuple[float, float],
        draw: Callable[[Canvas], None],
        *,
        aside: Aside | None = None,
        wide: bool = False,
    ) -> None:
        """Note how a figure is drawn.

        Args:
            name: Tells it from the other figures of a page.
            title: What a screen reader says of it.
            size: Width and height in pixels of the page.
            draw: Draws it.
            aside: What the file has and the page has not.
            wide: Whether the page lets it be scrolled sideways instead of making it small.
        """
        self.title = plain(title)
        self._name, self._size, self._draw = name, size, draw
        self._aside, self._wide = aside, wide
        self._svg: Markup | None = None

    @property
    def svg(self) -> Markup:
        """The figure as a part of the page."""
        if self._svg is None:
            with style_of_figures(self._name):
                self._svg = self._for_page(self._drawn())
        return self._svg

    def write_png(self, path: Path) -> None:
        """Write the file under a temporary name, then rename it.

        Raises:
            StoreError: It cannot be written.
        """
        with style_of_figures(self._name):
            canvas = self._drawn()
            self._svg = self._for_page(canvas)
            if self._aside is not None:
                self._aside.draw(canvas)
            save(canvas.figure, path)

    def _drawn(self) -> Canvas:
        width, height = self._size
        if self._aside is not None:
            width, height = width + self._aside.width, max(height, self._aside.height)
        canvas = Canvas(width, height)
        self._draw(canvas)
        return canvas

    def _for_page(self, canvas: Canvas) -> Markup:
        content = io.StringIO()
        canvas.figure.patch.set_visible(False)
        canvas.figure.savefig(content, format="svg", metadata={"Date": None})
        canvas.figure.patch.set_visible(True)
        names = {value: name for name, value in COLOURS.items()}
        return for_page(
            content.getvalue(), self.title, self._size, canvas.tags, names, wide=self._wide
        )


def save(figure: Any, path: Path) -> None:
    """Write a PNG under a temporary name, then rename it.

    Raises:
        StoreError: It cannot be written.
    """
    with writing(path), replacing_file(path) as temporary:
        # without the name of the software equal figures are equal files
        figure.savefig(
            temporary,
            format="png",
            dpi=_DPI,
            facecolor=COLOURS["paper"],
            metadata={"Software": None},
            pil_kwargs={"compress_level": _LIGHTLY},
        )


@contextlib.contextmanager
def style_of_figures(salt: str = "") -> Iterator[None]:
    """Settings of everything that is drawn, whatever the caller's are.

    Args:
        salt: What tells the names within one SVG from those within another on the same page.
    """
    import matplotlib

    style = {
        **{"font.family": [FONT], "font.size": _TEXT_SIZE, "text.parse_math": False},
        **{"savefig.bbox": "standard", "savefig.transparent": False, "text.usetex": False},
        **{key: COLOURS["ink"] for key in ("xtick.color", "ytick.color", "axes.labelcolor")},
        **{"text.hinting": "none", "text.antialiased": True, "path.simplify": True},
        **{"path.effects": [], "path.sketch": None, "lines.scale_dashes": True},
        **{"svg.fonttype": "none", "svg.hashsalt": salt or "medbench", "svg.id": None},
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # a browser has letters that the font of the files lacks: these show an empty box
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is longer than it may be."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def shown(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name from outside as it can be drawn: one short line."""
    return cut(plain(name), longest)
