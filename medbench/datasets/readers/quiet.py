"""Keeps the remarks of a library from the terminal while any thread is inside of it."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Quiet:
    """Silences the warnings and the log of a library, in ``with`` blocks of any threads.

    Filters and levels belong to the process, so the first thread in sets them and the last one
    out restores them; each on its own would restore what another had just set.
    """

    def __init__(self, library: str, *, logs: bool = True) -> None:
        """Nothing is silenced yet.

        Args:
            library: Its top-level module, which its logger is named after.
            logs: Whether it puts remarks into a log too; to turn that off takes far longer than
                to turn warnings off.
        """
        self._library = library
        self._logs = logs
        self._lock = threading.Lock()
        self._inside = 0
        self._state: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._state = self._silenced()
                self._state.__enter__()
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._state.__exit__(None, None, None)

    @contextmanager
    def _silenced(self) -> Iterator[None]:
        logger = logging.getLogger(self._library)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=rf"{re.escape(self._library)}\b")
            if not self._logs:
                yield
                return
            level = logger.level
            logger.setLevel(logging.CRITICAL + 1)
            try:
                yield
            finally:
                logger.setLevel(level)
