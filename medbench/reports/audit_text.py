"""What an audit found, as text: on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from medbench.datasets.audit import UNREADABLE, AuditReport
from medbench.datasets.findings import SEVERITIES, Finding
from medbench.errors import grouped
from medbench.reports.text import markdown_text, plain

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"serious": "bold red", "warning": "yellow", "note": "cyan"}
_NOTHING = "Nothing was found."


def print_audit(
    report: AuditReport,
    dataset_title: str,
    console: Console,
    origins: Sequence[str] | None = None,
    most_named: int = 5,
    unreadable: Sequence[str] = (),
) -> None:
    """Print the findings of one data set, the worst first.

    Args:
        report: The findings.
        dataset_title: Heads them.
        console: Where they go.
        origins: File name of each image, by row, if names may be shown.
        most_named: Most names a finding shows; more are counted.
        unreadable: Messages on the images that were left out, if names may be shown.
    """
    from rich.table import Table
    from rich.text import Text

    console.print(Text(plain(dataset_title), style="bold"))
    console.print(Text(_size(report)))
    table = Table.grid(padding=(0, 2, 1, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        style = _STYLES[finding.severity]
        said = Text(plain(finding.text))
        said.append(f"\n{plain(finding.remedy)}", style="dim")
        if named := _names(finding, origins, most_named, unreadable):
            said.append(f"\n{_with_more(named, finding, unreadable)}")
        table.add_row(Text(finding.severity, style=style), said)
    console.print(table if report.findings else Text(f"{_NOTHING}\n"))


def audit_markdown(
    report: AuditReport,
    dataset_title: str,
    origins: Sequence[str] | None = None,
    most_named: int = 50,
    unreadable: Sequence[str] = (),
) -> str:
    """The findings of one data set as a page of Markdown; arguments as of ``print_audit``."""

    def lines() -> Iterator[str]:
        yield f"# Audit of {markdown_text(dataset_title)}\n"
        yield f"{_size(report)}\n"
        if not report.findings:
            yield f"{_NOTHING}\n"
        for finding in report.findings:
            yield f"## {finding.severity.capitalize()}: {finding.check}\n"
            yield f"{markdown_text(finding.text)}\n"
            yield f"What to do: {markdown_text(finding.remedy)}\n"
            named = _names(finding, origins, most_named, unreadable)
            if named:
                yield from (f"- {markdown_text(name)}" for name in named)
                if more := _more(named, finding, unreadable):
                    yield f"- {more}"
                yield ""

    return "\n".join(lines())


def _size(report: AuditReport) -> str:
    """How much was looked at and how much was found, in a line."""
    counts = [sum(f.severity == severity for f in report.findings) for severity in SEVERITIES]
    found = ", ".join(
        f"{n} {name}{'s' if n > 1 and name != 'serious' else ''}"
        for n, name in zip(counts, SEVERITIES, strict=True)
        if n
    )
    size = f"{report.n_images:,} images in {report.n_groups:,} groups"
    return f"{size}: {found}" if found else size


def _names(
    finding: Finding, origins: Sequence[str] | None, most: int, unreadable: Sequence[str]
) -> list[str]:
    """The first files of a finding."""
    if finding.check == UNREADABLE:
        return [plain(reason) for reason in grouped(unreadable)[:most]]
    return [] if origins is None else [plain(origins[row]) for row in finding.images[:most]]


def _more(named: Sequence[str], finding: Finding, unreadable: Sequence[str]) -> str:
    of = len(grouped(unreadable)) if finding.check == UNREADABLE else len(finding.images)
    return f"and {of - len(named):,} more" if of > len(named) else ""


def _with_more(named: Sequence[str], finding: Finding, unreadable: Sequence[str]) -> str:
    """Reasons a line each, names beside each other; and how many are not shown."""
    parts = [*named, *filter(None, [_more(named, finding, unreadable)])]
    return ("\n" if finding.check == UNREADABLE else ", ").join(parts)
