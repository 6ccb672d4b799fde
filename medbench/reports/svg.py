"""A figure of matplotlib as a part of the page: small, and in the colours of its style sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup, escape

_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LEFT_OUT = ("metadata", "style")
_KEPT = ("d", "x", "y", "transform", "href", "id")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """What the page knows of something that is drawn."""

    series: int | None = None
    """Number of the model, by which the reader shows and hides it."""
    title: str = ""
    """Shown on hovering."""
    each: Sequence[str] = ()
    """Shown on hovering over single marks."""


def for_page(
    svg: str,
    title: str,
    size: tuple[float, float],
    tags: Sequence[Tag],
    colours: Mapping[str, str],
    *,
    wide: bool = False,
) -> Markup:
    """The drawing without what a page has no use for.

    Args:
        svg: A file of matplotlib, with text as text. Groups called ``tag-0``, ``tag-1`` and so on
            are of the tags in their order.
        title: What a screen reader says of it.
        size: Width and height of what is shown, from the upper left corner.
        tags: See there.
        colours: Name in the style sheet of each colour, by its ``#rrggbb``.
        wide: Whether it is scrolled sideways where there is little room, instead of made small.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - of our own making
    inside = "".join(_element(child, tags, colours) for child in root)
    width, height = size
    shape = f'class="chart wide" style="min-width:{0.8 * width:g}px"' if wide else 'class="chart"'
    return Markup(
        f'<svg {shape} viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{inside}</svg>'
    )


def _element(node: ElementTree.Element, tags: Sequence[Tag], colours: Mapping[str, str]) -> str:
    """An element as text: coordinates to a tenth, no group without a purpose."""
    name = node.tag.rpartition("}")[2]
    if name in _LEFT_OUT:
        return ""
    attributes = _attributes(node, name, colours)
    tag = None
    if name == "g":
        identity = attributes.pop("id", "")
        if identity.startswith("tag-"):
            tag = tags[int(identity[4:])]
            node = _with_titles(node, tag)
    inside = str(escape(node.text or "")).strip()
    inside += "".join(_element(child, tags, colours) for child in node)
    if tag is not None:
        if tag.title:
            inside = f"<title>{escape(tag.title)}</title>{inside}"
        if tag.series is not None:
            attributes |= {"class": "series", "data-series": str(tag.series)}
    if name in ("g", "defs") and (not inside or (name == "g" and not attributes and not tag)):
        return inside
    said = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{inside}</{name}>"


def _attributes(node: ElementTree.Element, name: str, colours: Mapping[str, str]) -> dict[str, str]:
    found = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    kept = {key: " ".join(_tenths(found[key]).split()) for key in _KEPT if key in found}
    if kept.get("transform", "").startswith("rotate(-0 "):
        del kept["transform"]
    looks = dict(one.split(": ", 1) for one in found.get("style", "").split("; ") if ": " in one)
    if name == "text":  # its font is the page's
        looks = {key: value for key, value in looks.items() if not key.startswith("font")}
    words = ";".join(f"{key}:{value}" for key, value in looks.items())
    words = _COLOUR.sub(
        lambda colour: f"var(--{colours[colour[0]]})" if colour[0] in colours else colour[0], words
    )
    return kept | ({"style": words} if words else {})


def _tenths(value: str) -> str:
    return _NUMBER.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), value)


def _with_titles(group: ElementTree.Element, tag: Tag) -> ElementTree.Element:
    """Marks with the words that are shown on hovering over them."""
    marks = [node for node in group.iter() if node.tag.endswith("}use")]
    for mark, words in zip(marks, tag.each, strict=False):
        ElementTree.SubElement(mark, "title").text = words
    return group
