"""Scores whose true AUROC is known, and what intervals and comparisons make of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from medbench.evaluation.comparisons import compare_with_leader
from medbench.evaluation.intervals import fold_auroc_interval
from medbench.evaluation.resampling import FoldPredictions

MOST_FOLDS = 5
OF_THE_GROUP = 0.5
"""Share of a score's variance that all images of a group have in common."""
OF_THE_IMAGE = 0.7
"""Correlation between the scores that two models give an image, beyond its class."""
WANTED = (0.93, 0.97)
"""What a nominal 95% interval must cover."""
MOSTLY = 0.95
"""Share of the intervals of a failing setting that must carry a warning."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A test set, and how well models do on it."""

    images: int
    prevalence: float
    per_group: int
    cross_validated: bool
    auroc: float

    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Labels and groups of each fold; fewer folds where there are fewer groups of a class."""
        n_groups = self.images // self.per_group
        positive = max(2, int(self.prevalence * n_groups + 0.5))
        label = (np.arange(n_groups) < positive).astype(np.int64)
        folds = min(MOST_FOLDS, positive) if self.cross_validated else 1
        groups = np.repeat(np.arange(n_groups), self.per_group)
        return [
            (label[groups[rows]], groups[rows])
            for rows in (np.flatnonzero(groups % folds == fold) for fold in range(folds))
        ]


@dataclass(frozen=True, kw_only=True)
class Covered:
    """What became of the intervals of one setting; shares from 0 to 1, None where none is given."""

    setting: Setting
    positive_groups: int
    folds: int
    simulations: int
    given: float
    """Share of simulations with an interval."""
    covers: float | None
    """Share of the intervals given that hold the truth."""
    warned: float | None
    """Share of the intervals given with a warning."""
    unwarned_covers: float | None
    """Share of the intervals without a warning that hold the truth."""
    width: float | None
    """Mean width of the intervals given."""

    @property
    def verdict(self) -> str:
        """Whether the level holds, holds within twice the standard error, or is missed."""
        if self.covers is None:
            return "no interval"
        edge = WANTED[0]
        slack = 2 * math.sqrt(edge * (1 - edge) / (self.simulations * self.given))
        if WANTED[0] <= self.covers <= WANTED[1]:
            return "holds"
        if WANTED[0] - slack <= self.covers <= WANTED[1] + slack:
            return "nearly"
        return "misses, warned" if (self.warned or 0) >= MOSTLY else "MISSES"


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """How often equally good models were called different."""

    setting: Setting
    models: int
    leader: str
    """"named" before the scores are seen, or "highest" AUROC."""
    simulations: int
    separated: float
    """Share of simulations in which any model was separated from the leader."""
    warned: float


def as_json(record: Covered | FalseAlarms) -> dict[str, Any]:
    """A record with what follows from it."""
    extra = {"verdict": record.verdict} if isinstance(record, Covered) else {}
    return asdict(record) | extra


def settings(quick: bool) -> Iterator[Setting]:
    """All settings in which coverage is measured."""
    sizes = (60, 150) if quick else (60, 150, 600)
    for images, prevalence, per_group, crossed, auroc in itertools.product(
        sizes, (0.1, 0.5), (1, 4), (False, True), (0.7, 0.85, 0.97)
    ):
        yield Setting(
            images=images,
            prevalence=prevalence,
            per_group=per_group,
            cross_validated=crossed,
            auroc=auroc,
        )


def comparisons(quick: bool) -> Iterator[tuple[Setting, int, str]]:
    """Settings, numbers of models and kinds of leader in which false alarms are counted."""
    shapes = [(150, 0.5, 1), (600, 0.1, 1), (600, 0.5, 4)]
    for images, prevalence, per_group in shapes[: 1 if quick else None]:
        for crossed in (False, True):
            setting = Setting(
                images=images,
                prevalence=prevalence,
                per_group=per_group,
                cross_validated=crossed,
                auroc=0.85,
            )
            yield setting, 2, "highest"
            yield setting, 5, "named"
            yield setting, 5, "highest"


def coverage(setting: Setting, simulations: int, replicates: int) -> Covered:
    """Count how often the interval holds the true AUROC."""
    design = setting.folds()
    rng = np.random.default_rng(_seed(setting))
    found = []
    for number in range(simulations):
        (folds,) = _models(setting, design, 1, rng)
        interval = fold_auroc_interval(folds, 2, replicates, seed=number)
        if interval.low is None or interval.high is None:
            continue
        holds = interval.low <= setting.auroc <= interval.high
        found.append((holds, bool(interval.warning), interval.high - interval.low))
    table = np.array(found, dtype=np.float64).reshape(-1, 3)
    quiet = table[table[:, 1] == 0]
    return Covered(
        setting=setting,
        positive_groups=len(np.unique(np.concatenate([g[y == 1] for y, g in design]))),
        folds=len(design),
        simulations=simulations,
        given=len(table) / simulations,
        covers=_mean(table[:, 0]),
        warned=_mean(table[:, 1]),
        unwarned_covers=_mean(quiet[:, 0]),
        width=_mean(table[:, 2]),
    )


def false_alarms(
    setting: Setting, n_models: int, leader: str, simulations: int, replicates: int
) -> FalseAlarms:
    """Count how often models of one true AUROC are called separated."""
    design = setting.folds()
    rng = np.random.default_rng(_seed(setting) + n_models)
    separated = warned = 0
    for number in range(simulations):
        drawn = _models(setting, design, n_models, rng)
        models = {f"model {k}": folds for k, folds in enumerate(drawn)}
        named = "model 0" if leader == "named" else None
        compared = compare_with_leader(models, 2, leader=named, replicates=replicates, seed=number)
        separated += any(each.separated for each in compared.differences)
        warned += bool(compared.warning)
    return FalseAlarms(
        setting=setting,
        models=n_models,
        leader=leader,
        simulations=simulations,
        separated=separated / simulations,
        warned=warned / simulations,
    )


def _models(
    setting: Setting,
    design: list[tuple[np.ndarray, np.ndarray]],
    n_models: int,
    rng: np.random.Generator,
) -> list[list[FoldPredictions]]:
    """Binormal scores of equally good models: unit variance, means apart by sqrt(2) z(AUROC)."""
    apart = math.sqrt(2) * ndtri(setting.auroc)
    models: list[list[FoldPredictions]] = [[] for _ in range(n_models)]
    for labels, groups in design:
        shared = _noise(setting, groups, rng)
        for folds in models:
            noise = shared
            if n_models > 1:
                own = _noise(setting, groups, rng)
                noise = math.sqrt(OF_THE_IMAGE) * shared + math.sqrt(1 - OF_THE_IMAGE) * own
            score = apart * labels + noise
            folds.append(
                FoldPredictions(
                    labels=labels, probabilities=np.column_stack([-score, score]), groups=groups
                )
            )
    return models


def _noise(setting: Setting, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal, of unit variance, partly common to the images of a group."""
    alone = rng.normal(size=len(groups))
    if setting.per_group == 1:
        return alone
    _, group = np.unique(groups, return_inverse=True)
    common = rng.normal(size=group.max() + 1)[group]
    return math.sqrt(OF_THE_GROUP) * common + math.sqrt(1 - OF_THE_GROUP) * alone


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _seed(setting: Setting) -> int:
    """Equal settings see equal scores in every run."""
    shape = setting.images * 10 + setting.per_group + setting.cross_validated
    return shape * 10_000 + round(setting.auroc * 1000) + round(setting.prevalence * 10)
