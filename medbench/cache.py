"""Where what can be computed again is kept: prepared data sets, features, weights."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "MEDBENCH_CACHE"


def cache_folder() -> Path:
    """The folder in ``MEDBENCH_CACHE``, else the user's cache folder of this system."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("medbench")
