"""Folders in which attempts work on this machine: images are there only as long as they must be."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from medbench.cache import remove_abandoned, working_folder
from medbench.execution.executor import Resources, Work
from medbench.execution.workspace import Workspace


class WorkingFolders:
    """Development parts, shared by the cells that learn from the same, and held-out parts, by none.

    What one cell learns from, another is tested on, and several may run at a time. So every folder
    has a name that nobody can guess, and is told only to the attempt it is meant for. All lie in
    the working folder of this process (see ``medbench.cache``), which goes with it. Safe to use
    from several threads.
    """

    def __init__(self, resources: Resources, work: Iterable[Work]) -> None:
        """Begin with nothing; what killed runs have left goes.

        Args:
            resources: What may be used.
            work: All that will ask for a development part, each once.

        Raises:
            MachineError: There is nowhere space for the images of the cells at work.
        """
        remove_abandoned()  # images that a killed run was at work on
        self._resources = resources
        work = list(work)
        largest = max((one.development.images.nbytes for one in work), default=0)
        self._folder = working_folder(largest * resources.jobs) / secrets.token_hex(8)
        self._parts: dict[str, _Part] = {}
        for one in work:
            self._parts.setdefault(one.development.key, _Part(self._new())).needed_by += 1

    @property
    def hidden(self) -> str:
        """The folder above all working folders, in which no attempt may look."""
        return str(self._folder.parent.parent)

    @contextlib.contextmanager
    def development(self, work: Work) -> Iterator[Path]:
        """The folder of a cell's development part; it goes with the last cell that needs it.

        Raises:
            OSError: It cannot be written.
        """
        part = self._parts[work.development.key]
        try:
            with part.guard:
                if not part.written:
                    with _whole(part.folder):
                        work.development.write(part.folder)
                    part.written = True
            yield part.folder
        finally:
            with part.guard:
                part.needed_by -= 1
                if not part.needed_by:
                    shutil.rmtree(part.folder, ignore_errors=True)

    @contextlib.contextmanager
    def held_out(self, work: Work) -> Iterator[Path]:
        """A folder with a cell's held-out images, which goes with the block.

        Raises:
            OSError: It cannot be written.
        """
        folder = self._new()
        try:
            work.held_out.write(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def workspace(
        self, work: Work, development: Path, *, closed: Iterable[str] | None
    ) -> Workspace:
        """Where one attempt works, with what an earlier one has finished.

        Args:
            work: The work.
            development: Folder of its development part.
            closed: What the attempt must not look into; None for no firewall.

        Raises:
            OSError: It cannot be written.
        """
        folder = self._new()
        folder.mkdir(parents=True)
        resources, weights = self._resources, work.weights
        workspace = Workspace(
            folder=str(folder),
            development=str(development),
            features=str(resources.features) if resources.features is not None else None,
            threads=resources.threads,
            plugins=tuple(str(plugin) for plugin in resources.plugins),
            weights_path=str(weights.path) if weights and weights.path else None,
            weights_sha256=weights.sha256 if weights else None,
            weights_note=weights.note if weights else None,
            closed=None if closed is None else tuple(closed),
        )
        if work.earlier:
            workspace.write_earlier(work.earlier, work.earlier_oof)
        if work.earlier_checkpoints is not None:
            shutil.copytree(work.earlier_checkpoints, workspace.checkpoints)
        return workspace

    def leave(self, workspace: Workspace) -> None:
        """Remove what an attempt wrote."""
        shutil.rmtree(workspace.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _new(self) -> Path:
        return self._folder / secrets.token_hex(16)


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Leave nothing of a folder that was not written to its end: another cell may try again."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _Part:
    """A development part on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guard = threading.Lock()
        self.written = False
        self.needed_by = 0
