"""What a run says and keeps of its data sets before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medbench.datasets.audit import AuditReport
    from medbench.execution.plan import PlannedCell
    from medbench.store import RunStore


def audit_all(cells: Sequence[PlannedCell], say: Callable[[str], None]) -> dict[str, AuditReport]:
    """The audit of each data set, and all that a person must hear of it before training.

    Args:
        cells: The plan.
        say: Shows a line: the positive class, notes of the split, findings from a warning on.
    """
    from medbench.datasets.audit import audit
    from medbench.datasets.positive import in_words
    from medbench.reports.text import plain

    audits = {}
    for name, dataset in {cell.id.dataset: cell.dataset for cell in cells}.items():
        data = dataset.data
        audits[name] = audit(data)
        if words := in_words(data.task.positive, data.positive_decided):
            say(f"{name}: {plain(words)}")
        for note in dataset.plan.notes:
            say(f"{name}: {note}")
        for finding in audits[name].findings:
            if finding.severity != "note":
                say(f"{name}: {finding.severity}: {finding.text} {finding.remedy}")
    return audits


def write_audits(
    cells: Sequence[PlannedCell],
    audits: Mapping[str, AuditReport],
    store: RunStore,
    images: bool | None,
) -> None:
    """Record what the audits found; where images may be shown, with a sheet of those alike."""
    from medbench.datasets.prepared import describe
    from medbench.reports.contact_sheet import write_contact_sheet
    from medbench.reports.page.pictures import may_be_shown

    for data in {cell.dataset.data.name: cell.dataset.data for cell in cells}.values():
        store.write_audit(data.name, audits[data.name].as_record())
        if may_be_shown(describe(data), images):
            write_contact_sheet(data, store.layout.copies(data.name))
        else:
            store.remove_pictures(data.name)
