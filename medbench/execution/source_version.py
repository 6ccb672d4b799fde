"""The version of a family's source code: its file and every MedBench module that it uses."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import Distribution
from pathlib import Path

from medbench import registry
from medbench.execution.environment import package_versions

_SHARED = ("medbench.execution.cell", "medbench.datasets.decode", "medbench.datasets.splits")
"""Where the rest of what decides a prediction begins."""
_IRRELEVANT = frozenset(
    f"medbench{name}"
    for name in ("", ".cache", ".errors", ".registry", ".store", ".models.weights")
)
"""Modules that store, name and find things, but decide no prediction."""


@cache
def source_version(family: type, tuner: type) -> str:
    """Hash of the sources that decide what a family's cells predict.

    Followed are imports of MedBench's modules and, from an installed plugin, of the modules of its
    own top-level package, wherever in a file they stand. What is no Python source there (compiled
    modules, data files) and the libraries it builds upon are covered by versions: its
    distribution's and those of the distributions that it requires.

    Args:
        family: A family's class, out of the registry.
        tuner: A tuner's class, out of the registry.
    """
    followed = {"medbench", _package(family.__module__), _package(tuner.__module__)}
    pending = [family.__module__, tuner.__module__, *_SHARED]
    seen: dict[str, bytes] = {}
    while pending:
        name = pending.pop()
        if name in seen or name in _IRRELEVANT or _package(name) not in followed:
            continue
        if (path := _file_of(name)) is not None:
            seen[name] = path.read_bytes()
            pending += _imports(seen[name], name if path.stem == "__init__" else _parent(name))
        pending.append(_parent(name))
    digest = hashlib.sha256()
    seen["family"] = seen.pop(family.__module__, b"")  # a plugin file's module is named by its path
    for name in sorted(seen):
        digest.update(f"{name} {len(seen[name])}\n".encode() + seen[name])
    digest.update(_versions(registry.models.distribution(getattr(family, "name", ""))))
    digest.update(_versions(registry.tuners.distribution(getattr(tuner, "name", ""))))
    return digest.hexdigest()[:16]


def _package(name: str) -> str:
    return name.partition(".")[0]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _file_of(name: str) -> Path | None:
    """The Python source of a module; nothing is imported in order to find it."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        package, *inner = name.split(".")
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # a module that was not found by an import, as that of a notebook
            return None
        for part in inner:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
        file = spec.origin if spec is not None else None
    return Path(file) if file is not None and file.endswith(".py") else None


def _imports(source: bytes, package: str = "") -> list[str]:
    """Names of what a module in ``package`` imports: modules, and perhaps what is in them."""
    found: list[str] = []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # it can be imported by nobody
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: package.count(".") + 2 - node.level]
                base = ".".join([*above, base]).rstrip(".")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _versions(distribution: Distribution | None) -> bytes:
    """Versions of a plugin's distribution and of what it requires, as far as installed."""
    if distribution is None:
        return b""
    requires = (re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in distribution.requires or ())
    libraries = package_versions(tuple(name for name in requires if name != "medbench"))
    return repr([distribution.name, distribution.version, sorted(libraries.items())]).encode()
