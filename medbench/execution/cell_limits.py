"""What every cell of a plan may use: as it is asked for, else by budget and machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medbench import registry
from medbench.byte_sizes import format_bytes
from medbench.errors import ConfigurationError
from medbench.execution.limits import CELL_MEMORY, CELL_TIME, Limits
from medbench.execution.plan import PlannedCell, Setup
from medbench.memory import total_memory

BUDGETS, ON_TOP_SECONDS, IMAGE_SECONDS = 10, 3600.0, 1.0
"""How long a cell may take where nobody says it: so many times the seconds of its search, and so
many on top and for each image. It is meant for what hangs, and never for what is slow."""
UNBOUNDED_SECONDS = 7 * 24 * 3600.0
"""Likewise, where the budget counts trials only."""
MEMORY_SHARE = 0.8
"""Share of the memory of machine or container that all cells at a time may take."""
LEAST_SECONDS, MOST_SECONDS = 10.0, 365 * 24 * 3600.0
LEAST_MEMORY = 300_000_000
"""What a process takes that has loaded its libraries and nothing else; with Keras 290 MB."""


def limits_of(cells: Sequence[PlannedCell], setup: Setup) -> Limits:
    """The limits of every cell of a plan: as they are asked for, else from budget and machine.

    Raises:
        ConfigurationError: What is asked for cannot be kept, or nothing could be done within it.
    """
    for option, wanted in ((CELL_TIME, setup.cell_seconds), (CELL_MEMORY, setup.cell_memory)):
        if wanted is not None and not registry.executors.get(setup.executor).isolates:
            raise ConfigurationError(
                f"{option}: executor {setup.executor!r} has no process of each cell that could be "
                "ended. Leave the option out."
            )
    return Limits(seconds=_seconds(cells, setup), memory=_memory(setup))


def _seconds(cells: Sequence[PlannedCell], setup: Setup) -> float:
    wanted, of_search = setup.cell_seconds, cells[0].settings.budget.seconds if cells else None
    if wanted is None:
        if of_search is None:
            return UNBOUNDED_SECONDS
        images = max(len(cell.dataset.data.table) for cell in cells)
        return BUDGETS * of_search + ON_TOP_SECONDS + IMAGE_SECONDS * images
    if not LEAST_SECONDS <= wanted <= MOST_SECONDS:
        raise ConfigurationError(
            f"{CELL_TIME} {wanted:g}s: give at least {LEAST_SECONDS:g}s, for a cell needs seconds "
            f"to load its libraries, and at most {MOST_SECONDS / 3600:.0f}h."
        )
    if of_search is not None and wanted < of_search:
        raise ConfigurationError(
            f"{CELL_TIME} {wanted:g}s: is less than the {of_search:g} s that the budget gives to "
            "the search alone. Give more, for the last fit and the predictions come on top."
        )
    return wanted


def _memory(setup: Setup) -> int | None:
    wanted = setup.cell_memory
    if sys.platform != "linux":
        if wanted is None:
            return None
        raise ConfigurationError(
            f"{CELL_MEMORY}: the memory of a cell is watched on Linux only. Leave the option out."
        )
    there = total_memory()
    if wanted is None:
        return max(LEAST_MEMORY, int(MEMORY_SHARE * there / setup.jobs))
    if not LEAST_MEMORY <= wanted <= there:
        raise ConfigurationError(
            f"{CELL_MEMORY} {format_bytes(wanted)}: give at least {format_bytes(LEAST_MEMORY)}, "
            f"which the libraries alone may take, and at most the {format_bytes(there)} that this "
            "machine or its container has."
        )
    return wanted
