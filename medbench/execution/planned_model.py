"""What a family says of itself before any fit: whether it applies, its tuner, what to search.

That is somebody's own code, run in the process that plans, so it may raise and answer anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from medbench import registry
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.execution.requirements import missing_requirement
from medbench.faults import is_fault, reason_of
from medbench.models.contract import ModelFamily
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights, check_weights_name


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A family on one data set: the tuner and weights it will use, or why it is left out."""

    name: str
    """Name of the family."""
    family: type[ModelFamily]
    """Its class."""
    tuner: str
    """Name of the tuner."""
    weights: Weights | None = None
    """Pretrained weights; None for a family without any."""
    skip: str | None = None
    """Why the family does not apply, its cells get no more than a row; None where it does."""
    space: SearchSpace = field(default_factory=SearchSpace)
    """What the tuner will search."""
    error: str | None = None
    """What the family's own code raised when it was asked for these, no fit is tried then; None
    where it raised nothing."""
    fault: bool = False
    """Whether that was trouble of the machine."""

    @property
    def fits(self) -> bool:
        """Whether its cells are worked on."""
        return self.skip is None and self.error is None


def plan_model(
    name: str, task: Task, wanted_tuner: str | None, say: Callable[[str], None]
) -> PlannedModel:
    """Ask a family what it says of itself; an error of its own code ends its cells and no more.

    Args:
        name: Of the family.
        task: What is to be classified.
        wanted_tuner: Tuner that the user asked for; None takes the family's own default.
        say: Shows a line to the user.

    Raises:
        UnknownNameError: There is no such family, or the tuner is not registered.
        PluginError: The installed plugin of that name cannot be used.
    """
    if wanted_tuner is not None:
        registry.tuners.get(wanted_tuner)
    cls: type[ModelFamily] = registry.models.get(name)
    tuner = wanted_tuner or ModelFamily.default_tuner
    asked = "the constructor"
    try:
        family = cls()
        asked = "skip"
        skip = missing_requirement(family) or family.skip(task)
        if skip is not None and not (isinstance(skip, str) and skip):
            raise ModelError(f"it returned {skip!r}, which is neither a reason nor None.")
        asked = "default_tuner"
        tuner = wanted_tuner or family.default_tuner
        if registry.tuners.get(tuner).prunes_itself and family.max_steps is None:
            say(f"{name}: has no steps for {tuner} to halve, so {family.default_tuner} tunes it")
            tuner = family.default_tuner
            registry.tuners.get(tuner)
        asked = "weights"
        if family.weights is not None:
            check_weights_name(family.weights)
        asked = "search_space"
        space = SearchSpace()
        if skip is None:
            family.search_space(space, task)
    except (Exception, SystemExit) as error:
        if tuner not in registry.tuners.names():
            tuner = ModelFamily.default_tuner
        return PlannedModel(
            name=name,
            family=cls,
            tuner=tuner,
            error=f"{asked} of the family: {reason_of(error)}",
            fault=is_fault(error),
        )
    return PlannedModel(name=name, family=cls, tuner=tuner, skip=skip, space=space)
