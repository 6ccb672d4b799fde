"""The version of a family's source code: its file and every MedBench module that it uses."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

_SHARED = ("medbench.execution.cell", "medbench.datasets.decode", "medbench.datasets.splits")
"""Where the rest of what decides a prediction begins."""
_IRRELEVANT = frozenset(
    f"medbench.{name}" for name in ("cache", "errors", "registry", "store", "models.weights")
)
"""Modules that store, name and find things, but decide no prediction."""


def source_version(family: type, tuner: type) -> str:
    """Hash of the sources that decide what a family's cells predict.

    Followed are imports of ``medbench`` modules, wherever in a file they stand.
    """
    pending = [family.__module__, tuner.__module__, *_SHARED]
    seen: dict[str, bytes] = {}
    while pending:
        name = pending.pop()
        if name in seen or name in _IRRELEVANT:
            continue
        path = _file_of(name)
        if path is None:
            continue
        seen[name] = path.read_bytes()
        pending += _imports(seen[name])
    digest = hashlib.sha256()
    for name in sorted(seen, key=lambda n: "plugin" if n == family.__module__ else n):
        digest.update(seen[name])
    return digest.hexdigest()[:16]


def _file_of(name: str) -> Path | None:
    module: Any = sys.modules.get(name)
    if module is not None and getattr(module, "__file__", None):
        return Path(module.__file__)
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(source: bytes) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.startswith("medbench.")]
