"""Writes the figures of a benchmark into its page in ``docs``, between two marker lines."""

from __future__ import annotations

from pathlib import Path


class MarkerError(Exception):
    """A page has no place for the figures."""


def write_between_markers(page: Path, name: str, content: str) -> None:
    """Replace what stands between ``<!-- NAME table begins -->`` and ``<!-- NAME table ends -->``.

    Raises:
        MarkerError: The page does not have both, in order.
    """
    begin, end = f"<!-- {name} table begins -->", f"<!-- {name} table ends -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise MarkerError(f"{page}: has no lines {begin} and {end} to write between. Add them.")
    page.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")
