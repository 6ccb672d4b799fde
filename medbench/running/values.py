"""The values that options take, as people write them, on the command line and in Python.

Each function takes a value as it is given and returns it as it is used; it raises
``ConfigurationError``, without the name of the option, for one that cannot be.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from medbench.byte_sizes import size_in_bytes
from medbench.counts import LONGEST_SECONDS
from medbench.errors import ConfigurationError

Check = Callable[[Any], Any]

_SHOWN = 60
"""Characters of a value in a message."""
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def word(value: Any) -> str:
    """A text, such as a name."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{_cut(value)} is no text")
    return value


def path(value: Any) -> Path:
    """A file or a folder; ``~`` is the user's own."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ConfigurationError(f"{_cut(value)} is no path; give a text or a pathlib.Path")
    if "\0" in os.fspath(value):
        raise ConfigurationError(f"{_cut(value)} is no path; it holds a null character")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # of a user whom nobody knows
        return Path(value)


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{_cut(value)} is neither True nor False")
    return value


def number(value: Any) -> float:
    """A number; what it may be is said where it is used."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"invalid float value: {_cut(value)}") from None


def list_of(check: Check, *, least: int = 0) -> Check:
    """Several values that ``check`` takes, at least ``least``; one alone is a list of one."""

    def check_all(value: Any) -> tuple[Any, ...]:
        alone = isinstance(value, str | bytes | os.PathLike | Mapping)
        if alone or not isinstance(value, Iterable):
            value = (value,)
        found = tuple(map(check, value))
        if len(found) < least:
            raise ConfigurationError("expected at least one argument")
        return found

    return check_all


def one_of(choices: tuple[str, ...], *, if_true: str | None = None) -> Check:
    """One of some texts; True stands for ``if_true``, and False for none, where that is given."""

    def check(value: Any) -> str | None:
        if if_true is not None and isinstance(value, bool):
            return if_true if value else None
        if not isinstance(value, str) or value not in choices:
            valid = ", ".join(map(repr, choices))
            raise ConfigurationError(f"invalid choice: {_cut(value)} (choose from {valid})")
        return value

    return check


def duration(value: Any) -> float:
    """Seconds, above 0 and up to a year, of ``90``, ``90s``, ``2m``, ``1h`` or ``1m 30s``."""
    if isinstance(value, str):
        seconds = _seconds_of(value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{_cut(value)} is no duration; write 90s, 2m or 1h")
    else:
        seconds = float(value) if math.isfinite(value) else math.inf
    if not seconds:
        raise ConfigurationError(f"{_cut(value)} is no time at all; write 90s, 2m or 1h")
    if seconds > LONGEST_SECONDS:
        most = f"{LONGEST_SECONDS // 3600}h"
        raise ConfigurationError(f"{_cut(value)} is above a year; write at most {most}")
    return seconds


def _seconds_of(text: str) -> float:
    parts = [_PART.fullmatch(part) for part in re.findall(r"[\d.]+\s*[a-z]*|\S+", text.lower())]
    units = [part and part[2] for part in parts]
    if not parts or not set(units) <= set(_UNITS) or (len(parts) > 1 and "" in units):
        raise ConfigurationError(f"{_cut(text)} is no duration; write 90s, 2m or 1h")
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts if part)


def size(value: Any) -> int:
    """Bytes, above 0, of ``500MB`` or ``4GB``; a whole number, which no text is, is of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        n_bytes: int | None = value
    else:
        n_bytes = size_in_bytes(value) if isinstance(value, str) else None
    if n_bytes is None or n_bytes <= 0:
        raise ConfigurationError(f"{_cut(value)} is no size; write 500MB or 4GB")
    return n_bytes


def whole(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``, which is beyond what is sane; or the text of one.

    Nothing that a run does with a number is done before it has passed here.
    """

    def check(value: Any) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            found = int(value) if isinstance(value, str) else operator.index(value)
        except (TypeError, ValueError):  # also thousands of digits
            found = low - 1
        if not low <= found <= high:
            raise ConfigurationError(f"{_cut(value)} is not a whole number from {low} to {high}")
        return found

    return check


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return repr(text) if isinstance(value, str) else text
