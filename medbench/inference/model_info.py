"""What is known of a model that predicts: its task, where it comes from, how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import numpy as np

from medbench.datasets.positive import UNKNOWN, in_words
from medbench.datasets.task import Task, TaskType
from medbench.datasets.volume_rule import VolumeRule, recorded
from medbench.evaluation.calibration import Calibration
from medbench.evaluation.metrics import Threshold, decide
from medbench.store.reading import split_of_format_3

RESEARCH_ONLY = "For research, not for diagnosis: no decision about a patient may rest on it."
"""Stands with every prediction."""
_ROUNDING = 1e-6
"""So far from one may weights sum up."""


@dataclass(frozen=True, kw_only=True)
class FoldInfo:
    """One of the fitted models whose mean predicts."""

    split: str
    """Name of the outer split whose development part it was fitted on."""
    params: Mapping[str, Any]
    """Its configuration, value by name of the parameter; of an ensemble the weights, by family."""
    calibration: Calibration
    """What is done to its probabilities."""
    threshold: Threshold
    """Its operating point, frozen on development data; None for several exclusive classes. See
    ``Model.threshold``."""
    sha256: str
    """Hash of its saved model, see ``medbench.hashes.sha256_of_folder``; empty where none was
    recorded."""
    fold: int | None = None
    """Its number among the folds of its repeat, from 0; None of an official split."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FoldInfo:
        """What ``ModelInfo.as_record`` gave of it.

        Args:
            record: The fields by name.

        Raises:
            KeyError, TypeError, ValueError: It lacks something, or holds something else.
        """
        calibration = Calibration.from_record(record["calibration"])
        # what was exported from a run of format 3 names its splits, but does not number its folds
        named = {"fold": split_of_format_3(record["split"])["fold"]}
        return cls(**{**named, **record, "calibration": calibration})


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """All of a model but its weights; JSON-ready as ``model.json`` of an exported one."""

    family: str
    """Name of its model family."""
    dataset: str
    """Name of the data set it was developed on."""
    title: str
    """What that data set is, in words."""
    task: Task
    """What it tells: its classes and the shape of its images."""
    synthetic: bool
    """Whether it has seen synthetic images only."""
    why: str
    """How it was chosen, in a sentence."""
    operating_point: str
    """How decisions are taken; see ``OperatingPoint``."""
    estimate: Mapping[str, Any]
    """Held-out scores, from 0 to 1: ``auroc``, ``auroc_low`` and ``auroc_high`` (a 95% interval),
    and of a binary task ``sensitivity`` and ``specificity`` at the frozen operating point, each
    None where unknown; and ``n_folds``."""
    verdicts: tuple[str, ...]
    """What speaks against trusting it, a sentence each: shortcuts, serious findings of the
    audit."""
    note: str
    """What was noted of it in the leaderboard; may be empty."""
    versions: Mapping[str, str]
    """Version of each package by which it was made, by name."""
    folds: tuple[FoldInfo, ...]
    """The fitted models whose mean it is."""
    positive_decided: str = UNKNOWN
    """How it was decided which of two classes is the positive one, ``task.positive``."""
    members: Mapping[str, tuple[FoldInfo, ...]] = field(default_factory=dict)
    """Of an ensemble the fitted models of each family, by name in the order of the alphabet: of the
    folds in which it has a weight, in the order of ``folds``. Empty of any other model."""

    volumes: VolumeRule | None = None
    """How pictures are made of files with several slices, as in development; None where it was
    developed on none."""

    def member(self, family: str) -> ModelInfo:
        """What is known of a family that an ensemble is made of, as of a model of its own."""
        return replace(self, family=family, folds=self.members[family], members={})

    @property
    def positive_words(self) -> str:
        """The positive class, and how it was decided; empty where there is none."""
        words = in_words(self.task.positive, self.positive_decided)
        return f"{words[:1].upper()}{words[1:]}"

    @property
    def multi_label(self) -> bool:
        """Whether any number of classes may be present in an image."""
        return self.task.task_type == "multi-label"

    @property
    def official(self) -> bool:
        """Whether it was developed on an official split, so that its models differ by seed only."""
        return all(fold.fold is None for fold in self.folds)

    @property
    def estimate_words(self) -> str:
        """The held-out score and what it is a score of, in one sentence."""
        from medbench.reports.text import format_interval, format_score

        known = {name: value for name, value in self.estimate.items() if value is not None}
        if "auroc" not in known:
            return "No held-out score of it is known."
        nan = float("nan")
        bounds = known.get("auroc_low", nan), known.get("auroc_high", nan)
        words = f"AUROC {format_interval(known['auroc'], *bounds)}"
        if "sensitivity" in known and "specificity" in known:
            words += (
                f", sensitivity {format_score(known['sensitivity'])} and specificity "
                f"{format_score(known['specificity'])} at the operating point"
            )
        n = len(self.folds)
        if n == 1:
            return f"{words}, on the held-out part."
        if self.official:
            return (
                f"{words}: the mean over {n} models, fitted with {n} seeds, on the official "
                "held-out part. Their mean, which predicts here, was not scored."
            )
        return (
            f"{words}: the cross-validated estimate of single fold models ({n} folds). No "
            "image was held out from all of them, so their mean, which predicts here, has no score."
        )

    @property
    def calibration_words(self) -> str:
        """Why probabilities are as the models gave them; empty where they are calibrated."""
        reasons = dict.fromkeys(fold.calibration.reason for fold in self.folds)
        return "; ".join(filter(None, reasons))

    def as_record(self) -> dict[str, Any]:
        """For ``model.json``."""
        record = asdict(self)
        record["task"]["kind"] = record["task"].pop("task_type")
        volumes = self.volumes and self.volumes.model_dump()
        return {**record, "positive": self.task.positive or None, "volumes": volumes}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ModelInfo:
        """What ``as_record`` gave, through JSON.

        Args:
            record: The fields by name, as ``model.json`` has them.

        Raises:
            KeyError, TypeError, ValueError: It lacks something, or holds something else.
        """
        if record["task"]["kind"] not in get_args(TaskType):
            raise ValueError(f"kind {record['task']['kind']!r}")
        if not isinstance(record.get("positive_decided", ""), str):
            raise ValueError("positive_decided")
        if not all(v is None or isinstance(v, int | float) for v in record["estimate"].values()):
            raise ValueError("estimate")
        task = record["task"]
        task = Task(
            classes=tuple(map(str, task["classes"])),
            image_shape=tuple(map(int, task["image_shape"])),  # type: ignore[arg-type]
            task_type=task["kind"],
        )
        folds = tuple(FoldInfo.from_record(fold) for fold in record["folds"])
        verdicts = tuple(map(str, record["verdicts"]))
        # exported before these were recorded
        record = {"positive_decided": UNKNOWN, "members": {}, "volumes": None, **record}
        members = {
            str(name): tuple(FoldInfo.from_record(fold) for fold in of_family)
            for name, of_family in sorted(record["members"].items())
        }
        known = {name: record[name] for name in cls.__dataclass_fields__}
        known |= {"task": task, "folds": folds, "verdicts": verdicts, "members": members}
        known["volumes"] = recorded(record["volumes"])
        info = cls(**known)
        if members:
            _check_weights(info)
        for fold in (*info.folds, *(fold for one in members.values() for fold in one)):
            decide(np.full((1, len(task.classes)), 0.5), fold.threshold)
            temperatures = np.array(fold.calibration.temperatures, dtype=np.float64)
            if len(temperatures) not in (1, len(task.classes)) or not (temperatures > 0).all():
                raise ValueError(f"temperatures {fold.calibration.temperatures}")
        return info


def _check_weights(info: ModelInfo) -> None:
    """Make sure that every weight of an ensemble is one, and of a model that is there.

    Raises:
        TypeError, ValueError: One is not.
    """
    there = {(name, fold.split) for name, folds in info.members.items() for fold in folds}
    wanted = {(name, fold.split) for fold in info.folds for name in fold.params}
    if there != wanted:
        raise ValueError("other members than have a weight")
    for fold in info.folds:
        weights = np.array([*fold.params.values()], dtype=np.float64)
        if not ((weights > 0).all() and abs(weights.sum() - 1) < _ROUNDING):
            raise ValueError(f"weights {dict(fold.params)}")
