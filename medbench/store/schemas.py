"""What each JSON file of a run folder must hold so that it can be used.

What else it holds is kept as it is. What is absent is as good as null, where that is allowed.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from medbench.datasets.task import TaskType
from medbench.datasets.volume_rule import VolumeRule
from medbench.store.results import FinalStatus

_LARGEST = 10**15
"""Beyond it a number is damage: no sum or product that reports make of such numbers overflows."""
_LONGEST = 2**64 - 1
"""Largest whole number among settings: a seed may be larger than any measurement."""
_LONGEST_SIDE = 10_000
"""Pixels of an image that models see; an entry of a data set may ask for 1024."""

Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, Field(gt=0, le=_LARGEST)]
Amount = Annotated[float, Field(ge=0, le=_LARGEST)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Folds = Annotated[int, Field(ge=1, le=_LARGEST)]
Pixels = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]
Scalar = str | bool | Annotated[int, Field(ge=-_LONGEST, le=_LONGEST)] | Number | None
Threshold = Number | list[Number]


class Record(BaseModel):
    """A JSON object; a text is no number, and a truth neither."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Run(Record):
    """``run.json``."""

    format: int
    configuration: dict[str, Any]
    images: bool | None = None


class Configuration(Record):
    """Settings in ``run.json``."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    unequal: list[str] = []
    """Names of settings in which runs that were joined differ."""


class Environment(Record):
    """``environment.json``."""

    commit: dict[str, Scalar] | None = None
    packages: dict[str, str] | None = None
    threads: Count | None = None


class Dataset(Record):
    """``dataset.json``."""

    title: str
    task: TaskType
    classes: Annotated[list[str], Field(min_length=2)]
    class_counts: list[Count]
    n_images: Count
    n_groups: Count
    split: str
    n_folds: Folds
    synthetic: bool
    notes: list[str]
    licence: str
    fingerprint: str
    source: str | None = None
    citation: str | None = None
    homepage: str | None = None
    published: str | None = None
    collection: str | None = None
    caution_above: Number | None = None
    prevalence: Number | None = None
    positive: str | None = None
    positive_decided: str | None = None
    n_folds_by_image: Count | None = None
    volumes: VolumeRule | None = None
    official_file: bool | None = None
    place: str | None = None
    redistributable: bool | None = None
    image_shape: Annotated[list[Pixels], Field(min_length=3, max_length=3)] | None = None

    @field_validator("classes")
    @classmethod
    def _different(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("two are called the same")
        return classes

    @field_validator("class_counts")
    @classmethod
    def _one_a_class(cls, counts: list[int], info: ValidationInfo) -> list[int]:
        if len(counts) != len(info.data.get("classes", counts)):
            raise ValueError("there must be one for each class")
        return counts


class Finding(Record):
    """One finding of an audit."""

    check: str
    severity: str
    text: str
    remedy: str


class AuditReport(Record):
    """``audit.json``."""

    findings: list[Finding]


class Key(Record):
    """``key.json``."""

    key: str
    parts: dict[str, Any]


class ChunkList(Record):
    """``chunks.json`` in the folder of a model."""

    files: dict[str, list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]]


class Temperatures(Record):
    """How the probabilities of a cell are calibrated."""

    temperatures: Annotated[list[Positive], Field(min_length=1)]
    reason: str


class FailedTrials(Record):
    """Trials of a cell that its family's own errors ended."""

    n: Count
    of: Count
    reason: str


class Cell(Record):
    """``cell.json``."""

    status: FinalStatus
    repeat: Count
    by_image: bool
    fold: Count | None = None
    reason: str | None = None
    note: str | None = None
    sanity: bool | None = None
    params: dict[str, Scalar] | None = None
    members: dict[str, str] | None = None
    """Of an ensemble the hash of the model of each family that it is made of; ``params`` has their
    weights."""
    inner_score: Number | None = None
    n_trials: Count | None = None
    complete_trials: Count | None = None
    step: Count | None = None
    max_steps: Count | None = None
    step_name: str | None = None
    cut: str | None = None
    failed_trials: FailedTrials | None = None
    threshold: Threshold | None = None
    calibration: Temperatures | None = None
    seconds: dict[str, Amount] | None = None
    cpu_seconds: dict[str, Amount] | None = None
    size_bytes: Amount | None = None
    latency_seconds: Amount | None = None
    images_per_second: Amount | None = None
    peak_memory_bytes: Amount | None = None


class Unfinished(Record):
    """``unfinished.json``."""

    reason: str
    ended: str
    times: Count
    repeat: Count
    by_image: bool
    fold: Count | None = None
    sanity: bool | None = None


class Trial(Record):
    """One line of ``trials.jsonl``."""

    number: Count
    state: str
    params: dict[str, Scalar]
    score: Number | None = None
    fold_scores: list[Number] | None = None
    stage: str | None = None
    at_seconds: Amount | None = None


def _each_once(trials: list[Trial]) -> list[Trial]:
    if len({trial.number for trial in trials}) < len(trials):
        raise ValueError("a trial stands there twice")
    return trials


class Fitted(Record):
    """What an attempt tells of what it has fitted, before it predicts; part of ``cell.json``."""

    params: dict[str, Scalar]
    inner_score: Number
    n_trials: Count
    complete_trials: Count | None = None
    step: Count | None = None
    max_steps: Count | None = None
    step_name: str | None = None
    cut: str | None = None
    threshold: Threshold | None
    calibration: Temperatures
    seconds: dict[str, Number]


class Predicted(Record):
    """What an attempt tells of its predictions; part of ``cell.json``."""

    seconds: Amount


class External(Record):
    """``external.json``."""

    title: str
    synthetic: bool
    same_collection: bool
    class_map: dict[str, str]
    left_out: dict[str, Count]
    models_sha256: Annotated[list[str], Field(min_length=1)]
    n_images: Count
    n_groups: Count
    n_folds: Folds
    operating_point: str
    threshold: Threshold | None = None
    unlike: Amount | None = None


_TRIALS = TypeAdapter(Annotated[list[Trial], AfterValidator(_each_once)])


def damaged(record: Any, schema: type[Record]) -> list[str]:
    """Names of the entries that are absent or of a kind that cannot be used.

    Args:
        record: A JSON object as it was read.
        schema: What it must hold.
    """
    try:
        schema.model_validate(record)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return list(dict.fromkeys(str(one["loc"][0]) for one in found if one["loc"]))
    return []


def are_trials(records: list[Any]) -> bool:
    """Whether every line of ``trials.jsonl`` can be used."""
    try:
        _TRIALS.validate_python(records)
    except ValidationError:
        return False
    return True
