"""Every public name says what it is, the shapes of its arrays and the errors that it raises.

Public is what ``medbench`` and ``medbench.testing`` offer, with every class of ours that this
inherits or names in an annotation, and what the page on how MedBench is built links to.
"""

import ast
import inspect
import re
import sys
import textwrap
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import medbench
import medbench.testing

DOORS = (medbench, medbench.testing, medbench.errors)
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
LINK = re.compile(r"\[`(\w+)[^\]]*\]\(\.\./(medbench/[\w/]+?)(?:/__init__)?\.py\)")


def parts(piece):
    """Of a function or class, and what is public in it: name, annotations, words, errors."""
    top = ast.parse(textwrap.dedent(inspect.getsource(piece))).body[0]
    body = top.body if isinstance(top, ast.ClassDef) else [top]
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    begin = [node for node in functions if node.name == "__init__"]
    about = "\n".join(ast.get_docstring(node) or "" for node in (top, *begin))
    found = [(top.name, "", ast.get_docstring(top), [])]
    for node in functions:
        if node.name in ("__init__", "__call__") or not node.name.startswith("_"):
            hints = [each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg)]
            hints = " ".join(ast.unparse(hint) for hint in (*hints, node.returns) if hint)
            raised = [each.exc for each in ast.walk(node) if isinstance(each, ast.Raise)]
            errors = [ast.unparse(error).partition("(")[0] for error in raised if error]
            said = about if node in begin else ast.get_docstring(node)
            found.append((node.name, hints, said, [e for e in errors if e[0].isupper()]))
    for before, lines in (("", body), *(("self.", node.body) for node in begin)):
        for node, below in pairwise([*lines, ast.Pass()]):
            hint = ast.unparse(getattr(node, "annotation", ast.Constant("")))
            target = getattr(node, "target", *getattr(node, "targets", [None])[:1])
            name = ast.unparse(target) if target else ""
            if re.fullmatch(rf"{before}[a-z]\w*", name) and (before or hint != "''"):
                name, said = name.removeprefix(before), ast.get_docstring(ast.Module([below], []))
                mentioned = re.search(rf"\b{name}\b", about)
                found.append((name, hint, said or (mentioned and about), []))
    return found, about


def named_in(module):
    """What a module defines, or imports from ours, even if for type checkers alone."""
    nodes = ast.walk(ast.parse(inspect.getsource(sys.modules[module])))
    ours = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module.startswith("medbench.")]
    names = {alias.name: import_module(node.module) for node in ours for alias in node.names}
    return {n: getattr(m, n, None) for n, m in names.items()} | vars(sys.modules[module])


@cache
def public():
    """All parts of all that is public: name, annotations, words, errors, words of the class."""
    pending = [getattr(door, n) for door in DOORS for n in getattr(door, "__all__", dir(door))]
    linked = [(name, import_module(path.replace("/", "."))) for name, path in LINK.findall(PAGE)]
    linked = [getattr(module, name, None) for name, module in linked]
    found = {piece: parts(piece) for piece in linked if hasattr(piece, "__qualname__")}
    seen = set()
    while pending:
        piece = pending.pop()
        piece = getattr(piece, "__func__", piece)  # such as a decorator of the registry
        if (inspect.isclass(piece) or inspect.isfunction(piece)) and piece not in seen:
            seen.add(piece)
            if piece.__module__.startswith("medbench."):
                found[piece] = parts(piece)
                words = re.findall(r"\w+", " ".join(hints for _, hints, *_ in found[piece][0]))
                known = named_in(piece.__module__)
                pending += [*(known.get(word) for word in words), *getattr(piece, "__mro__", ())]
    return [
        (f"{piece.__qualname__}: {name}", hints, said or "", errors, about)
        for piece, (its, about) in found.items()
        for name, hints, said, errors in its
    ]


def test_everything_public_has_a_docstring():
    assert not [name for name, _, said, _, _ in public() if not said]


def test_what_is_said_of_arrays_has_their_shape():
    assert not [n for n, hints, said, *_ in public() if "NDArray" in hints and "shape" not in said]


def test_errors_that_are_raised_are_named():
    assert not [
        f"{name} raises {error}"
        for name, _, said, errors, about in public()
        for error in errors
        if error not in said + about
    ]
