"""Several labels in one cell of a table, with a mark between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_MARKS = ("|", ";", ",", "+", "&")
"""What may stand between several labels of a cell."""


def joined_by(values: Sequence[str]) -> str | None:
    """What stands between several labels in a cell; None where each cell has one label.

    A bar is always taken for such; other marks only where at least half of the parts are labels
    of their own in other cells, so that "normal, benign" stays one label.
    """
    for mark in _MARKS:
        parts = {value: split_labels(value, mark) for value in values if mark in value}
        joined = [own for own in parts.values() if len(own) > 1]
        if not joined:
            continue
        often = Counter(part for own in joined for part in own)
        alone = {own[0] for value in values if len(own := split_labels(value, mark)) == 1}
        known = [part for part, n in often.items() if n > 1 or part in alone]
        if mark == "|" or 2 * len(known) >= len(often):
            return mark
    return None


def split_labels(value: str, mark: str) -> tuple[str, ...]:
    """The labels that a cell joins, each once; of a list in brackets those in it."""
    if value.startswith("[") and value.endswith("]"):
        value = value.translate(str.maketrans("", "", "[]'\""))
    return tuple(dict.fromkeys(part for text in value.split(mark) if (part := text.strip())))
