"""The JSON Schema of a ``datasets.yaml``, made of the sources that are registered.

With it an editor completes the fields of an entry, explains them and marks what cannot be.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from medbench import registry
from medbench.datasets.catalog import NAME_PATTERN
from medbench.datasets.sources.base import Source

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def catalog_schema() -> dict[str, Any]:
    """The schema, JSON-ready (draft 2020-12).

    What it cannot say, as that one field needs another, is checked by ``datasets validate`` only.
    """
    sources: dict[str, type[Source]] = {
        name: registry.sources.get(name) for name in registry.sources.usable()
    }
    refs, shared = models_json_schema([(source, "validation") for source in sources.values()])
    for model in {model for source in sources.values() for model in _with_nested(source)}:
        _describe(shared["$defs"][model.__name__]["properties"], model)
    return {
        "$schema": _DRAFT,
        "title": "Data sets of MedBench by their names",
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["source"],
            "properties": {"source": {"enum": list(sources)}},
            "allOf": [
                {"if": {"properties": {"source": {"const": name}}}, "then": ref}
                for name, ref in zip(sources, refs.values(), strict=True)
            ],
        },
        "$defs": shared["$defs"],
    }


def _with_nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and those that its fields may hold."""
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _with_nested(kind)


def _describe(properties: dict[str, Any], model: type[BaseModel]) -> None:
    """Give fields their docstrings, which pydantic would read at each start at some cost."""
    for cls in reversed(model.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ) if name in properties:
                    properties[name]["description"] = " ".join(words.split())
    for schema in properties.values():
        schema.pop("title", None)
