"""How much memory this process may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_CONTAINERS = Path("/sys/fs/cgroup")
_MEMORY, _OWN = Path("/proc/meminfo"), Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Bytes that this process may use, also where others use them now; None where it is unknown.

    The least of what the machine has and what its container, or one around that, allows; what is
    swapped out is not counted. Known on Linux only.
    """
    return min([*_of_machine(), *_of_containers()], default=None)


def _of_machine() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for line in _MEMORY.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemTotal":
                yield int(amount.split()[0]) * 1024


def _of_containers() -> Iterator[int]:
    """Of both versions of control groups; ``max`` or a huge number is no limit."""
    with contextlib.suppress(OSError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = _CONTAINERS / controllers
                name = "memory.limit_in_bytes" if controllers else "memory.max"
                own = root / path.strip("/")
                # a container may see its own group as the root, under a path of outside
                for folder in (own, *own.parents):
                    if folder == root.parent:
                        break
                    with contextlib.suppress(OSError, ValueError):
                        yield int((folder / name).read_text())
