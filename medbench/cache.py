"""Where what can be computed again is kept: prepared data sets, features, weights."""

from __future__ import annotations

import os
from pathlib import Path

from medbench.errors import ConfigurationError

VARIABLE = "MEDBENCH_CACHE"


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
