"""Suites: what to run, under which budget, written down in a short YAML file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medbench.counts import LARGEST_SEED, MOST_FOLDS, MOST_SEEDS
from medbench.datasets.catalog import shipped
from medbench.datasets.yaml_document import YamlDocument
from medbench.errors import ConfigurationError, unknown_name
from medbench.models.backbone_files import is_file, seen_from
from medbench.tuning.budget import BUDGETS, Budget


class Suite(BaseModel):
    """One suite; the fields are the keys its file may have. No ``models``: those by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str = ""
    datasets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] | None = Field(default=None, min_length=1)
    budget: str = "quick"
    folds: int = Field(default=5, ge=2, le=MOST_FOLDS)
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS)
    inner_folds: int = Field(default=3, ge=2, le=MOST_FOLDS)
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)


def load_suite(
    name: str, *, datasets: Collection[str], models: Collection[str]
) -> tuple[str, Suite]:
    """A suite by name, or from a YAML file.

    Args:
        name: Its name, or the path of its file.
        datasets: All data sets that it may name.
        models: All models that it may name, besides files of backbones.

    Returns:
        Its short name and content; paths of backbones are seen from where the file is.

    Raises:
        ConfigurationError: There is no such suite, or its file is wrong or names something that
            there is not (with the line).
    """
    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        known = {path.stem: path for path in sorted(shipped("suites").glob("*.yaml"))}
        if name not in known:
            raise unknown_name("suite", name, known)
        file = known[name]
    elif not file.is_file():
        raise ConfigurationError(f"--suite {file}: there is no such file.")
    document = YamlDocument(file)
    suite: Suite = document.validate(Suite, document.mapping, (), f'suite "{file.stem}"', "suite")
    if suite.budget not in BUDGETS:
        unknown = unknown_name("budget", suite.budget, BUDGETS)
        raise ConfigurationError(f"{document.location('budget')}: {unknown}")
    for noun, field, named, there in (
        ("data set", "datasets", suite.datasets, datasets),
        ("model family", "models", suite.models or (), models),
    ):
        for number, entry in enumerate(named):
            if entry not in there and not (field == "models" and is_file(entry)):
                error = unknown_name(noun, entry, there)
                raise ConfigurationError(f"{document.location(field, number)}: {error}")
    if suite.models is not None:
        of_file = tuple(seen_from(file.parent, model) for model in suite.models)
        suite = suite.model_copy(update={"models": of_file})
    return file.stem, suite


def named_budget(name: str) -> Budget:
    """A budget by name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in BUDGETS:
        raise unknown_name("budget", name, BUDGETS)
    return BUDGETS[name]
