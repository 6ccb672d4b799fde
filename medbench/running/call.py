"""What every call from outside has in common: where it may be made, and what its errors say."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import medbench
from medbench.errors import MachineError, MedBenchError


@contextlib.contextmanager
def call(name: str) -> Iterator[None]:
    """A call from Python, or the command line.

    Args:
        name: Of the function, as a user writes it.

    Raises:
        MachineError: This process is a fork of one that had imported MedBench. Libraries that
            compute with threads (OpenMP, BLAS) have lost them here, and would wait for ever.
    """
    if os.getpid() != medbench.IMPORTED_BY:
        raise MachineError(
            f"{name} was called in a fork of the process that imported medbench, where libraries "
            "that compute with threads may wait for ever. Let multiprocessing start processes by "
            'its method "spawn", or make one call, which computes in processes of its own.'
        )
    try:
        yield
    except MedBenchError as error:
        for option, does in error.options.items():  # the command line says those of its verb
            error.add_note(f"{option} {does}.")
        raise
