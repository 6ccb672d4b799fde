"""Text in an entry of ``datasets.yaml``, where YAML takes some words for something else."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema


def as_text(value: Any) -> Any:
    """A number as text; all else as it is.

    Raises:
        ValueError: YAML read a word as a truth value, a date or nothing; the catalog adds where.
    """
    if isinstance(value, datetime.date):
        raise ValueError(f'YAML takes this for a date. Write it in quotes, as "{value}"')
    if isinstance(value, bool) or value is None:
        words = {True: "yes, on or true", False: "no, off or false", None: "null or ~"}[value]
        raise ValueError(
            f"YAML takes {words} without quotes for something else than a word. Write it in "
            f'quotes, as "{"yes" if value else "no" if value is False else "null"}"'
        )
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(as_text), WithJsonSchema({"type": ["string", "number"]})]
"""A name of a class, column or value: numbers are taken as text, truth values refused."""
