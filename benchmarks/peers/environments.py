"""Environments of the other systems: made by pip the first time that one is needed."""

from __future__ import annotations

import json
import os
import shutil
import venv
from collections.abc import Sequence
from pathlib import Path

from children import timed

_INSTALLED = "installed.json"
"""Holds, in an environment that is complete, what was asked of pip."""
_INSTALL_SECONDS = 3600.0


def python_of(name: str, requirements: Sequence[str], folder: Path) -> Path:
    """The interpreter of an environment, which is made if it is not there as asked.

    Args:
        name: Of the environment.
        requirements: As pip takes them.
        folder: Where environments are kept.

    Raises:
        SideError: Something cannot be installed.
    """
    place = folder / name
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = place / _INSTALLED
    if stamp.is_file() and json.loads(stamp.read_text()) == list(requirements):
        return python
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    timed(
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
        {"PYTHONPATH": ""},
        python=python,
        limit=_INSTALL_SECONDS,
    )
    stamp.write_text(json.dumps(list(requirements)))
    return python
