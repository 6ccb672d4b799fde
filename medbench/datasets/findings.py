"""What an audit says of a data set: findings, and the words they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["serious", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")
"""Worst first."""
_RECORDED = 1000
"""Row numbers of a finding that are recorded; more are counted."""
_LONGEST_NAME = 40
"""Characters of a class's name in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a reader of results, or the owner of the images, must know."""

    check: str
    """What was looked for: a name that stays the same, as ``"label-conflicts"``."""
    severity: Severity
    """``"serious"``, ``"warning"`` or ``"note"``."""
    text: str
    """One sentence with the numbers; no file names."""
    remedy: str
    """One sentence: what to do."""
    images: tuple[int, ...] = ()
    """Row numbers (from 0) of the images concerned, those of one group side by side; may be
    empty."""
    numbers: Mapping[str, Any]
    """The numbers of the sentence and those behind it, JSON-ready."""

    def as_record(self) -> dict[str, Any]:
        """JSON-ready; ``images`` holds the first 1,000 row numbers and ``n_images`` their count."""
        return {
            "check": self.check,
            "severity": self.severity,
            "text": self.text,
            "remedy": self.remedy,
            "n_images": len(self.images),
            "images": list(self.images[:_RECORDED]),
            "numbers": dict(self.numbers),
        }


def quoted(name: str) -> str:
    """A class's name in quotes, without control characters and not too long."""
    cut = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return repr(cut)


def how_many(n: int, noun: str) -> str:
    """A number and its noun, which takes an s where it is not one."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def enumerated(items: Sequence[str]) -> str:
    """Items as ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
