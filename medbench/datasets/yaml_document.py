"""A YAML file of settings, of which every message names the line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from medbench.errors import ConfigurationError
from medbench.opening import SETTINGS, read_regular

_DEEPEST = 50
"""Levels of entries within entries."""
_MOST_CHARACTERS = 5_000_000
"""Of the values, with those counted again that aliases repeat."""
_MERGE = "tag:yaml.org,2002:merge"
_NO_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises on words that are not of the kind they look like, as the 31st of February."""
_QUOTED = 200


def quoted(value: Any, words: Callable[[Any], str] = repr) -> str:
    """A value of a file in a message, cut where it is long."""
    said = words(value)
    return said if len(said) <= _QUOTED else f"{said[:_QUOTED]}..."


class YamlDocument:
    """A YAML mapping that remembers the line of everything in it."""

    def __init__(self, file: Path) -> None:
        """Read a file.

        Raises:
            ConfigurationError: It cannot be read, is not a mapping, or names a key twice.
        """
        self.file = file
        try:
            loader = yaml.SafeLoader(read_regular(file, SETTINGS).decode("utf-8"))
            self._node = loader.get_single_node()
            if self._node is not None:
                _Walk(file).over(self._node)
            content = None if self._node is None else loader.construct_document(self._node)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: cannot be read ({error}).") from error
        except RecursionError:
            raise ConfigurationError(f"{file}: {_TOO_DEEP}") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ConfigurationError(f"{file}{line}: not valid YAML ({problem}).") from error
        except _NO_VALUE as error:
            raise ConfigurationError(
                f"{file}: a word looks like a number or a date and is none ({error}). Write it in "
                "quotes."
            ) from error
        if content is None:
            content = {}
        if not isinstance(content, dict):
            raise ConfigurationError(f"{file}: must be a mapping of names to entries.")
        self.mapping: dict[str, Any] = content

    def location(self, *keys: str | int) -> str:
        """File and line of a key, as ``datasets.yaml, line 14``."""
        node, line = self._node, 1
        for key in keys:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((kv for kv in node.value if kv[0].value == str(key)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
                found = (node.value[key], node.value[key]) if key < len(node.value) else None
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return f"{self.file}, line {line}"

    def validate(
        self, cls: type[BaseModel], entry: Any, keys: Sequence[str], what: str, kind: str
    ) -> Any:
        """Turn a part of the document into a ``cls``.

        Args:
            cls: The pydantic model.
            entry: The part.
            keys: Where the part stands in the document.
            what: What it is, for the message: ``data set "brain-mri"``.
            kind: What kind of thing has the fields: ``folder``.

        Raises:
            ConfigurationError: A field is unknown, missing or wrong; the message has the line.
        """
        try:
            return cls.model_validate(entry)
        except ValidationError as error:
            # A misspelt key is also a missing one; the misspelling is what helps. Of the kinds
            # that a field may have, the one that was followed deepest is the one that was meant.
            problem = min(
                error.errors(), key=lambda p: (p["type"] != "extra_forbidden", -len(p["loc"]))
            )
            # pydantic also names the kind, as "tuple[str, ...]", which stands nowhere in the file
            field_path = [part for part in problem["loc"] if "[" not in str(part)]
            location = self.location(*keys, *field_path)
            words = _explain(problem, field_path, cls, kind)
            raise ConfigurationError(f"{location}: {what}: {words}") from None


_TOO_DEEP = "entries are nested too deeply or contain themselves. Write them plainly."


class _Walk:
    """Looks at each node of a document once, however many aliases lead to it.

    What aliases repeat costs nothing here, and all the more wherever it is written out (a message,
    a copy, a merge), so it is counted as if it were.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: dict[int, tuple[int, int] | None] = {}
        """What ``over`` gave for a node, by its identity; None while it is looked at."""

    def over(self, node: yaml.Node, depth: int = 1) -> tuple[int, int]:
        """Characters and levels of what a node stands for.

        Raises:
            ConfigurationError: It is nested too deeply or without end, repeats too much, or names
                a key twice.
        """
        known = self._seen.get(id(node), (0, 1))
        if known is None or depth + known[1] - 1 > _DEEPEST:
            raise self._error(node, _TOO_DEEP)
        if id(node) in self._seen:
            return known
        self._seen[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        size = 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        below = [self.over(part, depth + 1) for part in parts]
        size += sum(n for n, _ in below)
        if size > _MOST_CHARACTERS:
            raise self._error(node, "its aliases repeat too much. Write out what is meant.")
        if isinstance(node, yaml.MappingNode):
            _merge(node)
        self._seen[id(node)] = known = size, 1 + max((n for _, n in below), default=0)
        return known

    def _check_keys(self, node: yaml.MappingNode) -> None:
        """Refuse a key that is given twice; one that a merge (``<<``) brings may be given anew."""
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a word, and not a list or a mapping.")
            if key.value in seen:
                said = quoted(key.value)
                raise self._error(key, f"{said} is given twice. Keep one of them.")
            seen.add(key.value)
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if key.tag == _MERGE and not all(isinstance(m, yaml.MappingNode) for m in merged):
                raise self._error(key, "<< takes an alias of a mapping, as *name, or a list of it.")

    def _error(self, node: yaml.Node, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._file}, line {node.start_mark.line + 1}: {what}")


def _merge(node: yaml.MappingNode) -> None:
    """Give a mapping what its ``<<`` brings: its own keys come first, then those of the first one.

    PyYAML 6.0.4 takes those of the last one, against https://yaml.org/type/merge.html.
    """
    found = {(key.tag, key.value): (key, value) for key, value in node.value if key.tag != _MERGE}
    for key, value in node.value:
        if key.tag == _MERGE:
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                for pair in one.value:
                    found.setdefault((pair[0].tag, pair[0].value), pair)
    node.value = list(found.values())


def _explain(problem: Any, field_path: Sequence[str | int], cls: type[BaseModel], kind: str) -> str:
    """One pydantic problem in words."""
    field = ".".join(str(part) for part in field_path)
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(cls, field_path[:-1])
        close = difflib.get_close_matches(str(field_path[-1]), fields, n=1, cutoff=0.5)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        return f'"{field}" is not a field of a {kind}.{hint} Fields: {", ".join(fields)}.'
    if problem["type"] == "missing":
        return f'"{field}" is missing. Every {kind} needs it.'
    if problem["type"] == "value_error":
        where = f'"{field}": ' if field else ""
        return f"{where}{problem['ctx']['error']}."
    return f'"{field}": {problem["msg"]}, not {quoted(problem["input"])}.'


def _fields_at(cls: type[BaseModel], field_path: Iterable[str | int]) -> list[str]:
    """Names of the fields of the model, or of the nested model at the path."""
    for part in field_path:
        annotation = cls.model_fields[str(part)].annotation
        nested = [a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a)]
        if not nested:
            break
        cls = nested[0]
    return list(cls.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
