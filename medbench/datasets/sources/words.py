"""Text in an entry of ``datasets.yaml``, where YAML takes some words for something else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def as_text(value: Any) -> Any:
    """A number as text; everything but a truth value and nothing as it is.

    Raises:
        ValueError: YAML read a word as a truth value or as nothing; the catalog adds where.
    """
    if isinstance(value, bool) or value is None:
        words = {True: "yes, on or true", False: "no, off or false", None: "null or ~"}[value]
        raise ValueError(
            f"YAML takes {words} without quotes for something else than a word. Write it in "
            f'quotes, as "{"yes" if value else "no" if value is False else "null"}"'
        )
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(as_text)]
"""A name of a class, column or value: numbers are taken as text, truth values refused."""
