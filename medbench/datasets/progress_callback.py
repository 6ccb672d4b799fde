"""How far a long step is, said now and then, so that nobody takes it for hung."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
ProgressCallback = Callable[[str], None]
"""Shows a line to the user."""
_FIRST_SECONDS, _EVERY_SECONDS = 3.0, 10.0
"""When the first line is said of a step that is not over by then, and how often another."""


def no_progress(text: str) -> None:
    """Shows nothing."""


def with_progress(items: Iterable[T], n: int, step: str, say: ProgressCallback) -> Iterator[T]:
    """The items as they come; of a long step says which share is done.

    Args:
        items: What comes one by one.
        n: How many there will be.
        step: What is done, in words: ``"decoding images"``.
        say: Shows a line.
    """
    due = time.monotonic() + _FIRST_SECONDS
    for done, item in enumerate(items):
        if time.monotonic() >= due:
            due = time.monotonic() + _EVERY_SECONDS
            say(f"{step}: {done / n:.0%}")
        yield item
