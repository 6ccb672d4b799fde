"""``python benchmarks/profile``: where the time of a cell goes, from its start to its row.

For each family one cell (the first fold) with an empty cache, on one pinned core, by an attempt in
a process of its own, told as a run tells it. What the run itself does around cells is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
sys.path.append(str(Path(__file__).resolve().parents[1] / "peers"))
from children import last_core, timed
from markers import write_between_markers
from stages import STAGES

from medbench.cores import available_threads
from medbench.datasets.catalog import load_catalog
from medbench.execution.environment import child_environment, describe_environment
from medbench.execution.executor import Resources
from medbench.execution.plan import Settings, Setup, plan_cells, plan_datasets
from medbench.execution.run import _Handed
from medbench.execution.working_folders import WorkingFolders
from medbench.store import RunStore
from medbench.tuning.budget import Budget

_FAMILIES = ("hog-svm", "xgboost", "cnn", "inceptionv3", "mobilenet")
_TRIALS, _SECONDS = 20, 20.0
"""Budget of the cell, as the reference runs have it."""
_SHARE_SHOWN = 0.005
"""A smaller share of a cell is left out of the table."""


def main() -> int:
    """Measure, print, write."""
    options = _options()
    measured: dict[str, dict[str, Any]] = {}
    load = os.getloadavg()[0]
    for family in options.models:
        print(f"{family} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="medbench-profile-") as scratch:
            measured[family] = _cell(family, options, Path(scratch))
    text = _table(measured, options, load)
    print(text)
    if options.docs is not None:
        write_between_markers(options.docs, "profile", text)
    return 0


def _cell(family: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Seconds of each stage of one cell."""
    os.environ["MEDBENCH_CACHE"] = str(scratch / "cache")
    settings = Settings(budget=Budget(trials=options.trials, seconds=options.seconds))
    setup = Setup(cache=scratch / "cache", threads=1, weights_dir=options.weights_dir)
    catalog = load_catalog(data_dir=options.data_dir)
    planned = plan_datasets([options.dataset], catalog, settings, setup)
    cell = plan_cells(planned, [family], settings, setup, lambda _: None, download=False)[0]
    store = RunStore(scratch / "run")
    work = _Handed(store, setup).work(cell, _nothing_earlier())
    resources = Resources(threads=1, features=setup.cache / "features")
    working_folders = WorkingFolders(resources, [work])
    with (
        working_folders.development(work) as development,
        working_folders.held_out(work) as held_out,
    ):
        workspace = working_folders.workspace(work, development, closed=None)
        request = scratch / "request.json"
        request.write_text(
            json.dumps(
                {
                    "task": work.task.as_message(),
                    "workspace": workspace.as_message(),
                    "held_out": str(held_out),
                    "modules": list(work.modules),
                }
            )
        )
        script = Path(__file__).with_name("stages.py")
        _, said = timed([script, request], child_environment(1), core=last_core())
    working_folders.close()
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


def _nothing_earlier() -> Any:
    from medbench.execution.committer import EarlierWork

    return EarlierWork()


def _table(measured: dict[str, dict[str, Any]], options: argparse.Namespace, load: float) -> str:
    """A column a family, a row a stage: CPU seconds, and the share of the cell."""
    whole = {family: sum(found["seconds"].values()) for family, found in measured.items()}
    lines = ["| stage | " + " | ".join(measured) + " |", "|---" * (len(measured) + 1) + "|"]
    for stage in STAGES:
        cells = []
        for family, found in measured.items():
            seconds = found["seconds"][stage]
            share = seconds / whole[family]
            cells.append(f"{seconds:.2f} s, {share:.0%}" if share >= _SHARE_SHOWN else "")
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    lines.append("| **the cell** | " + " | ".join(f"{s:.1f} s" for s in whole.values()) + " |")
    tried = [
        f"{found['complete']} of {found['trials']}"
        if found["complete"] is not None
        else f"{found['trials']} tried"
        for found in measured.values()
    ]
    lines.append("| complete trials | " + " | ".join(tried) + " |")
    machine = describe_environment(available_threads())
    lines += [
        "",
        f"{options.dataset}, first fold, at most {options.trials} trials and "
        f"{options.seconds:g} s of search, empty cache, CPU seconds on one core; "
        f"{machine['processor']}, {machine['system']}, Python {machine['python']}; load "
        f"{load:.1f} at the start.",
    ]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/profile", description=__doc__)
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the data set is")
    parser.add_argument("--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights")
    parser.add_argument("--dataset", default="brain-mri", metavar="NAME", help="%(default)s")
    parser.add_argument("--models", nargs="+", default=list(_FAMILIES), metavar="NAME")
    parser.add_argument("--trials", type=int, default=_TRIALS, metavar="N", help="%(default)s")
    parser.add_argument("--seconds", type=float, default=_SECONDS, metavar="S", help="%(default)s")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write the table between this page's markers"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
