"""The inline executor: cells in this very process, one after the other.

For debugging (a breakpoint in a family works) and for tests: nothing has to be started. It promises
less than a process for each cell: no firewall stands between a family and what is held out, and a
family that ends or blocks the process takes the run with it. The rows of its cells say so.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from medbench.execution.attempt import Attempt
from medbench.execution.events import (
    Event,
    Fitted,
    Outcome,
    Started,
    as_message,
    from_message,
)
from medbench.execution.executor import Executor, Work, whole_record
from medbench.execution.parts import read_probabilities
from medbench.execution.working_folders import WorkingFolders
from medbench.execution.workspace import Workspace
from medbench.faults import is_fault, reason_of


class InlineExecutor(Executor):
    """One cell after the other, in the process that calls it."""

    isolates: ClassVar[bool] = False

    def run(self, work: Sequence[Work]) -> Generator[Event, None, None]:
        """See ``Executor.run``."""
        with contextlib.closing(WorkingFolders(self.resources, work)) as working_folders:
            for one in work:
                yield Started(cell=one.task.cell)
                yield from _attempted(one, working_folders)


def _attempted(work: Work, working_folders: WorkingFolders) -> Iterator[Event]:
    cell = work.task.cell
    with contextlib.ExitStack() as stack:
        try:
            development = stack.enter_context(working_folders.development(work))
            workspace = working_folders.workspace(work, development, closed=None)
            stack.callback(working_folders.leave, workspace)
        except Exception as error:
            if not is_fault(error):
                raise
            yield Outcome(cell=cell, reason=reason_of(error), fault=True)
            return
        yield from _told(work, working_folders, workspace)


def _told(work: Work, working_folders: WorkingFolders, workspace: Workspace) -> Iterator[Event]:
    cell = work.task.cell
    fitted: Mapping[str, Any] = {}
    try:
        attempt = Attempt(work.task, workspace)
        for told in attempt.fit():
            event = from_message(cell, _as_sent(as_message(told)))
            if isinstance(event, Fitted):
                fitted = event.record
            yield event
        with working_folders.held_out(work) as held_out:
            predicted = _as_sent(attempt.predict(held_out))
            probabilities = read_probabilities(held_out)
    except Exception as error:  # the cell's boundary: a row with its reason, or none yet
        log = traceback.format_exc().encode()
        yield Outcome(cell=cell, reason=reason_of(error), fault=is_fault(error), log=log)
        return
    yield Outcome(
        cell=cell,
        record=whole_record(fitted, predicted),
        model=workspace.model,
        probabilities=probabilities,
    )


def _as_sent(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as another process would get it: what is no JSON fails here, as it would there."""
    sent: dict[str, Any] = json.loads(json.dumps(message, allow_nan=False))
    return sent
