"""Which models a test set can tell apart: paired intervals of the difference between AUROCs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr

from medbench.errors import ProtocolError
from medbench.evaluation.intervals import LEVEL, t_quantile
from medbench.evaluation.resampling import FoldPredictions, Resampled, resample, standard_error

Standing = Literal["ahead", "behind", "neither"]
"""``neither``: they cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far the AUROC of one model lies above that of another on the same patients."""

    model: str
    """The leader, or whichever model was named first."""
    rival: str
    """The other one."""
    difference: float
    """AUROC of the model minus that of the rival, each averaged over the folds; from -1 to 1."""
    low: float
    """Lower end of the 95% interval of this difference taken alone."""
    high: float
    """Upper end of it."""
    corrected_low: float
    """Lower end of the interval at the level that Holm's correction asks of this rival."""
    corrected_high: float
    """Upper end of it."""
    p: float
    """Two-sided p of no difference, of this rival taken alone."""
    p_holm: float
    """The same after Holm's correction over all rivals of the comparison."""
    separated: bool
    """Whether the corrected interval excludes 0, which is whether ``p_holm`` is below 0.05."""

    @property
    def standing(self) -> Standing:
        """Where the model stands to the rival, as far as the corrected interval shows."""
        if not self.separated:
            return "neither"
        return "ahead" if self.difference > 0 else "behind"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A leader against all other models on one data set."""

    leader: str
    """Name of the leader."""
    differences: tuple[Difference, ...]
    """One a rival, the smallest p first; empty where ``reason`` says why."""
    tie_group: tuple[str, ...]
    """The leader and every model not separated from it, in the order given; empty with a reason."""
    smallest_visible: float | None
    """Smallest difference that the first step of Holm's correction would have called separated:
    half the width of the interval at level 1 - 0.05 / (number of rivals), smallest over rivals
    with any noise in their difference. None where there is none."""
    reason: str = ""
    """Why nothing could be compared; empty where it could."""
    warning: str = ""
    """Why the levels may not hold on these patients; else empty."""


def compare_with_leader(
    models: Mapping[str, Sequence[FoldPredictions]],
    n_classes: int,
    *,
    leader: str | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Tell which models are separated from the leader, by a paired bootstrap over groups.

    Args:
        models: Held-out predictions of each model, one entry a fold, all on the same folds.
        n_classes: Number of classes of the task.
        leader: As for ``compare_resampled``.
        replicates: Number of bootstrap replicates, at least 2.
        seed: Seed of the resampling.

    Returns:
        See ``compare_resampled``.

    Raises:
        ProtocolError: As ``resample`` and ``compare_resampled``.
    """
    return compare_resampled(resample(models, n_classes, replicates, seed), leader=leader)


def compare_resampled(models: Mapping[str, Resampled], *, leader: str | None = None) -> Comparison:
    """Tell which models are separated from the leader, by their replicates on the same resamples.

    Every model is scored on the same resamples of the same patients. The standard error of a
    difference is that of the differences of the replicates; intervals and p take t quantiles of
    it, with Satterthwaite's degrees of freedom, as ``auroc_interval`` does. Holm's step-down
    correction runs over the rivals: the i-th smallest of m values of p is held against
    0.05 / (m - i + 1), its corrected interval has the level that belongs to that, and from the
    first that is not below on, no rival is separated and all have the level of that first one.

    Where no resample changes a difference, identical scores give p = 1, and any other difference
    (perfect separation against constant scores) p = 0 with a warning.

    Args:
        models: What one call of ``resample`` gave for each model.
        leader: The model to compare with the others; by default that of the highest AUROC, the
            first of equals. Chosen by the same test set it is flattered: among five equally good
            models one is called separated 5 to 8 times in 100 (``docs/coverage.md``).

    Returns:
        The comparison; one without numbers but with a ``reason`` where a class of a fold has
        too few groups.

    Raises:
        ProtocolError: No models, an unknown leader, or models that were not resampled together.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6(2); for the bootstrap see ``resample``.
    """
    if not models:
        raise ProtocolError("there are no models to compare.")
    names = list(models)
    leader = max(names, key=lambda name: models[name].auroc) if leader is None else leader
    if leader not in models:
        raise ProtocolError(f"leader {leader!r} is none of the models: {', '.join(names)}.")
    first = models[leader]
    plan = first.plan
    for name, each in models.items():
        if each.plan is not plan:
            raise ProtocolError(
                f"models {leader!r} and {name!r} cannot be compared: they were not resampled "
                "together, on the same images of the same folds in the same order."
            )
    if plan.obstacle:
        reason = plan.obstacle.replace("no interval", "no comparison")
        return Comparison(
            leader=leader, differences=(), tie_group=(), smallest_visible=None, reason=reason
        )
    raw = [
        _Raw(
            rival=name,
            difference=first.auroc - each.auroc,
            error=standard_error(first.replicates - each.replicates),
            free=plan.degrees_of_freedom(first.influence - each.influence),
        )
        for name, each in models.items()
        if name != leader
    ]
    differences = _holm(leader, raw)
    apart = {each.rival for each in differences if each.separated}
    first_step = 1 - (1 - LEVEL) / max(1, len(raw))
    visible = [t_quantile(first_step, each.free) * each.error for each in raw if each.error > 0]
    silent = [each.rival for each in raw if each.error == 0 and each.difference != 0]
    warnings = [plan.warning] if plan.warning else []
    if silent:
        warnings.append(f"no resample changes the difference to {', '.join(silent)}")
    return Comparison(
        leader=leader,
        differences=differences,
        tie_group=tuple(name for name in names if name not in apart),
        smallest_visible=min(visible, default=None),
        warning="; ".join(warnings),
    )


def paired_difference(
    first: Sequence[FoldPredictions],
    second: Sequence[FoldPredictions],
    n_classes: int,
    *,
    names: tuple[str, str] = ("first", "second"),
    replicates: int = 2000,
    seed: int = 0,
) -> Difference:
    """The difference between two models on the same folds, first minus second.

    Args:
        first: Held-out predictions of a model, one entry a fold.
        second: Those of another, on the same folds.
        n_classes: Number of classes of the task.
        names: What to call them.
        replicates: Number of bootstrap replicates, at least 2.
        seed: Seed of the resampling.

    Returns:
        The difference; with one rival nothing is corrected, and both intervals are one.

    Raises:
        ProtocolError: As ``compare_with_leader``; or a class of a fold has too few groups, or
            both models have one name.
    """
    if names[0] == names[1]:
        raise ProtocolError(f"both models are named {names[0]!r}. Give them two names.")
    models = {names[0]: first, names[1]: second}
    compared = compare_with_leader(
        models, n_classes, leader=names[0], replicates=replicates, seed=seed
    )
    if compared.reason:
        raise ProtocolError(f"{compared.reason}. Use fewer folds, or add patients.")
    return compared.differences[0]


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """A difference before any level is chosen."""

    rival: str
    difference: float
    error: float
    free: float

    @property
    def p(self) -> float:
        if self.error == 0:
            return float(self.difference == 0)
        return float(2 * stdtr(self.free, -abs(self.difference) / self.error))

    def interval(self, level: float) -> tuple[float, float]:
        reach = t_quantile(level, self.free) * self.error
        return self.difference - reach, self.difference + reach


def _holm(leader: str, raw: Sequence[_Raw]) -> tuple[Difference, ...]:
    """Holm's correction over the rivals, with intervals of the level that each is held against."""
    alpha = 1 - LEVEL
    differences: list[Difference] = []
    level, p_holm, separated = LEVEL, 0.0, True
    for position, each in enumerate(sorted(raw, key=lambda one: one.p)):
        left = len(raw) - position
        p_holm = max(p_holm, min(1.0, left * each.p))
        if separated:
            level = 1 - alpha / left
            separated = left * each.p < alpha
        low, high = each.interval(LEVEL)
        corrected_low, corrected_high = each.interval(level)
        differences.append(
            Difference(
                model=leader,
                rival=each.rival,
                difference=each.difference,
                low=low,
                high=high,
                corrected_low=corrected_low,
                corrected_high=corrected_high,
                p=each.p,
                p_holm=p_holm,
                separated=separated,
            )
        )
    return tuple(differences)
