"""Whatever a message advises exists: options in the verb that prints it, commands, fields, extras.

The code is read, not run. From the function of each verb it is followed which functions, methods
and constants may come to be used (a method as soon as its class may be and something of its name
is asked for; of classes by name in the registry, all). Every text in those may be printed by that
verb, so an option named in it must be one of that verb, unless the text says whose it is: as "run
--retry", as "--retry of run", or as a whole command.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from medbench import registry
from medbench.cli import _VERBS, _parser
from medbench.datasets.readers import decoders
from medbench.datasets.sources.folder import GroupTable
from medbench.execution.suite import Suite
from medbench.features.engines import ENGINES
from medbench.versions import install_command

ROOT = Path(__file__).parents[2]
OPTION = r"--[a-z][a-z-]*[a-z](?![a-z-])"
FOREIGN = (
    "--query-gpu=name,memory.total,driver_version",
    "--format=csv,noheader",
    "--porcelain",
    "--xla_gpu_deterministic_ops=true",
)
"""Options given to other programs."""


# --- the verbs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verb:
    """A command that does something, as ``datasets add``."""

    options: frozenset[str]
    start: tuple[str, str]
    """Module and name of the function that does it."""


def _parsers(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser of the command line, by the words that lead to it."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _parsers(below, f"{name} {word}".strip())


def _verb(parser: argparse.ArgumentParser) -> Verb:
    execute = parser.get_default("execute")
    options = frozenset(word for action in parser._actions for word in action.option_strings)
    return Verb(options, (execute.__module__, execute.__name__))


VERBS = {
    name: _verb(parser)
    for name, parser in _parsers(_parser(tuple(_VERBS)))
    if parser.get_default("execute")
}
ALL_OPTIONS = frozenset({"--version"}).union(*(verb.options for verb in VERBS.values()))


# --- the code, as it is written -------------------------------------------------------------------

QualifiedName = tuple[str, str]
"""Module, and name of something at its top: ``function``, ``Class``, ``CONSTANT``; or of a class
``Class.method``."""


@dataclass
class Definition:
    """A function, a method, a constant, or what stands in a class outside its methods."""

    names: set[str] = field(default_factory=set)
    """Names that are used in it; of an attribute of a name also ``name.attribute``."""
    attributes: set[str] = field(default_factory=set)
    texts: list[tuple[int, str]] = field(default_factory=list)
    """Line, and text with ``{}`` for each part that is put in."""


class Module:
    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.aliases: dict[str, str] = {}
        self.definitions: dict[str, Definition] = {}
        self.bases: dict[str, list[str]] = {}
        self.methods: dict[str, list[str]] = {}
        only_types = {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and id(node) not in only_types:
                for one in node.names:
                    self.aliases[one.asname or one.name] = f"{node.module}.{one.name}"
            elif isinstance(node, ast.Import) and id(node) not in only_types:
                for one in node.names:
                    self.aliases[one.asname or one.name] = one.name
        for node in self.tree.body:
            self._add(node)

    def _add(self, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.definitions[node.name] = _definition([node])
        elif isinstance(node, ast.ClassDef):
            methods = [
                n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            self.bases[node.name] = [ast.unparse(base).split("[")[0] for base in node.bases]
            self.methods[node.name] = [method.name for method in methods]
            rest = [n for n in node.body if n not in methods]
            self.definitions[node.name] = _definition([*rest, *node.bases, *node.decorator_list])
            for method in methods:
                self.definitions[f"{node.name}.{method.name}"] = _definition([method])
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n.id for target in targets for n in ast.walk(target) if _is_name(n)):
                self.definitions[name] = _definition([node.value])
        elif isinstance(node, ast.With | ast.If | ast.Try):
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.stmt):
                    self._add(inner)


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def _definition(nodes: list[ast.AST]) -> Definition:
    definition, pending = Definition(), list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            definition.texts.append((node.lineno, "".join(map(str, parts))))
            pending += [v for v in node.values if not isinstance(v, ast.Constant)]
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            definition.texts.append((node.lineno, node.value))
        elif isinstance(node, ast.Name):
            definition.names.add(node.id)
        elif isinstance(node, ast.Attribute):
            definition.attributes.add(node.attr)
            definition.names.add(ast.unparse(node))
        skipped = ("annotation", "returns")
        pending += [
            child
            for name, value in ast.iter_fields(node)
            if name not in skipped
            for child in (value if isinstance(value, list) else [value])
            if isinstance(child, ast.AST)
        ]
    return definition


class Code:
    """All modules of MedBench."""

    def __init__(self, root: Path) -> None:
        self.modules: dict[str, Module] = {}
        for path in sorted((root / "medbench").rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            self.modules[name] = Module(name, path)

    def qualified(self, module: str, name: str) -> QualifiedName | None:
        """What a name in a module stands for, through imports; None for what is not MedBench's."""
        here = self.modules.get(module)
        first, _, rest = name.partition(".")
        if here is None:
            return None
        if first in here.definitions and not rest:
            return module, first
        if first not in here.aliases:
            return None
        meant = f"{here.aliases[first]}.{rest}".rstrip(".")
        if meant in self.modules:
            return None
        holder, _, last = meant.rpartition(".")
        return self.qualified(holder, last) if holder != module else None

    def reached(self, start: QualifiedName) -> set[QualifiedName]:
        """Everything that may be used once a function is called."""
        seen: set[QualifiedName] = set()
        attributes: set[str] = set()
        classes: set[QualifiedName] = set()
        pending = [start]
        while pending:
            while pending:
                whole_name = pending.pop()
                module, name = self.modules[whole_name[0]], whole_name[1]
                if whole_name in seen or name not in module.definitions:
                    continue
                seen.add(whole_name)
                definition = module.definitions[name]
                attributes |= definition.attributes
                named = [self.qualified(module.name, used) for used in definition.names]
                pending += [one for one in named if one is not None]
                for _, text in definition.texts:
                    pending += self._by_text(text)
                if name in module.bases:
                    classes.add(whole_name)
            for module, name in classes:
                pending += [
                    (module, f"{name}.{method}")
                    for method in self.modules[module].methods[name]
                    if method in attributes or method.startswith("__") or method.startswith("_has")
                ]
            pending = [whole_name for whole_name in pending if whole_name not in seen]
        return seen

    def _by_text(self, text: str) -> list[QualifiedName]:
        """What the registry, or a process to be started, names in a string."""
        module, _, name = text.partition(":")
        if "." not in module or module not in self.modules:
            return []
        return (
            [(module, name)]
            if name
            else [(module, one) for one in self.modules[module].definitions]
        )

    @cached_property
    def texts(self) -> dict[tuple[str, int, str], set[str]]:
        """Every text, by its module and line: the verbs that may print it."""
        found: dict[tuple[str, int, str], set[str]] = {
            (module.name, line, text): set()
            for module in self.modules.values()
            for definition in module.definitions.values()
            for line, text in definition.texts
        }
        for verb, about in VERBS.items():
            for module, name in self.reached(about.start):
                for line, text in self.modules[module].definitions[name].texts:
                    found[module, line, text].add(verb)
        return found


@pytest.fixture(scope="module")
def code():
    """Read once, and not where tests are only collected."""
    return Code(ROOT)


@pytest.fixture(scope="module")
def texts(code):
    """Every text with its module and line, and the verbs that may print it."""
    return [
        (f"{module}:{line}", text, verbs)
        for (module, line, text), verbs in sorted(code.texts.items())
    ]


# --- options --------------------------------------------------------------------------------------

_LIST = rf"{OPTION}(?:(?:, | and | or |, and |, or ){OPTION})*"
_VERB = rf"(?P<verb>(?:{'|'.join(sorted({name.split()[0] for name in VERBS}))})(?: [a-z]+)?)"
_OWNERS = (
    rf"\b{_VERB} (?P<options>{_LIST})",
    rf"\b(?P<verb>run)\b[^.;]*? with (?:the same )?(?P<options>{_LIST})",
    rf"(?P<options>{_LIST}) of (?:python -m medbench )?{_VERB}\b",
    rf"medbench {_VERB}\b(?P<options>[^.;,()]*)",
)
"""How a text says whose options it means."""


def wrong_options(text: str, verbs: set[str]) -> set[str]:
    """Options named in a text that a reader of it could not give.

    Args:
        text: With ``{}`` for what is put in.
        verbs: Which may print it; none for what is seen from Python or in a help text only.
    """
    text = text.replace("`gdcmconv --raw`", "").replace("pip install --force-reinstall", "")
    named = set(re.findall(rf"(?<![\w-]){OPTION}", text))
    if text in FOREIGN:
        return set()
    if text in named:
        return named - ALL_OPTIONS  # what looks an option up, or adds it where the verb has it
    echoed = re.match(rf"({OPTION})(?: \{{\}}(?:=\{{\}})?)?: ", text)
    allowed = {echoed[1]} & ALL_OPTIONS if echoed else set()  # what is wrong with what was given
    refused = set()
    for pattern in _OWNERS:
        for found in re.finditer(pattern, text, re.IGNORECASE):
            known = _options_of(found["verb"].lower())
            options = set(re.findall(OPTION, found["options"]))
            allowed |= options & known
            refused |= options - known
    owned = [VERBS[name].options for name in verbs] or [ALL_OPTIONS]
    lacking = {option for option in named if not all(option in options for options in owned)}
    return (lacking - allowed) | refused


def _options_of(words: str) -> frozenset[str]:
    """Options of a verb; of all below ``datasets`` where none of them follows."""
    if words in VERBS:
        return VERBS[words].options
    first = words.split()[0]
    return frozenset().union(*(v.options for name, v in VERBS.items() if name.split()[0] == first))


def test_every_option_that_is_named_is_one_of_the_verb_that_prints_it(texts):
    wrong = [
        f"{line}: {found} in {text!r}, printed by {sorted(verbs) or 'Python'}"
        for line, text, verbs in texts
        if "--" in text and (found := wrong_options(text, verbs))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_help_of_a_verb_names_its_own_options_only():
    for name, parser in _parsers(_parser(tuple(_VERBS))):
        verbs = {name} & VERBS.keys()
        for text in [parser.description, *(action.help for action in parser._actions)]:
            assert not wrong_options(text or "", verbs), (name, text)


@pytest.mark.parametrize(
    ("text", "verbs", "wrong"),
    [
        ("Give --nonsense.", {"run"}, {"--nonsense"}),
        ("give --slice N", {"predict"}, set()),
        ("give --slice N", {"predict", "run"}, {"--slice"}),
        ("{}: give --slice, from 1", {"serve"}, {"--slice"}),
        ("--slice {}: is no number.", {"run"}, set()),
        ("--slices {}: is no number.", {"run"}, {"--slices"}),
        ("Remove them, or run with --strict-split.", {"audit"}, set()),
        ("Remove them, or run with --slice.", {"audit"}, {"--slice"}),
        ("Give the run's command again (what failed: with --retry failed).", {"serve"}, set()),
        ("each run with the same --folds, --seeds and --seed", {"compare"}, set()),
        ("report --images shows them", {"serve"}, set()),
        ("report --download shows them", {"run"}, {"--download"}),
        ("python -m medbench datasets add NAME {} --label COLUMN", {"run"}, set()),
        ("python -m medbench datasets fetch {} --label COLUMN", {"run"}, {"--label"}),
        ("--label of python -m medbench datasets add", {"run"}, set()),
        ("--label of datasets fetch", {"run"}, {"--label"}),
        ("--label", {"run"}, set()),
        ("--labels", {"run"}, {"--labels"}),
    ],
)  # fmt: skip
def test_an_option_that_is_not_there_is_noticed(text, verbs, wrong):
    assert wrong_options(text, verbs) == wrong


def test_it_is_known_which_verb_prints_what(texts):
    def verbs(module: str, words: str) -> set[str]:
        (found,) = (
            who for line, text, who in texts if line.startswith(f"{module}:") and words in text
        )
        return found

    reading = {"run", "audit", "evaluate", "export", "reproduce"}
    assert verbs("medbench.datasets.readers.base", "above the limit of") > {*reading, "predict"}
    assert verbs("medbench.inference.external", "several labels into one") == {"evaluate"}
    assert verbs("medbench.datasets.add_entry", "Paste this into it") == {"datasets add"}
    assert verbs("medbench.store.holder", "another run is at work") > {"run", "evaluate"}
    assert verbs("medbench.tuning.hyperband", "counts steps") >= {"run", "reproduce"}
    assert "leaderboard" not in verbs(
        "medbench.running.carry_out", "nothing was trained or written"
    )
    printed = sum(bool(verbs) for _, _, verbs in texts)
    assert printed > 0.8 * len(texts)


# --- commands, fields, extras, environment variables ----------------------------------------------


def test_every_command_that_is_named_exists(texts):
    for line, text, _ in texts:
        for words in re.findall(r"python -m medbench ([a-z]+(?: [a-z]+)?)", text):
            known = words in VERBS or words.split()[0] in VERBS
            assert known, f"{line}: {words} in {text!r}"


SOURCES = [registry.sources.get(name) for name in registry.sources.names()]
FIELDS = frozenset().union(*(set(one.model_fields) for one in (*SOURCES, GroupTable, Suite)))
_FIELD = (
    r"\bthe field ([a-z_]+)",
    r"\bfield ([a-z_]+)(?=[.,:;)]| of its entry)",
    r"\bfields ([a-z_]+(?:(?:, | or | and )[a-z_]+)*)(?=[.:;])",
    r"\b(?:[Ww]rite|[Uu]se|[Ww]ith|[Aa]dd) ([a-z_]+): [a-z]",
)


def fields_in(text: str) -> set[str]:
    """Fields of entries that a text names."""
    found = [match for pattern in _FIELD for match in re.findall(pattern, text)]
    return {name for match in found for name in re.split(", | or | and ", match)}


def test_every_field_that_is_named_is_one_of_an_entry(texts):
    named = set()
    for line, text, _ in texts:
        fields = fields_in(text)
        assert fields <= FIELDS, f"{line}: {fields - FIELDS} in {text!r}"
        named |= fields
    assert named >= {"classes", "slices", "images", "task"}


def test_a_field_that_is_not_there_is_noticed():
    assert fields_in("Name it in the field folder.") == {"folder"}
    assert fields_in("Use source: table. Name them in the fields file, label or where.") == {
        "source", "file", "label", "where"
    }  # fmt: skip
    assert not {"folder"} <= FIELDS


def test_what_a_person_decides_is_a_field_and_an_option_of_datasets_add(code):
    for module in code.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("UndecidedError"):
                (decides,) = (k.value for k in node.keywords if k.arg == "field")
                line = f"{module.name}:{node.lineno}"
                if isinstance(decides, ast.Constant):
                    name = decides.value
                else:  # a constant of the module
                    ((_, name),) = module.definitions[ast.unparse(decides)].texts
                assert name in FIELDS, f"{line}: {name}"
                assert f"--{name}" in VERBS["datasets add"].options, f"{line}: --{name}"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGES = {
    "medbench",
    *(Requirement(one).name for of in (PROJECT["dependencies"], *EXTRAS.values()) for one in of),
    *(name for names in ENGINES.values() for name in names),
    *decoders(),
}


def test_every_package_that_is_to_be_installed_is_one_that_is_used(texts):
    named = set()
    for line, text, _ in texts:
        for extra in re.findall(r"(?:medbench|\.)\[(\w+)\]", text):
            assert extra in EXTRAS, f"{line}: extra {extra} in {text!r}"
        for command in re.findall(r"pip install ([^.`,;]*)", text):
            words = re.findall(r"\w[\w.-]*", re.sub(r"\[.*?\]|\{\}|-e |--[a-z-]+ ", "", command))
            assert {*words} <= PACKAGES, f"{line}: {words} in {text!r}"
            named |= {*words}
    assert "onnx" in named


def test_every_extra_that_is_to_be_installed_exists(code):
    asked = {
        node.args[0].value
        for module in code.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "install_command"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"cpu", "dicom", "serve"} <= asked <= EXTRAS.keys()


@pytest.mark.parametrize("installed", [True, False])
def test_an_extra_is_installed_where_it_can_be_had(monkeypatch, installed):
    """No package index has MedBench; pip finds extras of what is installed, or in a checkout."""
    known = {"medbench": "0"} if installed else {}
    monkeypatch.setattr("medbench.versions.distribution_versions", lambda names: known)
    assert install_command("cpu").startswith(
        'pip install "medbench[cpu]"' if installed else 'pip install ".[cpu]" in the checkout'
    )


def test_every_environment_variable_that_is_named_is_read(texts):
    read = {text for _, text, _ in texts if re.fullmatch("MEDBENCH_[A-Z_]+", text)}
    for line, text, _ in texts:
        assert set(re.findall("MEDBENCH_[A-Z_]+", text)) <= read, f"{line}: {text!r}"
    assert {"MEDBENCH_CACHE", "MEDBENCH_DATA", "MEDBENCH_WEIGHTS"} <= read
