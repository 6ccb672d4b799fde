"""What a person is told of a model before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from medbench.inference.model import describe
from medbench.reports.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.inference.model_info import ModelInfo


def print_model_info(info: ModelInfo, console: Console) -> None:
    """Which model this is, how good it was, and what speaks against trusting it."""
    for line in describe(info):
        strong = line in info.verdicts
        console.print(Text(one_line(line), style="bold yellow" if strong else ""))
