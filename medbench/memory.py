"""How much memory this process may use: that of the machine, or less where a container has less."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_CONTAINERS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def total_memory() -> int:
    """Bytes that this process may use, also where others use them now.

    The least of what the machine has and what its container, or one around that, allows; what is
    swapped out is not counted.
    """
    import psutil

    total: int = psutil.virtual_memory().total
    return min([total, *(limit for limit, _ in _of_containers())])


def available_memory() -> int:
    """Bytes of ``total_memory`` that are not in use, at least 0.

    Copies of files, which the system gives up where it needs their memory, are not in use.
    """
    import psutil

    available: int = psutil.virtual_memory().available
    return max(0, min([available, *(limit - used for limit, used in _of_containers())]))


def _of_containers() -> Iterator[tuple[int, int]]:
    """Bytes that each container allows, and those in use there; psutil tells of the machine only.

    Of both versions of control groups; ``max`` or a huge number is no limit.
    """
    with contextlib.suppress(OSError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = _CONTAINERS / controllers
                own = root / path.strip("/")
                # a container may see its own group as the root, under a path of outside
                for folder in (own, *own.parents):
                    if folder == root.parent:
                        break
                    yield from _of_group(folder, first_version=bool(controllers))


def _of_group(folder: Path, *, first_version: bool) -> Iterator[tuple[int, int]]:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, usage, files = (
        names if first_version else ("memory.max", "memory.current", "inactive_file")
    )
    with contextlib.suppress(OSError, ValueError):
        allowed = int((folder / limit).read_text())
        used = 0
        with contextlib.suppress(OSError, ValueError):
            used = int((folder / usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            used -= int(dict(line.split(" ", 1) for line in lines).get(files, 0))
        yield allowed, used
