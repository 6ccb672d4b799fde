"""What a cell costs on this machine: from what finished cells took, else from a shipped table.

Each finished cell leaves a small note in the cache: what its parts took, on how many images of what
size. A cell that is still to run is expected to take what such cells took, scaled to its own
images; those most like it have the most to say. Where this machine has measured nothing of a
family, cells of the machine that made the table stand in, times how much slower this one is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from medbench.cache import cache_folder, keep_note, read_note
from medbench.counts import MOST_TRIALS
from medbench.execution.machine_speed import machine_seconds, note_of
from medbench.execution.plan import PlannedCell
from medbench.faults import is_fault
from medbench.tuning.budget import PASSES, SEARCH_SHARE

TABLE = Path(__file__).with_name("reference_costs.json")
"""What cells took on the machine that made the table; ``python benchmarks/costs`` makes it anew."""
REPORTS, START, START_KERAS = "reports", "start", "start with Keras"
"""In place of a family's name: what a run spends beside its cells. Its end, on tables, figures and
page; and the imports of the process off which cells are forked, for which the first one waits."""
_MOST_KEPT = 40
"""Measurements of a family that are kept; the oldest go first."""
_OWN_TRUST = 20.0
"""How much more a cell of this machine says than one like it in the table."""
_NEAR = 0.05
"""Squared distance (of logarithms) below which cells are alike: about a quarter more images."""
_SLOWEST = 5.0
"""Most that this machine is taken to be slower, or faster, than that of the table."""
_STILL_WARM, _KNOWN_WARM = 0.75, 0.95
"""Share of the features that a cell finds in the cache: those of later trials, which are not the
same ones, after another cell of its data set in this run; all, after an earlier run."""
_WORK = {"images": 1.0, "pixels": 0.5, "threads": -0.6}
"""Exponents with which fits and features grow: with the pixels less, since families resize; threads
help less than their number. They only bridge what was not measured."""
_MOSTLY_SET_UP = {"images": 0.5}
"""Likewise where much is always the same: a page and figures come once, intervals for each row; a
sanity row is a few trees on few numbers, whatever the size of the images."""
_FEWEST_IMAGES = 100
"""Parts of fewer images are taken to be as long as of so many: what is set up costs the same."""
_FEWEST_STEPS = 3
"""Fewer steps of a fit that was cut tell what it costs to begin, not what a step costs."""
_TINY = 1e-3
"""Seconds added to parts, so that a part of nothing has a logarithm."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one cell took, in seconds, and of what it was."""

    source: str
    """Hash of the code of the family; "" in the table."""
    data: str
    """Hash of the prepared pixels; "" in the table."""
    images: int
    """Of the development part; of ``REPORTS`` rows of all predictions."""
    side: float
    """Square root of height times width, in pixels."""
    threads: int
    held_out: int = 1
    """Images predicted."""
    folds: int = 1
    """Inner folds on which each trial was tried."""
    fixed: float | None
    """Process, loading, calibration, saving, speed of predictions; None where the cell waited for
    imports too."""
    first: float | None = None
    """First trial as it is charged: with the cold cost of its features."""
    first_features: float = 0.0
    """Those features alone."""
    trial: float | None = None
    """Mean of the later trials of the search, as they are charged; None where there were none."""
    trial_features: float = 0.0
    refinement: float | None = None
    """Mean of the trials after the search; None where there were none."""
    finish: float = 0.0
    """What the search took beside them: the best one on its other inner folds, suggestions."""
    refit: float | None = None
    """None where the model is the fit of a trial."""
    prediction: float = 0.0


_PARTS = ("first", "first_features", "trial", "trial_features", "refinement", "finish", "refit",
          "prediction", "fixed")  # fmt: skip
_NUMBERS = {f.name for f in fields(Measurement)} - {"source", "data"}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a cell is expected to do."""

    trials: int
    """Configurations that its budget lets it try."""
    first: float
    """Seconds of the budget that its first trial needs until it is complete."""
    trial: float
    """Seconds of the budget that each further one needs."""
    ends_first: bool
    """Whether the first trial ends before the budget does, or is not cut by it."""
    exhausted: bool
    """Whether there are no more configurations to try."""
    seconds: float
    """Wall seconds of the whole cell."""

    share: float = 1.0
    """Share of the budget that the search has from its second trial on."""

    def seconds_for(self, trials: int) -> float:
        """Seconds of a budget that allows so many trials."""
        return self.first if trials == 1 else (self.first + (trials - 1) * self.trial) / self.share


class Costs:
    """What cells of a plan are expected to take on this machine."""

    def __init__(self, threads: int) -> None:
        """Nothing is read or measured yet; ``threads``: of each cell."""
        self._threads = threads
        self._own: dict[str, list[Measurement]] = {}
        self._expected: dict[object, Expected | None] = {}
        self._begun: set[tuple[str, str]] = set()
        self._started: set[str] = set()

    def expected(self, cell: PlannedCell) -> Expected | None:
        """What a cell is expected to do; None where nothing is known of its family.

        Of each data set and family the cell that is asked for first computes the features.
        """
        if cell.id not in self._expected:
            self._expected[cell.id] = self._expect(cell)
        return self._expected[cell.id]

    def outside(self, cells: Sequence[PlannedCell]) -> float:
        """Seconds that a run of the given cells takes beside them."""
        wanted = {"images": rows_of(cells), "side": 1.0, "threads": self._threads}
        names = {REPORTS, *(start_of(cell) for cell in cells)}
        parts = [
            _part(self._known(name, ""), "fixed", wanted, _MOSTLY_SET_UP if name == REPORTS else {})
            for name in names
        ]
        return sum(part or 0.0 for part in parts)

    def learn(
        self,
        cell: PlannedCell,
        record: Mapping[str, Any],
        trials: Sequence[Mapping[str, Any]],
        *,
        begun_before: bool,
    ) -> None:
        """Keep what a finished cell took.

        Of each kind of process the first cell that is told of has waited for its imports.

        Args:
            cell: The cell.
            record: Its ``cell.json``.
            trials: Its finished trials.
            begun_before: Whether an earlier start has done a part, which tells nothing then.
        """
        first = (start := start_of(cell)) not in self._started
        self._started.add(start)
        measurement = measured(cell, record, trials, self._threads)
        if begun_before or measurement is None:
            return
        if first and measurement.fixed is not None:
            self._learn_beside(start, 1, measurement.fixed)
            measurement = replace(measurement, fixed=None)
        self._keep(cell.model.name, measurement)

    def learn_reports(self, cells: Sequence[PlannedCell], seconds: float) -> None:
        """Keep what the end of a run took."""
        self._learn_beside(REPORTS, rows_of(cells), seconds)

    def _learn_beside(self, name: str, images: int, seconds: float) -> None:
        found = Measurement(
            source="", data="", images=images, side=1.0, threads=self._threads, fixed=seconds
        )
        self._keep(name, found)

    def _keep(self, family: str, measurement: Measurement) -> None:
        kept = [*_read(family), measurement][-_MOST_KEPT:]
        keep_note(note_of(family), [asdict(each) for each in kept])
        self._own.pop(family, None)

    def _known(self, family: str, source: str) -> list[tuple[float, float, Measurement]]:
        """Trust, factor and measurement of all that is known of a family."""
        if family not in self._own:
            self._own[family] = _read(family)
        own = [each for each in self._own[family] if each.source == source]
        shipped, seconds = table()
        if not shipped.get(family):
            return [(_OWN_TRUST, 1.0, each) for each in own]
        slower = min(max(machine_seconds() / seconds, 1 / _SLOWEST), _SLOWEST)
        return [
            *((_OWN_TRUST, 1.0, each) for each in own),
            *((1.0, slower, each) for each in shipped[family]),
        ]

    def _expect(self, cell: PlannedCell) -> Expected | None:
        known = self._known(cell.model.name, cell.key_parts["source"])
        if not known:
            return None
        data, split = cell.dataset.data, cell.split
        wanted = {
            "images": len(split.development),
            "side": _side(data.task.image_shape),
            "threads": self._threads,
            "held_out": len(split.held_out),
            "folds": _folds(cell, cell.settings.inner_folds),
        }
        work = _MOSTLY_SET_UP if cell.model.family.sanity else _WORK
        parts = {
            name: _part(known, name, wanted, {} if name == "fixed" else work) for name in _PARTS
        }
        first = parts["first"] or 0.0
        trial = parts["trial"] or first
        if cell.split.validation is not None:
            parts["finish"] = parts["refit"] = None
        finish = parts["finish"] or 0.0
        budget = cell.settings.budget
        whole = math.inf if budget.seconds is None else budget.seconds
        refinement, least = parts["refinement"], trial
        if cell.model.family.weights is not None:
            least = wanted["folds"] * PASSES * (parts["first_features"] or 0.0)
        refinement = least if refinement is None else refinement
        begins = first + finish + max(refinement, least) <= whole
        n_refinements = _n_refinements(cell) if begins else 0
        share = SEARCH_SHARE if n_refinements else 1.0
        most = (budget.trials or MOST_TRIALS) - n_refinements if cell.tuned else 1
        most = max(1, min(most, int(min(cell.model.space.n_configurations, MOST_TRIALS))))
        room = max(0.0, whole * share - first - finish)
        more = room / max(trial, _TINY)
        trials = max(1, most if more >= most else min(most, 1 + int(more)))
        spent = first + finish + (trials - 1) * trial
        ends_first = first + finish <= whole
        if cell.model.family.max_steps is not None and not ends_first:
            spent = whole  # a fit in steps is cut; another one runs to its end
        tried = trials
        for _ in range(n_refinements):
            if spent + refinement <= whole and (budget.trials is None or tried < budget.trials):
                spent, tried = spent + refinement, tried + 1
        warm_first, warm_later = self._warm(cell)
        saved = warm_first * (parts["first_features"] or 0.0)
        saved += warm_later * (trials - 1) * (parts["trial_features"] or 0.0)
        on_top = sum(parts[name] or 0.0 for name in ("fixed", "refit", "prediction"))
        return Expected(
            trials=tried,
            first=first + finish,
            trial=trial,
            share=share,
            ends_first=ends_first,
            exhausted=tried >= cell.model.space.n_configurations,
            seconds=on_top + spent - min(saved, spent),
        )

    def _warm(self, cell: PlannedCell) -> tuple[float, float]:
        """Shares of the features of its first and of later trials that are in the cache by then."""
        name = cell.model.name
        pair = (cell.dataset.data.name, name)
        before = pair in self._begun
        self._begun.add(pair)
        data = cell.dataset.data.pixels_sha256[:16]
        if any(each.data == data for each in self._own[name]) and _has_features():
            return _KNOWN_WARM, _KNOWN_WARM
        return (1.0, _STILL_WARM) if before else (0.0, 0.0)


def measured(
    cell: PlannedCell,
    record: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    threads: int,
) -> Measurement | None:
    """What a finished cell took, from its record and its trials; None where that tells nothing.

    Args:
        cell: The cell.
        record: Its ``cell.json``.
        trials: Its finished trials, in order.
        threads: That it had.
    """
    seconds = record["seconds"]
    fitted = [t for t in trials if not (t.get("state") == "stopped" and t.get("reason"))]
    searched = [trial for trial in fitted if trial["stage"] == "search"]
    refined = [trial["seconds"] for trial in fitted if trial["stage"] == "refinement"]
    finished = sum(trial["seconds"] for trial in fitted if trial["stage"] == "finish")
    if not searched:
        return None
    first = searched[0]
    slower = 1.0
    if record.get("cut"):  # what is not finished tells of its steps only
        if (record.get("step") or 0) < _FEWEST_STEPS or not record.get("max_steps"):
            return None
        slower = max(1.0, record["max_steps"] / record["step"])
    later, n_later = sum(trial["seconds"] for trial in searched[1:]), len(searched) - 1
    first_features = first["features_seconds"]
    later_features = max(0.0, searched[-1]["features_seconds"] - first_features)
    computed = seconds.get("features_computed", seconds["features"])
    search = seconds["tuning"] - seconds["features"] + computed
    on_top = seconds["wall_of_last_start"] - search - seconds["refit"] - seconds["prediction"]
    data = cell.dataset.data
    return Measurement(
        source=cell.key_parts["source"],
        data=data.pixels_sha256[:16],
        images=len(cell.split.development),
        side=_side(data.task.image_shape),
        threads=threads,
        held_out=len(cell.split.held_out),
        folds=_folds(cell, record["inner_folds"]),
        fixed=max(0.0, on_top),
        first=first_features + slower * max(0.0, first["seconds"] - first_features),
        first_features=first_features,
        trial=later / n_later if n_later else None,
        trial_features=later_features / n_later if n_later else 0.0,
        refinement=sum(refined) / len(refined) if refined else None,
        finish=finished + max(0.0, seconds["tuning"] - sum(t["seconds"] for t in trials)),
        refit=None if cell.split.validation is not None else seconds["refit"],
        prediction=seconds["prediction"],
    )


def start_of(cell: PlannedCell) -> str:
    """What is imported before the first cell of its kind: ``START`` or ``START_KERAS``."""
    return START_KERAS if "keras" in cell.model.family.requires else START


def rows_of(cells: Sequence[PlannedCell]) -> int:
    """Predictions that the cells of a plan give, at least 1."""
    return max(1, sum(len(cell.split.held_out) for cell in cells))


@cache
def table() -> tuple[dict[str, list[Measurement]], float]:
    """The shipped measurements by family, and ``machine_seconds`` of the machine that made them."""
    content = json.loads(TABLE.read_text())
    shipped = {name: _measurements(rows) for name, rows in content["families"].items()}
    return shipped, float(content["machine_seconds"])


def _read(family: str) -> list[Measurement]:
    """What this machine has measured of a family; what is damaged counts as not there."""
    return _measurements(read_note(note_of(family)))


def _measurements(rows: Any) -> list[Measurement]:
    if not isinstance(rows, list):
        return []
    return [Measurement(**row) for row in rows if _is_sound(row)]


def _is_sound(row: Any) -> bool:
    """Whether a JSON value is a measurement: an older or a newer version's is none."""
    if not isinstance(row, dict) or row.keys() != {f.name for f in fields(Measurement)}:
        return False
    optional = {"first", "trial", "refinement", "refit", "fixed"}
    numbers = [row[name] for name in _NUMBERS if not (name in optional and row[name] is None)]
    if not all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers):
        return False
    sizes = (row["images"], row["side"], row["threads"], row["held_out"], row["folds"])
    return min(sizes) > 0 and isinstance(row["source"], str) and isinstance(row["data"], str)


def _part(
    known: Iterable[tuple[float, float, Measurement]],
    name: str,
    wanted: Mapping[str, float],
    growth: Mapping[str, float],
) -> float | None:
    """Seconds of a part of the wanted cell; None where no cell tells of it.

    The logarithm is the mean over all cells, each scaled to the wanted one, weighted by how alike
    they are (Shepard 1968, "A two-dimensional interpolation function for irregularly-spaced data").
    """
    total = weights = 0.0
    for trust, factor, cell in known:
        seconds = getattr(cell, name)
        if seconds is None:
            continue
        more = {
            "images": math.log(wanted["images"] / cell.images),
            "pixels": 2 * math.log(wanted["side"] / cell.side),
            "threads": math.log(wanted["threads"] / cell.threads),
        }
        weight = trust / (_NEAR + sum(difference**2 for difference in more.values())) ** 2
        if name == "prediction":
            more["images"] = math.log(wanted["held_out"] / cell.held_out)
        else:
            wanted_images, images = (
                max(n, _FEWEST_IMAGES) for n in (wanted["images"], cell.images)
            )
            more["images"] = math.log(wanted_images / images)
        scale = sum(growth.get(what, 0.0) * difference for what, difference in more.items())
        if name in ("first", "trial", "refinement", "finish"):
            scale += math.log(wanted["folds"] / cell.folds)
        total += weight * (math.log(factor * seconds + _TINY) + scale)
        weights += weight
    return max(0.0, math.exp(total / weights) - _TINY) if weights else None


def _side(image_shape: Sequence[int]) -> float:
    return math.sqrt(image_shape[0] * image_shape[1])


def _folds(cell: PlannedCell, inner_folds: int) -> int:
    """Inner folds on which a trial is tried."""
    one = cell.split.validation is not None or cell.model.family.screened
    return 1 if one else inner_folds


def _n_refinements(cell: PlannedCell) -> int:
    """Trials that may follow the search; 0 where a family's code fails, as its cells will say."""
    model = cell.model
    if model.family.weights is not None and (model.weights is None or model.weights.path is None):
        return 0  # of random weights nothing is refined
    try:
        return len(model.family().refinements(model.space.defaults(), cell.dataset.data.task))
    except Exception as error:
        if is_fault(error):
            raise
        return 0


def _has_features() -> bool:
    """Whether the cache has features at all; who clears it clears them first."""
    folder = cache_folder() / "features"
    try:
        return any(folder.iterdir())
    except OSError:
        return False
