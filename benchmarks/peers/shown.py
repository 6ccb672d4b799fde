"""The tables of this benchmark: on a terminal and in a page of the documentation."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from compared import Gap, auroc_gap, auroc_of, folds_of, log_loss_gap
from kept import Key, Result
from numpy.typing import NDArray
from questions import Question, stored_question
from systems import ENSEMBLE, EXPERT, OURS, PEERS, PROBABILITY, SINGLE

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from estimates import ALLOWED

_RATIO = 4
"""Wanted of the wall time of our run against the script, at most."""
_DEMO, _CNN = 0.5, 0.85
"""Wanted of the demo's wall time against the earlier commit, at most; of the CNN's AUROC there."""
_COMPLETE = 3
"""Complete trials wanted of each family in each fold, at least."""
_SHOWN = 150
"""Characters of a reason."""
_EXPERT = (
    "data set", "search, s", "ours, s", "script, s", "ratio", "AUROC of ensemble",
    "best score of the script", "difference", "", "log loss", "script's", "difference", "",
    "cells of mobilenet, s", "its AUROC", "difference to the script's embedding",
)  # fmt: skip
_SYSTEMS = (
    "data set", "system", "search, s", "ours, s", "theirs, s", "AUROC, ours", "theirs",
    "difference", "", "log loss, ours", "theirs", "difference", "",
)  # fmt: skip
_REACH = ("what", "figure", "wanted", "met")

Rows = list[tuple[str, ...]]


class Kept:
    """Results by what they are of, and the folds that belong to them."""

    def __init__(self, results: Iterable[Result], folder: Path) -> None:
        """Take them.

        Args:
            results: All that are kept.
            folder: Where they are, with the folds.
        """
        self.all = {result.key: result for result in results}
        self._folder = folder
        self._questions: dict[tuple[str, int], Question] = {}

    def question(self, data: str, seed: int) -> Question:
        """The folds of a seed."""
        if (data, seed) not in self._questions:
            self._questions[data, seed] = stored_question(data, seed, self._folder)
        return self._questions[data, seed]

    def both(
        self, data: str, budget: int, system: str, its_budget: int | None
    ) -> list[tuple[Result, Result, Question]]:
        """Our result and theirs of all seeds that have both."""
        found = []
        for key, ours in sorted(self.all.items(), key=lambda item: item[0].seed):
            if (key.data, key.system, key.budget) != (data, OURS, budget) or ours.failed:
                continue
            theirs = self.all.get(Key(data=data, system=system, seed=key.seed, budget=its_budget))
            if theirs is not None and not theirs.failed:
                found.append((ours, theirs, self.question(data, key.seed)))
        return found


def expert_rows(kept: Kept, names: Sequence[str], budgets: Sequence[int]) -> Rows:
    """A row a data set and budget of ours: against the script, which has no budget."""
    rows = []
    for name in names:
        for budget in budgets:
            if both := kept.both(name, budget, EXPERT, None):
                rows.append(_against_expert(name, budget, both))
    return rows


def _against_expert(
    name: str, budget: int, both: Sequence[tuple[Result, Result, Question]]
) -> tuple[str, ...]:
    questions = [question for _, _, question in both]
    ours = [result.scores(ENSEMBLE) for result, _, _ in both]
    rows = {row: [theirs.scores(row) for _, theirs, _ in both] for row in both[0][1].predictions}
    best = max(rows, key=lambda row: auroc_of(folds_of(questions, rows[row])))
    auroc = auroc_gap(questions, ours, rows[best])
    loss = log_loss_gap(questions, ours, rows[PROBABILITY])
    took, script = (median(pair[side].seconds for pair in both) for side in (0, 1))
    single: tuple[str, ...] = ("", "", "")
    if all(SINGLE in result.predictions for result, _, _ in both):
        alone = auroc_gap(
            questions, [result.scores(SINGLE) for result, _, _ in both], rows[PROBABILITY]
        )
        cells = median(result.cell_seconds[SINGLE] for result, _, _ in both)
        single = (f"{cells:.1f}", f"{alone.ours:.4f}", _interval(alone))
    return (
        _with_seeds(name, both),
        str(budget),
        f"{took:.1f}",
        f"{script:.1f}",
        f"{took / script:.2f}",
        f"{auroc.ours:.4f}",
        f"{auroc.theirs:.4f} ({'embedding' if best == PROBABILITY else best})",
        _interval(auroc),
        auroc.verdict,
        *_loss(loss),
        *single,
    )


def system_rows(kept: Kept, names: Sequence[str], budgets: Sequence[int]) -> Rows:
    """A row a data set, system and budget."""
    rows = []
    for name in names:
        for system in PEERS:
            for budget in budgets:
                both = kept.both(name, budget, system, budget)
                if not both:
                    continue
                questions = [question for _, _, question in both]
                sides: list[list[NDArray[np.float64]]] = [
                    [ours.scores(ENSEMBLE) for ours, _, _ in both],
                    [theirs.scores(PROBABILITY) for _, theirs, _ in both],
                ]
                auroc = auroc_gap(questions, *sides)
                more = median(theirs.embedding_seconds for _, theirs, _ in both)
                rows.append(
                    (
                        _with_seeds(name, both),
                        system,
                        str(budget),
                        f"{median(ours.seconds for ours, _, _ in both):.0f}",
                        f"{median(theirs.seconds for _, theirs, _ in both):.0f}"
                        + f" + {more:.0f}" * (more > 0),
                        f"{auroc.ours:.4f}",
                        f"{auroc.theirs:.4f}",
                        _interval(auroc),
                        auroc.verdict,
                        *_loss(log_loss_gap(questions, *sides)),
                    )
                )
    return rows


def _with_seeds(name: str, both: Sequence[object]) -> str:
    return f"{name} ({len(both)} seed{'s' * (len(both) > 1)})"


def _interval(gap: Gap) -> str:
    return f"{gap.ours - gap.theirs:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})"


def _loss(gap: Gap) -> tuple[str, str, str, str]:
    """Of log loss, which is told without its minus: below 0 is better."""
    difference = f"{gap.theirs - gap.ours:+.3f} ({-gap.high:+.3f} to {-gap.low:+.3f})"
    return f"{-gap.ours:.3f}", f"{-gap.theirs:.3f}", difference, gap.verdict


def _verdicts(rows: Rows, column: int) -> str:
    counts = {v: sum(row[column] == v for row in rows) for v in ("ahead", "tied", "behind")}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def expert_text(kept: Kept, names: Sequence[str], budgets: Sequence[int]) -> str:
    """The table against the script; empty where nothing is there."""
    rows = expert_rows(kept, names, budgets)
    if not rows:
        return ""
    within = sum(float(row[4]) <= _RATIO for row in rows)
    higher = sum(row[7].startswith("+") for row in rows)
    return "\n\n".join(
        [
            _table(_EXPERT, rows),
            f"AUROC: {_verdicts(rows, 8)}, higher in {higher} of {len(rows)} rows. Log loss: "
            f"{_verdicts(rows, 12)}. Within {_RATIO} times the script's time: {within} of "
            f"{len(rows)} rows.",
            _made_by(kept, (OURS, EXPERT)),
        ]
    )


def systems_text(
    kept: Kept, names: Sequence[str], budgets: Sequence[int], missing: Sequence[Key]
) -> str:
    """The table against other systems, and what is missing or failed; empty without any."""
    rows = system_rows(kept, names, budgets)
    failed = [r for r in kept.all.values() if r.failed and r.key.data in names]
    if not rows and not failed:
        return ""
    parts = [_table(_SYSTEMS, rows)] if rows else []
    if rows:
        parts.append(f"AUROC: {_verdicts(rows, 8)}. Log loss: {_verdicts(rows, 12)}.")
    parts.append(_made_by(kept, (OURS, *PEERS)))
    if failed:
        reasons: dict[str, list[str]] = {}
        for result in failed:
            reason = (result.failed.splitlines() or [""])[-1][:_SHOWN]
            reasons.setdefault(reason, []).append(str(result.key))
        parts.append(
            "\n".join(
                f"- failed: {', '.join(keys)}: `{why.replace('`', chr(39))}`"
                for why, keys in reasons.items()
            )
        )
    if missing:
        parts.append(f"Not measured: {_grouped(missing)}.")
    return "\n\n".join(parts)


def _grouped(missing: Sequence[Key]) -> str:
    """What is missing, by system and budget, with the number of data sets and seeds."""
    counts: dict[str, int] = {}
    for key in missing:
        budget = "" if key.budget is None else f" {key.budget} s"
        counts[f"{key.system}{budget}"] = counts.get(f"{key.system}{budget}", 0) + 1
    return ", ".join(f"{what} (of {count} sets and seeds)" for what, count in counts.items())


def _made_by(kept: Kept, systems: Sequence[str]) -> str:
    """Machines, commits and versions of results."""
    those = [r for key, r in kept.all.items() if key.system in systems and not r.failed]
    machines = sorted({machine_line(result.machine) for result in those})
    commits = sorted({result.commit for result in those})
    versions: dict[str, set[str]] = {}
    for result in those:
        for name, version in result.versions.items():
            versions.setdefault(name, set()).add(version)
    told = ", ".join(
        f"{name} {' and '.join(sorted(its))}" for name, its in sorted(versions.items())
    )
    return f"{'; '.join(machines)}; commit {', '.join(commits)}." + f" {told}." * bool(told)


def machine_line(machine: Mapping[str, Any]) -> str:
    """A machine in words."""
    return (
        f"{machine['processor']}, {machine['threads']} cores, {machine['system']}, Python "
        f"{machine['python']}"
    )


def reach_text(demo: Mapping[str, Any] | None, quick: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of the demo and of runs under the budget ``quick``; empty without any.

    Args:
        demo: What is kept of the demo: ``found``, ``commit`` and ``machine``.
        quick: The same of each data set.
    """
    rows = reach_rows(demo and demo["found"], {name: each["found"] for name, each in quick.items()})
    if not rows:
        return ""
    those = [*([demo] if demo else []), *quick.values()]
    machines = sorted({machine_line(each["machine"]) for each in those})
    commits = sorted({each["commit"] for each in those})
    return f"{_table(_REACH, rows)}\n\n{'; '.join(machines)}; commit {', '.join(commits)}."


def _table(header: Sequence[str], rows: Rows) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def reach_rows(demo: Mapping[str, Any] | None, quick: Mapping[str, Any]) -> Rows:
    """A row a figure of the demo, and of each run under the budget ``quick``."""
    rows = list(_of_demo(demo)) if demo is not None else []
    for name, run in quick.items():
        for family, found in run["families"].items():
            fewest, most = found["complete"]
            said = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            said += f", {found['cut']} cut" * bool(found["cut"])
            said += f", failed: {'; '.join(found['failed'])}" * bool(found["failed"])
            rows.append(
                (
                    f"quick, {name}: complete trials of {family}",
                    said,
                    f">= {_COMPLETE}",
                    _met(fewest >= _COMPLETE),
                )
            )
        if run["seconds"] is not None:
            rows.append(_of_estimate(name, run))
    return rows


def _of_demo(demo: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield (
        "demo: wall time against 54e0e62",
        f"{demo['ratio']:.2f} ({median(demo['ours']):.0f} s, {median(demo['other']):.0f} s)",
        f"<= {_DEMO}",
        _met(demo["ratio"] <= _DEMO),
    )
    auroc = demo["details"]["auroc"]["ours"]
    if "cnn" in auroc:
        yield "demo: AUROC of cnn", f"{auroc['cnn']:.3f}", f">= {_CNN}", _met(auroc["cnn"] >= _CNN)
    if "thumbnail" in auroc:
        families = ("hog-svm", "xgboost", "cnn", "inceptionv3", "efficientnet-lite0")
        tuned = {name: auroc[name] for name in families if name in auroc}
        said = ", ".join(f"{name} {value:.3f}" for name, value in tuned.items())
        yield (
            "demo: AUROC of tuned families",
            said,
            f">= {auroc['thumbnail']:.3f} (thumbnail)",
            _met(min(tuned.values()) >= auroc["thumbnail"]),
        )


def _of_estimate(name: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    what, wanted = f"quick, {name}: first estimate against wall time", f"within {ALLOWED}"
    if run["estimate"] is None:
        return what, f"none said ({run['seconds']:.0f} s)", wanted, _met(False)
    factor = run["seconds"] / run["estimate"]
    said = f"{run['estimate']:.0f} s, took {run['seconds']:.0f} s (x {factor:.2f})"
    return what, said, wanted, _met(1 / ALLOWED <= factor <= ALLOWED)


def _met(whether: bool) -> str:
    return "yes" if whether else "no"
