"""Keeps patients out of the names of files: what stands for them there becomes a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_LETTERS = re.compile(r"[^\W_]+")
_FEWEST = 3
"""Of fewer letters and digits an id with a digit is told where a folder or file is called nothing
else; other ids, and parts of a name, are then too common to be told."""


def without_patient(name: str, person: tuple[str, ...], instead: str) -> str:
    """The name of a file without the id and the name of its patient.

    Args:
        name: Relative to the data set, with '/'.
        person: Id and name of the patient, as they stand in the file: ``PGBM-002``, ``Doe^Jane``.
        instead: What stands in their place.
    """
    pattern = _pattern(person)
    return pattern.sub(instead, name) if pattern else name


@lru_cache(maxsize=1 << 14)
def _pattern(person: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds the texts in whatever case and with whatever is between their parts."""
    found = [pattern for text in person for pattern in _patterns(text)]
    return re.compile("|".join(found), re.IGNORECASE) if found else None


def _patterns(text: str) -> Iterable[str]:
    words = [re.escape(word) for word in _LETTERS.findall(text)]
    if not words:
        return
    together = {r"[\W_]*".join(words), r"[\W_]*".join(reversed(words))}
    if len("".join(words)) < _FEWEST:
        if any(c.isdigit() for c in text):
            yield from (rf"(?:(?<=/)|^){whole}(?=/|\.[^/]*$|$)" for whole in together)
        return
    yield from (rf"(?<![^\W_]){whole}(?![^\W_])" for whole in sorted(together))
    if "^" in text or (len(words) > 1 and not any(c.isdigit() for c in text)):
        yield from (rf"(?<![^\W_]){word}(?![^\W_])" for word in words if len(word) >= _FEWEST)
