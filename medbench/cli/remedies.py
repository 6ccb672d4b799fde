"""What an error says to do, in the words of the verb that prints it."""

from __future__ import annotations

import argparse

from medbench.errors import MedBenchError, SliceError

_SLICE = "--slice"


def message(error: MedBenchError, options: argparse.Namespace) -> str:
    """The message of an error, with those of its options that the verb has.

    Args:
        error: What was raised, or kept beside an image that could not be read.
        options: The command line, as the verb understands it.
    """
    if isinstance(error, SliceError):
        return error.in_words(f"{_SLICE} N") if has(options, _SLICE) else str(error)
    remedies = [f"{name} {does}." for name, does in error.options.items() if has(options, name)]
    return " ".join([str(error), *remedies])


def has(options: argparse.Namespace, name: str) -> bool:
    """Whether the verb has an option, by its name with the dashes."""
    return hasattr(options, name.removeprefix("--").replace("-", "_"))
