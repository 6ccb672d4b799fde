"""The options of the verbs that Python has too: the same for the command line and for Python.

``--data-dir`` is ``data_dir``. Both have what they are given checked here, and say the same of what
cannot be. Nothing heavy is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

from medbench.counts import LARGEST_SEED, MOST_CORES, MOST_FOLDS, MOST_SEEDS, MOST_TRIALS
from medbench.errors import ConfigurationError, unknown_name
from medbench.running.values import (
    Check,
    duration,
    flag,
    list_of,
    number,
    one_of,
    pairs,
    path,
    size,
    whole,
    word,
)

DEFAULT_SUITE = "demo"
CORE = ("hog-svm", "xgboost", "cnn", "inceptionv3")
"""Models that run where neither a suite nor the user names any."""
STAND_INS = {"inceptionv3": "efficientnet-lite0"}
"""By the name of one of them what runs in its place where its pretrained weights cannot be had: one
whose weights come by pip."""
SANITY = ("majority", "file-properties", "intensity", "border", "thumbnail")
"""Rows that run beside whatever is asked for."""
ALL = "all"
"""What names all models."""
FATAL: tuple[Literal["serious", "warning"], ...] = ("serious", "warning")
"""Severities that ``fail_on_audit`` may name; the first is meant where it names none."""
AUDIT_OUT = Path("results") / "audit"
"""Where findings go by default."""
FORMATS = ("html", "md", "latex", "csv", "json")
"""What a report is written as: the page, or tables."""
EXPORTED = ("onnx", "keras", "skops", "xgboost")
"""What a model is exported as."""
RETRIED = ("failed",)
"""How cells may have ended that ``retry`` runs again."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a verb, as they are used."""

    verb: ClassVar[str]
    """The function or method of Python that takes them, within ``medbench``."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The options that a person gives; what is None is not given.

        Raises:
            UnknownNameError: There is no such option; the message has the closest one.
            ConfigurationError: A value cannot be; the message says what may.
        """
        checks = _checks(cls)
        for name in given:
            if name not in checks:
                raise unknown_name(f"keyword of medbench.{cls.verb}", name, checks)
        return cls(
            **{
                name: checked(f"--{name.replace('_', '-')}", checks[name], value)
                for name, value in given.items()
                if value is not None
            }
        )

    @classmethod
    def check(cls, name: str) -> Check:
        """What checks a value of the option of that name."""
        return _checks(cls)[name]

    @classmethod
    def takes(cls, option: str) -> bool:
        """Whether an option, as ``--data-dir``, is one of them."""
        return option.removeprefix("--").replace("-", "_") in _checks(cls)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Options that say where data sets are, and what reads them."""

    data: Annotated[Path | None, path] = None
    data_dir: Annotated[Path | None, path] = None
    datasets_file: Annotated[Path | None, path] = None
    plugin: Annotated[tuple[Path, ...], list_of(path)] = ()


@dataclass(frozen=True, kw_only=True)
class AuditOptions(DataOptions):
    """Options of ``audit``, as they are used; see ``medbench.audit`` for what they mean."""

    verb: ClassVar[str] = "audit"
    datasets: Annotated[tuple[str, ...], list_of(word)] = ()
    out: Annotated[Path | None, path] = None
    skip_unreadable: Annotated[bool, flag] = False
    fail_on_audit: Annotated[
        Literal["serious", "warning"] | None, one_of(FATAL, if_true=FATAL[0])
    ] = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(AuditOptions):
    """Options of ``run``, as they are used; see ``medbench.run`` for what they mean."""

    verb: ClassVar[str] = "run"
    datasets: Annotated[tuple[str, ...], list_of(word, least=1)] = ()
    suite: Annotated[str | None, word] = None
    models: Annotated[tuple[str, ...] | None, list_of(word, least=1)] = None
    no_sanity: Annotated[bool, flag] = False
    inflation: Annotated[tuple[str, ...], list_of(word)] = ()
    budget: Annotated[str | None, word] = None
    trials: Annotated[int | None, whole(1, MOST_TRIALS)] = None
    time: Annotated[float | None, duration] = None
    total_time: Annotated[float | None, duration] = None
    folds: Annotated[int | None, whole(2, MOST_FOLDS)] = None
    seeds: Annotated[int | None, whole(1, MOST_SEEDS)] = None
    seed: Annotated[int | None, whole(0, LARGEST_SEED)] = None
    strict_split: Annotated[bool, flag] = False
    sensitivity: Annotated[float | None, number] = None
    specificity: Annotated[float | None, number] = None
    positive: Annotated[str | None, word] = None
    tuner: Annotated[str | None, word] = None
    jobs: Annotated[int, whole(1, MOST_CORES)] = 1
    threads: Annotated[int | None, whole(1, MOST_CORES)] = None
    executor: Annotated[str | None, word] = None
    cell_time: Annotated[float | None, duration] = None
    cell_memory: Annotated[int | None, size] = None
    retry: Annotated[Literal["failed"] | None, one_of(RETRIED)] = None
    dry_run: Annotated[bool, flag] = False
    download: Annotated[bool, flag] = False
    weights_dir: Annotated[Path | None, path] = None
    images: Annotated[bool | None, flag] = None

    def __post_init__(self) -> None:
        """Refuse what excludes each other.

        Raises:
            ConfigurationError: There is such a pair.
        """
        if self.sensitivity is not None and self.specificity is not None:
            raise ConfigurationError(
                "argument --specificity: not allowed with argument --sensitivity"
            )


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(DataOptions):
    """Options of ``reproduce``, as they are used; see ``Run.reproduce`` for what they mean."""

    verb: ClassVar[str] = "Run.reproduce"
    datasets: Annotated[tuple[str, ...] | None, list_of(word, least=1)] = None
    models: Annotated[tuple[str, ...] | None, list_of(word, least=1)] = None
    jobs: Annotated[int, whole(1, MOST_CORES)] = 1
    threads: Annotated[int | None, whole(1, MOST_CORES)] = None
    cell_time: Annotated[float | None, duration] = None
    cell_memory: Annotated[int | None, size] = None
    out: Annotated[Path | None, path] = None
    weights_dir: Annotated[Path | None, path] = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions):
    """Options of ``evaluate``, as they are used; see ``Run.evaluate_on`` for what they mean."""

    verb: ClassVar[str] = "Run.evaluate_on"
    datasets: Annotated[tuple[str, ...], list_of(word)] = ()
    class_map: Annotated[tuple[str, ...] | Mapping[str, str] | None, pairs] = None
    trained_on: Annotated[str | None, word] = None
    models: Annotated[tuple[str, ...], list_of(word, least=1)] = ("best",)
    skip_unreadable: Annotated[bool, flag] = False


@dataclass(frozen=True, kw_only=True)
class ExportOptions(DataOptions):
    """Options of ``export``, as they are used; see ``Run.export`` for what they mean."""

    verb: ClassVar[str] = "Run.export"
    dataset: Annotated[str | None, word] = None
    model: Annotated[str, word] = "best"
    format: Annotated[str | None, one_of(EXPORTED)] = None
    out: Annotated[Path | None, path] = None


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """Options of ``Run.report``, as they are used; see there for what they mean."""

    verb: ClassVar[str] = "Run.report"
    format: Annotated[str, one_of(FORMATS)] = FORMATS[0]
    out: Annotated[Path | None, path] = None
    images: Annotated[bool | None, flag] = None
    open: Annotated[bool, flag] = False


def _checks(options: type[Options]) -> dict[str, Check]:
    """What checks the value of each option of a class, by name."""
    hints = get_type_hints(options, include_extras=True)
    return {one.name: hints[one.name].__metadata__[0] for one in fields(options)}


def checked(name: str, check: Check, value: Any) -> Any:
    """A value as it is used.

    Raises:
        ConfigurationError: It cannot be; the message begins as those of the command line do.
    """
    try:
        return check(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"argument {name}: {error}") from None
