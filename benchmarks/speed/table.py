"""The table of the speed benchmarks: on a terminal and in a page of the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness import Record

_HEADER = (
    "benchmark",
    "ours against the other",
    "ours",
    "other",
    "ratio",
    "wanted",
    "met",
    "noise",
)
_SIGNS = {"at most": "<=", "at least": ">="}


def rows(records: Sequence[Record], failed: Mapping[str, str]) -> list[tuple[str, ...]]:
    """One row a record, then one for each benchmark that could not be measured."""
    measured = [
        (
            record.name,
            f"{record.ours_is} against {record.other_is} ({record.unit})",
            f"{statistics.median(record.ours):.3g}",
            f"{statistics.median(record.other):.3g}",
            f"{record.ratio:.3g}",
            f"{_SIGNS[record.sense]} {record.wanted:g}",
            "yes" if record.met else "no",
            f"{record.noise:.2f}",
        )
        for record in records
    ]
    return measured + [(name, "failed", *[""] * 6) for name in failed]


def show(records: Sequence[Record], failed: Mapping[str, str]) -> None:
    """Print the table, then the details of every record."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    drawn = Table(box=box.SIMPLE)
    for place, title in enumerate(_HEADER):
        drawn.add_column(title, no_wrap=place > 1)
    for row in rows(records, failed):
        drawn.add_row(*row)
    console.print(drawn)
    for record in records:
        for name, value in record.details.items():
            console.print(f"{record.name}: {name}: {_short(value)}", markup=False, soft_wrap=True)


def as_markdown(
    records: Sequence[Record], failed: Mapping[str, str], machine: Mapping[str, Any]
) -> str:
    """The table, the machine and the details."""
    lines = ["| " + " | ".join(row) + " |" for row in (_HEADER, *rows(records, failed))]
    lines.insert(1, "|---" * len(_HEADER) + "|")
    load = machine["load_at_start"][0]
    lines += [
        "",
        f"{machine['processor']}, {machine['threads']} cores, {machine['system']}, Python "
        f"{machine['python']}, MedBench {machine['medbench']}; load {load:.1f} at the start.",
        "",
    ]
    for record in records:
        if record.details:
            said = "; ".join(f"{name}: {_short(value)}" for name, value in record.details.items())
            lines.append(f"- {record.name}: {said}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    """A number to three digits, whatever it is in."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_short(one) for one in value)
    return f"{value:.3g}"
