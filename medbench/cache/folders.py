"""Where the cache is, and what is said where it cannot be written."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

from medbench.errors import CacheWarning, ConfigurationError, MachineError

VARIABLE = "MEDBENCH_CACHE"
REMEDY = (
    f"Free space or permissions there, or name another folder with the environment variable "
    f"{VARIABLE}."
)
_said: set[Path] = set()
"""Cache folders of which it was said that they cannot be written."""


def cache_folder() -> Path:
    """The folder in ``MEDBENCH_CACHE``, else the user's cache folder of this system.

    Raises:
        ConfigurationError: ``MEDBENCH_CACHE`` begins with the home of somebody who has none here.
    """
    if wanted := os.environ.get(VARIABLE):
        try:
            return Path(wanted).expanduser().resolve()
        except RuntimeError as error:
            raise ConfigurationError(
                f"{VARIABLE}={wanted}: {error} Write the whole path."
            ) from error
    from platformdirs import user_cache_path

    return user_cache_path("medbench")


def temporary_folder() -> Path:
    """This user's own folder in the system's temporary folder, which nobody else may look into.

    Raises:
        OSError: It cannot be made.
        MachineError: Somebody else has made it.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else ""
    folder = Path(tempfile.gettempdir()) / f"medbench{user and '-'}{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    ours = not user or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    if folder.is_symlink() or not ours:
        raise MachineError(
            f"{folder}: is open to others, so no image may be put there. Remove it, name another "
            f"temporary folder with the environment variable TMPDIR, or make it possible to write "
            f"the cache: {REMEDY}"
        )
    return folder


def say_unwritable(error: OSError, folder: Path | None = None) -> None:
    """Say that the cache cannot be written and that things go on without it: once a process.

    Args:
        error: What the system says; also how much space is needed, see ``take_space``.
        folder: Where; the cache itself where None.
    """
    say_once(
        f"{folder or cache_folder()}: the cache cannot be written ({error.strerror or error}). "
        f"Going on without it: what it would have kept is computed again. {REMEDY}"
    )


def say_once(text: str) -> None:
    """As ``say_unwritable``, also what a process of this one says."""
    cache = cache_folder()
    if cache not in _said:
        _said.add(cache)
        warnings.warn(CacheWarning(text), stacklevel=2)
