"""What version a piece of code has, and which libraries decide its numbers.

Whatever is kept to be used again (a cell, features, a prepared data set, an assessment) is keyed by
this, so that nothing stale is ever used and a changed comment computes nothing again.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.hashes import sha256_of_json, sha256_of_text

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_HERE = "medbench"
_DECIDE_NOTHING = frozenset(
    f"{_HERE}{name}"
    for name in (
        "", ".atomic_files", ".cache", ".cores", ".disk", ".errors", ".hashes", ".registry",
        ".store", ".versions", ".web", ".features.feature_cache", ".models.weights",
    )
)  # fmt: skip
"""Modules that store, name and find things, but decide no number."""
_DECIDING_NOTHING = (f"{_HERE}.cache.", f"{_HERE}.store.")
"""Likewise all modules of these packages."""
_LIBRARIES_THAT_DECIDE_NOTHING = frozenset(
    {"filelock", "joblib", "packaging", "pandas", "platformdirs", "pooch", "psutil", "pyarrow",
     "pydantic", "requests", "rich", "tensorboard", "threadpoolctl", "typing_extensions", "yaml"}
)  # fmt: skip
_ALWAYS = ("numpy", "scipy")
"""Beneath every other library that computes."""
_LENGTH = 16
"""Hexadecimal digits of a version."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Some code: all modules that it needs of its own package and of MedBench."""

    syntax: str
    """Hash of the modules' syntax trees without docstrings and comments, 16 hexadecimal digits."""
    libraries: dict[str, str]
    """Version of each installed distribution that they import, by name."""
    imports: tuple[str, ...]
    """Names of what they import of other packages: modules, and perhaps what is in them."""

    @property
    def version(self) -> str:
        """Both together, 16 hexadecimal digits."""
        return sha256_of_json([self.syntax, self.libraries])[:_LENGTH]


@cache
def code_of(*begin: str | type) -> Code:
    """The code that modules or classes stand for, with every module that they import.

    Followed are imports of MedBench's modules and of the modules of the top-level package of each
    that is named, wherever in a file they stand. Nothing is imported to find out. Other
    distributions count by their version; of an installed plugin also its own version and those of
    what it requires.

    Args:
        begin: Names of modules, or classes (of which the module counts).
    """
    roots = [(one, one if isinstance(one, str) else one.__module__) for one in begin]
    own_packages = {_HERE, *(_package(name) for _, name in roots)}
    seen: dict[str, str] = {}
    imported: set[str] = set()
    named: dict[str, str] = {}
    for number, (one, name) in enumerate(roots):
        file = _file_of(name)
        if not isinstance(one, str) and (file is None or not name.startswith(_HERE + ".")):
            # the module of a plugin's file is named by its path, that of a notebook has none
            named[f"root {number}"] = _syntax(_source(one, file))
        pending = [name]
        while pending:
            module = pending.pop()
            if module in seen or module in _DECIDE_NOTHING or module.startswith(_DECIDING_NOTHING):
                continue
            if _package(module) not in own_packages and _is_library(module):
                imported.add(module)
                continue
            path = _file_of(module)
            if path is not None:
                package = module if path.stem == "__init__" else _parent(module)
                status = path.stat()
                seen[module], imports = _read(path, package, status.st_mtime_ns, status.st_size)
                pending += imports
            if _parent(module):
                pending.append(_parent(module))
        if not isinstance(one, str) and f"root {number}" in named:
            seen.pop(name, None)
    return Code(
        syntax=sha256_of_json({**seen, **named})[:_LENGTH],
        libraries=_versions({_package(name) for name in imported}, own_packages - {_HERE}),
        imports=tuple(sorted(n for n in imported if _package(n) not in sys.stdlib_module_names)),
    )


def code_version(*begin: str | type) -> str:
    """``code_of(...).version``: changes when anything does that may change a number."""
    return code_of(*begin).version


def python_version() -> str:
    """Of the interpreter, as "3.11": random numbers and syntax trees may change with it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def distribution_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Version of each of the distributions that is installed."""
    from importlib import metadata

    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def install_command(extra: str) -> str:
    """How an extra of MedBench is installed; without a path, as it is kept in run folders.

    Args:
        extra: Its name in ``pyproject.toml``.
    """
    if distribution_versions(("medbench",)):
        return f'pip install "medbench[{extra}]"'
    return f'pip install ".[{extra}]" in the checkout of MedBench'


# --- syntax -------------------------------------------------------------------------------


class _Syntax:
    """What a syntax tree says, and what it imports, in one pass: a run reads a hundred modules.

    Docstrings (also those of attributes) and imports for type checkers only are left out.
    """

    def __init__(self, tree: ast.Module, package: str = "") -> None:
        """``package``: that of the module, for its relative imports."""
        self._package = package
        self._said: list[str] = []
        self.imports: list[str] = []
        """Names of what it imports: modules, and perhaps what is in them."""
        self._put(tree)

    @property
    def hash(self) -> str:
        """Of everything that is said, a SHA-256."""
        return sha256_of_text(" ".join(self._said))

    def _put(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports += _imported(node, self._package)
        said = self._said
        said.append(f"{type(node).__name__}(")
        for field in node._fields:
            value = getattr(node, field, None)
            if value is None or value == [] or field in _SAID_BY_PLACE:
                continue
            said.append(field)
            if isinstance(value, ast.AST):
                self._put(value)
            elif isinstance(value, list):
                said.append("[")
                self._put_all(value)
                said.append("]")
            else:
                said.append(repr(value))
        said.append(")")

    def _put_all(self, nodes: list[Any]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and _is_for_type_checkers(node.test):
                self._put_all(node.orelse)
            elif isinstance(node, ast.AST):
                if not (isinstance(node, ast.Expr) and _is_text(node.value)):
                    self._put(node)
            else:
                self._said.append(repr(node))


_SAID_BY_PLACE = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of nodes that say nothing more than where the node stands, or how it was typed."""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_for_type_checkers(test: ast.expr) -> bool:
    if isinstance(test, ast.Attribute):
        return test.attr == "TYPE_CHECKING" and isinstance(test.value, ast.Name)
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


@cache
def _read(path: Path, package: str, time: int, size: int) -> tuple[str, tuple[str, ...]]:
    """The syntax of a module's file and what it imports; ``time`` and ``size`` are its state."""
    content = path.read_bytes()
    try:
        syntax = _Syntax(ast.parse(content), package)
    except (SyntaxError, ValueError):  # this Python cannot import it
        return sha256_of_text(content), ()
    return syntax.hash, tuple(syntax.imports)


def _syntax(source: str) -> str:
    return _Syntax(ast.parse(source)).hash


def _source(piece: type, file: Path | None) -> str:
    """The source of a plugin: its file, or of a class of a notebook what was typed there.

    Where nobody knows what was typed, it is taken for new each time that Python starts.
    """
    if file is not None:
        return file.read_text(encoding="utf-8")
    try:
        return inspect.cleandoc(inspect.getsource(piece))
    except (OSError, TypeError):
        return f"unknown = {secrets.token_hex()!r}"


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Names of what an import in ``package`` asks for: modules, and perhaps what is in them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        above = package.split(".")[: package.count(".") + 2 - node.level]
        base = ".".join([*above, base]).rstrip(".")
    yield base
    yield from (f"{base}.{alias.name}" for alias in node.names)


# --- modules ------------------------------------------------------------------------------


def _package(name: str) -> str:
    return name.partition(".")[0]


def _is_library(module: str) -> bool:
    """Whether a module belongs to Python or an installed distribution, which have versions."""
    package = _package(module)
    return package in sys.stdlib_module_names or package in installed_modules()


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


# --- libraries ----------------------------------------------------------------------------


def _versions(imported: set[str], plugins: set[str]) -> dict[str, str]:
    """Versions of the distributions that hold imported modules, and of what plugins require."""
    from importlib import metadata

    wanted = {*imported, *_ALWAYS} - sys.stdlib_module_names - _LIBRARIES_THAT_DECIDE_NOTHING
    by_module = installed_modules()
    names = {name for module in wanted for name in by_module.get(module, ())}
    for plugin in plugins:
        for name in {*by_module.get(plugin, ()), *_declaring(plugin)}:
            requires = metadata.requires(name) or []
            names |= {name, *(re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requires)}
    versions = distribution_versions(tuple(sorted(names)))
    versions.pop(_HERE, None)
    return dict(sorted((re.sub(r"[-_.]+", "-", n).lower(), v) for n, v in versions.items()))


def installed_modules() -> dict[str, list[str]]:
    """Names of distributions by the top-level modules that they install."""
    return _distributions(tuple(sys.path))


@cache
def _distributions(path: tuple[str, ...]) -> dict[str, list[str]]:
    """What ``sys.path`` leads to, as ``importlib.metadata.packages_distributions`` has it.

    Its files are read as text: to parse each as a whole takes a third of a second.
    """
    from importlib import metadata

    found: dict[str, list[str]] = {}
    for distribution in metadata.distributions(path=list(path)):
        for module in _top_level(distribution):
            found.setdefault(module, []).append(_name_of(distribution))
    return found


def _name_of(distribution: Distribution) -> str:
    said = re.search(r"^Name: *(\S+)", distribution.read_text("METADATA") or "", re.MULTILINE)
    return said[1] if said else distribution.metadata["Name"]


def _top_level(distribution: Distribution) -> Iterable[str]:
    """Names of the top-level modules of a distribution."""
    if named := (distribution.read_text("top_level.txt") or "").split():
        return named
    record = distribution.read_text("RECORD")
    if record is None:
        files = [file.as_posix() for file in distribution.files or ()]
    else:
        files = [line.partition(",")[0].strip('"') for line in record.splitlines()]
    return {file.partition("/")[0].removesuffix(".py") for file in files if file.endswith(".py")}


def _declaring(package: str) -> set[str]:
    """Distributions that name the package in an entry point; known so even where it is linked."""
    from importlib import metadata

    points = metadata.entry_points()
    groups = (group for group in points.groups if group.startswith(f"{_HERE}."))
    return {
        point.dist.name
        for group in groups
        for point in points.select(group=group)
        if point.dist is not None and _package(point.module) == package
    }
