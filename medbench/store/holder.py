"""Who is at work in a run folder: one process at a time, with its host and start beside the lock.

The lock ends with its process, however that ends. On a disk that several machines share it may
reach no further than one of them. So where the holder is of another machine and has not taken his
name away, nobody takes his place: a person who knows that he is gone removes the file. Containers
on one machine have names of their own and one running system, by which it is known that they are.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from medbench.atomic_files import read_json, write_json, writing
from medbench.errors import StoreError
from medbench.store.layout import RunLayout

_WAIT_SECONDS = 1.0
"""Who reads a run takes its lock for a moment to see whether somebody works there, and a run that
starts at that moment must not be refused."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a run folder."""

    host: str
    pid: int
    since: str
    """When he began, ISO 8601 with the offset of his clock."""
    system: str | None = None
    """A random number of the running system, the same in all its containers; None if unknown."""

    @classmethod
    def this_process(cls) -> Holder:
        """This process, from now on."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(host=platform.node(), pid=os.getpid(), since=now, system=_running_system())

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Who is named in a file; None where nobody is, or it cannot be read."""
        try:
            found = read_json(path)
            holder = cls(
                host=str(found["host"]),
                pid=int(found["pid"]),
                since=str(found["since"]),
                system=found.get("system"),
            )
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
        here = _running_system()
        return self.host != platform.node() and (here is None or self.system != here)

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended."""
        if self.host != platform.node() or not hasattr(os, "killpg"):
            return False  # of another container, or Windows, which has no such question
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


@contextlib.contextmanager
def held(layout: RunLayout) -> Iterator[None]:
    """Hold a run folder, which is made where it is not there.

    Raises:
        StoreError: Another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    folder = layout.folder
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file, not a folder.")
    with contextlib.ExitStack() as stack:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(layout.lock, timeout=_WAIT_SECONDS))
            except Timeout:
                raise _in_use(layout) from None
        before = Holder.read(layout.holder)
        if before is not None and before.is_elsewhere:
            raise StoreError(
                f"a run on another machine has been at work in {folder} {before}, and nobody can "
                f"tell from here whether it still is. If it has ended, remove {layout.holder} and "
                "give the same command again.",
                options={"--out": "names another folder"},
            )
        Holder.this_process().write(layout.holder)
        stack.callback(_forget, layout.holder)
        yield


def is_held(layout: RunLayout) -> bool:
    """Whether a process holds a run folder right now; nothing is written to find out."""
    from filelock import FileLock, Timeout

    if not layout.lock.exists():
        return False
    try:
        with FileLock(layout.lock, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # of a folder that cannot be written, such as a CD
        return False


def _in_use(layout: RunLayout) -> StoreError:
    holder = Holder.read(layout.holder)
    known = "" if holder is None or holder.is_gone else f" {holder}"
    return StoreError(
        f"another run is at work in {layout.folder}{known}. Wait for it.",
        options={"--out": "names another folder"},
    )


def _running_system() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _forget(path: Path) -> None:
    """Take the name away; where that is not possible it is that of a process that is gone."""
    with contextlib.suppress(OSError):
        path.unlink()
