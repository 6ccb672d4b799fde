"""Questions at a terminal: what the files of a data set mean can be told by a person only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from medbench.errors import UndecidedError

if TYPE_CHECKING:
    from medbench.datasets.catalog import Catalog

T = TypeVar("T")


def asking(catalog: Catalog, do: Callable[[], T]) -> T:
    """Do something with data sets; where one of them is unclear, ask, and do it again.

    The answer holds for this command: it changes the source in the catalog, not a file.

    Raises:
        UndecidedError: There is no terminal to ask at, or no answer.
    """
    while True:
        try:
            return do()
        except UndecidedError as error:
            catalog.decide(error.dataset, **{error.field: answer(error)})


def answer(error: UndecidedError) -> str:
    """Which of its choices a person takes.

    Raises:
        UndecidedError: There is no terminal to ask at, or no answer.
    """
    if not sys.stdin.isatty():
        raise error
    from rich.prompt import Prompt
    from rich.text import Text

    from medbench.running.progress import make_console

    console = make_console()
    console.print(error.question, markup=False, soft_wrap=True)
    for value, meaning in error.choices.items():
        console.print(f"  {value}: {meaning}", markup=False, soft_wrap=True)
    try:
        return Prompt.ask(
            Text(error.field), console=console, choices=[*error.choices], show_choices=False
        )
    except EOFError:
        raise error from None
