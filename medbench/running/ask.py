"""Questions at a terminal: what files and classes mean can be told by a person only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from medbench.errors import ConfigurationError, UndecidedError

if TYPE_CHECKING:
    from medbench.datasets.catalog import Catalog

T = TypeVar("T")

_LEAVE_OUT = "-"
"""What a person answers to leave a class out."""


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


def ask_class_map(name: str, *, ours: Sequence[str], theirs: Sequence[str]) -> Mapping[str, str]:
    """Which class of a model each class of another data set is; without a terminal, by their names.

    Args:
        name: Of the data set.
        ours: Classes of the model.
        theirs: Classes of the data set.

    Returns:
        See ``medbench.inference.class_map.ClassMap``; what is left out is not in it.

    Raises:
        ConfigurationError: There is no answer.
    """
    if not sys.stdin.isatty():
        return {one: one for one in theirs if one in ours}
    from rich.prompt import Prompt
    from rich.text import Text

    from medbench.running.progress import make_console

    console = make_console()
    console.print(
        f"The model tells {', '.join(ours)}; {name} has {', '.join(theirs)}. "
        f"Which is which? ({_LEAVE_OUT} leaves a class out)",
        markup=False,
    )
    try:
        answers = {
            one: Prompt.ask(
                Text(one),
                console=console,
                choices=[*ours, _LEAVE_OUT],
                show_choices=False,
                default=one if one in ours else _LEAVE_OUT,
            )
            for one in theirs
        }
    except EOFError as error:
        raise ConfigurationError("not answered: give --class-map THEIRS=OURS.") from error
    return {there: here for there, here in answers.items() if here != _LEAVE_OUT}
