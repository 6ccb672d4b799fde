"""The columns of a leaderboard, which are the fields of each of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import fields as _fields_of
from typing import Final, Literal

RowType = Literal["model", "sanity", "split by image", "published"]
Status = Literal["ok", "partial", "unfinished", "failed", "skipped", "published"]

CUT: Final = "cut"
"""The standing of a row whose chosen trial the budget cut in a fold."""
SCORELESS: Final[tuple[Status, ...]] = ("unfinished", "failed", "skipped")
"""Statuses of rows without a finished fold. ``unfinished``: the machine ended a cell, not the
family, and the run's command goes on with it."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """One model on one data set, in the order of the columns; what is not known is NaN.

    There is no rank: see ``standing``. Scores run from 0 to 1; names are as stored, so escape them
    before showing them.
    """

    dataset: str
    """Name of the data set."""
    model: str
    """Name of the model."""
    status: Status
    """``ok``: every fold is finished; ``partial``: some are; ``unfinished``, ``failed`` and
    ``skipped``: none is, see ``SCORELESS``; ``published``: what others have published."""
    auroc: float = math.nan
    """Area under the ROC curve on held-out images, mean of the folds."""
    auroc_low: float = math.nan
    """Lower end of its 95% interval."""
    auroc_high: float = math.nan
    """Upper end of its 95% interval."""
    auroc_fold_sd: float = math.nan
    """Its standard deviation over the folds; NaN of one fold."""
    balanced_accuracy: float = math.nan
    """Mean over the classes of the share of their held-out images that are decided rightly (of a
    multi-label task the mean of sensitivity and specificity of each label), mean of the folds."""
    inner_score: float = math.nan
    """AUROC on inner predictions, which chose the configuration; mean of the folds."""
    above_majority: float = math.nan
    """How far the AUROC lies above that of the majority class."""
    behind_leader: float = math.nan
    """How far the AUROC lies behind the leader's: the leader's minus this one."""
    behind_leader_low: float = math.nan
    """Lower end of its interval after Holm's correction."""
    behind_leader_high: float = math.nan
    """Upper end of its interval after Holm's correction."""
    p_holm: float = math.nan
    """p-value of the comparison with the leader, after Holm's correction."""
    seconds: float = math.nan
    """Wall seconds of search, refit and prediction, with what cached features had cost; sum over
    the folds."""
    size_mb: float = math.nan
    """Mean size of a fitted model in 10**6 bytes."""
    n_trials: int
    """Trials that were tried, sum over the folds."""
    complete_trials: float = math.nan
    """Those that were complete, sum over the folds: a whole number or NaN."""
    steps: float = math.nan
    """Steps of the chosen trial, median of the folds: a whole number or NaN."""
    max_steps: float = math.nan
    """Steps that it would have made, had nothing ended it."""
    step_name: str = ""
    """What a step is, as in ``epoch``; empty where there are none."""
    folds: str
    """Finished and expected, as in ``3/5``; empty for what others have published."""
    kind: RowType
    """``model``, ``sanity`` (sees no content of the image), ``split by image`` (patients may be on
    both sides of the split) or ``published``."""
    standing: Literal["", "leader", "tied", "behind", "cut"] = ""
    """``leader``, ``tied`` (cannot be told from the leader) or ``behind``; ``cut`` where the
    budget cut a chosen trial (such a row is compared with nothing); empty where nothing was
    compared."""
    positive: str = ""
    """The positive one of two classes; empty for other tasks."""
    note: str
    """What a reader must know of the row; may be empty."""


COLUMNS = tuple(one.name for one in _fields_of(Fields))
"""Columns of the leaderboard, in their order."""
COUNTS = ("complete_trials", "steps", "max_steps")
"""Columns of whole numbers that may be unknown."""
NUMBERS = tuple(
    one.name for one in _fields_of(Fields) if one.type == "float" and one.name not in COUNTS
)
