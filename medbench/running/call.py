"""What every call from Python has in common: where it may be made, and what its errors say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import medbench
from medbench.errors import MachineError, MedBenchError
from medbench.running.options import Options

AnyOptions = TypeVar("AnyOptions", bound=Options)
T = TypeVar("T")

_NO_OPTION = ("self", "unknown")
"""What the arguments of a function or method hold beside its options."""


def call(do: Callable[[AnyOptions], T], verb: type[AnyOptions], arguments: Mapping[str, Any]) -> T:
    """Do what a verb does, with the arguments of the function or method of its name.

    Args:
        do: What it does.
        verb: The class of its options.
        arguments: As ``locals()`` has them; names that it does not know are in ``unknown``.

    Returns:
        What ``do`` does.

    Raises:
        MachineError: This process is a fork of one that had imported MedBench. Libraries that
            compute with threads (OpenMP, BLAS) have lost them here, and would wait for ever.
        ConfigurationError: As ``Options.of``.
    """
    if os.getpid() != medbench.IMPORTED_BY:
        raise MachineError(
            f"medbench.{verb.verb} was called in a fork of the process that imported medbench, "
            "where libraries that compute with threads may wait for ever. Let multiprocessing "
            'start processes by its method "spawn", or make one call, which computes in processes '
            "of its own."
        )
    given = {name: value for name, value in arguments.items() if name not in _NO_OPTION}
    try:
        return do(verb.of({**given, **arguments.get("unknown", {})}))
    except MedBenchError as error:
        for option, does in error.options.items():  # as the command line says them
            if verb.takes(option):
                error.add_note(f"{option} {does}.")
        raise
