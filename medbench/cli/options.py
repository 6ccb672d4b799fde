"""Options that several verbs share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """``--plugin``."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file that registers models, sources or tuners (may be repeated)",
    )


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """``--data-dir`` and ``--datasets-file``."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where the images of registered data sets are (or set MEDBENCH_DATA)",
    )
    parser.add_argument(
        "--datasets-file", type=Path, metavar="YAML", help="more data sets to register"
    )


def add_images(parser: argparse._ActionsContainer) -> None:
    """``--images`` and ``--no-images``: True, False, or None for what the licences allow."""
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="show images on the page (default: of data sets whose licence lets them be passed on)",
    )


def duration(text: str) -> float:
    """Seconds, above 0, of ``90``, ``90s``, ``2m`` or ``1h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 2m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def whole(low: int) -> type:
    """A type for argparse: a whole number of at least ``low``."""

    class Whole(int):
        def __new__(cls, text: str) -> Whole:
            try:
                value = int(text)
            except ValueError:
                value = low - 1
            if value < low:
                raise argparse.ArgumentTypeError(
                    f"{text!r} is not a whole number of at least {low}"
                )
            return super().__new__(cls, value)

    return Whole
