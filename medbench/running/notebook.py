"""The live view of a run in a notebook, where a cell has outputs and no lines to go back to."""

from __future__ import annotations

import importlib
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


class NotebookView:
    """What ``rich.live.Live`` is on a terminal: one output, drawn again in its place.

    Rich's own for notebooks needs ipywidgets on the side of the notebook and a thread of its own.
    """

    def __init__(self, console: Console) -> None:
        """Nothing is shown before ``start``; ``console`` knows how wide the notebook is."""
        self._width = console.width
        self._output: Any = None

    def start(self) -> None:
        """Show an empty output."""
        display = importlib.import_module("IPython.display").display  # there in every notebook
        self._output = display(Text(""), display_id=True)

    def update(self, picture: RenderableType, *, refresh: bool) -> None:
        """Draw a picture in the output; whenever ``Live`` is told to ``refresh``."""
        if refresh:
            shown = Table.grid()  # what rich can draw by itself in a notebook
            shown.add_column(width=self._width)
            shown.add_row(picture)
            self._output.update(shown)

    def stop(self) -> None:
        """Leave the output empty."""
        self._output.update(Text(""))
