"""Words that people write in several ways: with other blanks, another case or number format."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Hashable, Iterable, Mapping

from medbench.datasets.findings import how_many
from medbench.errors import DatasetError

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "?"})
"""What stands in a cell that says nothing, in lower case; ``n/a`` is the word of BIDS."""
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\s_-]+(?=\d)")
_LISTED = 8
"""Values in a message; more are counted."""


def spelling(text: str) -> Hashable:
    """What all ways to write a word have in common.

    So have Benign and benign, no-finding and No Finding, 1 and 1.0.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold().strip()
    if text[-1:].isdigit() and _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    if text.isalnum():
        return text
    return re.sub(r"(?<!^)[\s_-]+", "", _BETWEEN_DIGITS.sub(".", text))


def is_missing(text: str) -> bool:
    """Whether a cell says that there is nothing to say."""
    return text.strip().lower() in MISSING


def alike(words: Iterable[str]) -> list[list[str]]:
    """Words that are spelled in several ways, together; those of one spelling are left out."""
    together: dict[Hashable, list[str]] = {}
    for word in dict.fromkeys(words):
        together.setdefault(spelling(word), []).append(word)
    return [ways for ways in together.values() if len(ways) > 1]


def refuse_spellings(counts: Mapping[str, int], named: Collection[str], *, named_in: str) -> None:
    """Refuse classes that are spelled alike, unless a person named them.

    Args:
        counts: Images of each class.
        named: The classes that a person named.
        named_in: What they are and where, for the message: "dogs: the class folders".

    Raises:
        DatasetError: There are such; all are named, with their counts.
    """
    for ways in alike(counts):
        if not set(ways) <= set(named):
            each = " and ".join(f"{name!r} ({how_many(counts[name], 'image')})" for name in ways)
            raise DatasetError(
                f"{named_in} {each} differ in capitals, blanks, dashes or number format only. "
                "Give them one name; if they are different classes, list each in the field classes."
            )


def counted(counts: Mapping[str, int]) -> str:
    """Values with how often each is there, the most frequent first: ``'Benign' 6, 'benign' 5``."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    more = f" and {len(ordered) - _LISTED} other values" if len(ordered) > _LISTED else ""
    return ", ".join(f"{value!r} {n}" for value, n in ordered[:_LISTED]) + more
