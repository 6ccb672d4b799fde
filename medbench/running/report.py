"""The page or tables of one run, or of several together, from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medbench.reports.join import join_runs
from medbench.reports.stored import assessed
from medbench.running.writing import write_formats
from medbench.store import RunResult, RunStore
from medbench.store.leftovers import strangers


@dataclass(frozen=True, kw_only=True)
class ReadRuns:
    """Runs that were read, to be reported as one."""

    folders: Sequence[Path]
    """Their own."""
    run: RunResult
    """The run, or all of them together."""
    out: Path
    """Where the report goes."""

    def left_over(self) -> dict[Path, Sequence[Path]]:
        """Files in each folder that no run writes, which may be images of patients.

        A run that is being written is not looked at: its own unfinished files are among them.
        """
        stores = [RunStore(folder) for folder in self.folders]
        found = {
            store.folder: sorted(strangers(store.layout))
            for store in stores
            if not store.is_held_by_another()
        }
        return {folder: files for folder, files in found.items() if files}

    def write(self, formats: Sequence[str], images: bool | None) -> list[Path]:
        """Write the report.

        Args:
            formats: Of ``medbench.running.options.FORMATS``.
            images: As of ``Run.report``.

        Returns:
            The files a reader opens, in the order of the formats.

        Raises:
            StoreError: They cannot be written.
        """
        folders = list(self.folders)
        return write_formats(assessed(self.run), self.out, formats, images, folders)


def read_runs(folders: Sequence[Path], out: Path | None = None) -> ReadRuns:
    """Read runs that are reported as one.

    Args:
        folders: Of the runs, at least one.
        out: Where the report goes; by default the folder of the run, or of several
            ``results/A-and-B``.

    Raises:
        StoreError: One of them is none, is damaged, or cannot stand in one table with the others.
    """
    runs = [RunStore(folder).read() for folder in folders]
    if len(runs) == 1:
        return ReadRuns(folders=folders, run=runs[0], out=out or folders[0])
    out = out or Path("results") / "-and-".join(folder.resolve().name for folder in folders)
    return ReadRuns(folders=folders, run=join_runs(runs, out), out=out)
