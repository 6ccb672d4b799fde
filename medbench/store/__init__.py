"""The run folder: the one place that knows what lies in it, writes it and reads it back.

``layout`` says where everything lies, ``schemas`` what each JSON file must hold, ``results`` what a
run is once it is in memory. ``RunStore`` writes and reads a run, ``CellStore`` one cell of it.

Everything is written under a temporary name and then renamed, so a killed run never leaves half
a file under a final name. The exceptions only grow: ``trials.jsonl`` by whole lines, of which a
torn last one is dropped when it is read, and ``cell.log``. Nothing is pickled.
"""

from medbench.store.cell_store import CellStore, RecordedKey
from medbench.store.layout import RunLayout
from medbench.store.reading import FORMAT
from medbench.store.results import CellId, CellResult, ExternalResult, RunResult, Status
from medbench.store.run_store import RunStore

__all__ = [
    "FORMAT",
    "CellId",
    "CellResult",
    "CellStore",
    "ExternalResult",
    "RecordedKey",
    "RunLayout",
    "RunResult",
    "RunStore",
    "Status",
]
