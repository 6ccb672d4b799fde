"""Who is at work in a run folder: host, process and start, beside the lock that he holds."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from medbench.errors import StoreError
from medbench.files import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a run folder."""

    host: str
    pid: int
    since: str
    """When he began, ISO 8601 with the offset of his clock."""

    @classmethod
    def this_process(cls) -> Holder:
        """This process, from now on."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(host=platform.node(), pid=os.getpid(), since=now)

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Who is named in a file; None where nobody is, or it cannot be read."""
        try:
            found = read_json(path)
            holder = cls(host=str(found["host"]), pid=int(found["pid"]), since=str(found["since"]))
            datetime.fromisoformat(holder.since)
        except (StoreError, TypeError, ValueError, KeyError):
            return None
        return holder

    def write(self, path: Path) -> None:
        """Name it in a file.

        Raises:
            StoreError: It cannot be written.
        """
        write_json(path, asdict(self))

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is of another machine, so that nobody here knows whether it still runs."""
        return self.host != platform.node()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended."""
        if self.is_elsewhere or not hasattr(os, "killpg"):  # Windows has no such question
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # of another user
            return False
        return False

    def __str__(self) -> str:
        began = datetime.fromisoformat(self.since).astimezone()
        today = began.date() == datetime.now().astimezone().date()
        when = began.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
        return f"since {when} (pid {self.pid} on host {self.host})"
