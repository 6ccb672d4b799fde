"""``python benchmarks/reference``: the reference leaderboards of ``results``, made anew.

Runs each by the command that ``commands`` has for it, into an empty cache, keeps what may be passed
on in ``results/reference/NAME`` (tables, figures, audits, predictions and trials; images and small
models only of sets that may be passed on), and writes the tables of ``results/README.md`` from
them, with what each run said of its duration before its first cell, and what it took. Of the data
sets only those have to be there that are made anew.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import COMMANDS, arguments_of

from medbench.atomic_files import write_json
from medbench.cache import VARIABLE
from medbench.registry import ENSEMBLE
from medbench.reports.text import format_seconds

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "results" / "reference"
PAGE = ROOT / "results" / "README.md"
TIMES = KEPT / "times.json"
sys.path.append(str(ROOT / "benchmarks"))  # what benchmarks share
from estimates import ALLOWED, WatchedRun, watched  # noqa: E402
from markers import write_between_markers  # noqa: E402

FAMILIES = ("hog-svm", "xgboost", "mobilenet", "efficientnet-lite0", "inceptionv3", "cnn")
SANITY = ("file-properties", "intensity", "border", "thumbnail")
_LEFT_OUT = ("model", "oof", "chunks", "cell.log", "out-of-distribution.npz", "duplicates.png")
_LEFT_OUT_OF_THE_RUN = (".lock", ".holder.json", "assessment.json")
_LARGEST_MODEL = 1_000_000
"""Bytes of a model that is kept: those with a pretrained network in them are not ours."""
_SIGNS = {"leader": "**{}**", "tied": "{} =", "cut": "{} cut"}
"""How a cell of the table shows where its row stands."""


def main() -> int:
    """Run, keep, write the tables; 1 if a run failed."""
    options = _options()
    failed = []
    with tempfile.TemporaryDirectory(prefix="medbench-reference-") as scratch:
        runs = options.runs or Path(scratch)
        for name in options.names or COMMANDS:
            run = runs / name
            arguments = [*arguments_of(name), "--out", str(run)]
            for option, folder in (("data", options.data_dir), ("weights", options.weights_dir)):
                if folder is not None and not COMMANDS[name].bare:
                    arguments += [f"--{option}-dir", str(folder)]
            print(f"\n{name}: python -m medbench run {shlex.join(arguments)}", flush=True)
            resumed = run.exists()
            ended = watched(arguments, {VARIABLE: str(Path(scratch) / f"cache-{name}")})
            if ended.status:
                failed.append(name)
                continue
            _keep(run, KEPT / name)
            _keep_times(name, None if resumed else ended)
            command = ["-m", "medbench", "report", str(KEPT / name)]
            subprocess.run([sys.executable, *command], check=True)
    rows = {name: _rows(KEPT / name) for name in COMMANDS if (KEPT / name).is_dir()}
    write_between_markers(PAGE, "families", _table(rows, (*FAMILIES, ENSEMBLE), "model"))
    write_between_markers(PAGE, "sanity", _table(rows, SANITY, "sanity"))
    write_between_markers(PAGE, "trials", _trials(rows))
    write_between_markers(PAGE, "times", _times())
    if failed:
        print(f"Not kept, because they failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _keep(run: Path, kept: Path) -> None:
    """Copy what may be passed on, in place of what was kept before."""
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(run, kept, ignore=shutil.ignore_patterns(*_LEFT_OUT, *_LEFT_OUT_OF_THE_RUN))
    for record in kept.glob("datasets/*/dataset.json"):
        if not json.loads(record.read_text()).get("redistributable"):
            shutil.rmtree(record.parent / "pictures", ignore_errors=True)
            continue
        for path in kept.glob(f"cells/{record.parent.name}/*/*/cell.json"):
            cell = json.loads(path.read_text())
            model = run / path.parent.relative_to(kept) / "model"
            if not cell.get("sanity") and model.is_dir() and cell["size_bytes"] < _LARGEST_MODEL:
                shutil.copytree(model, path.parent / "model")


def _keep_times(name: str, ended: WatchedRun | None) -> None:
    """Keep what a run said of its duration and what it took, in seconds; None: it was resumed."""
    times = _kept_times()
    times.pop(name, None)
    if ended is not None:
        times[name] = {"estimate": ended.estimate, "after": ended.after, "took": ended.took}
    write_json(TIMES, times)


def _kept_times() -> dict[str, Any]:
    times: dict[str, Any] = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    return times


def _times() -> str:
    """What each run said of its duration before its first cell, and what it took from then on."""
    lines = [
        "| | said | took | factor | whole command |",
        "|---|---|---|---|---|",
    ]
    for name, seconds in _kept_times().items():
        ended = WatchedRun(status=0, **seconds)
        if ended.factor is None:
            lines.append(f"| {name} | nothing | | | {format_seconds(ended.took)} |")
            continue
        factor = f"{ended.factor:.2f}" + " (missed)" * (ended.factor > ALLOWED)
        shown = (format_seconds(s) for s in (ended.estimate, ended.after))
        lines.append(f"| {name} | {' | '.join(shown)} | {factor} | {format_seconds(ended.took)} |")
    return "\n".join(lines)


def _rows(folder: Path) -> list[Mapping[str, str]]:
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _table(
    rows: Mapping[str, Sequence[Mapping[str, str]]], models: Sequence[str], kind: str
) -> str:
    """AUROC with its interval of each model on each run of tuned models."""
    lines = ["| | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
    for name, its in rows.items():
        if name in COMMANDS and COMMANDS[name].untuned:
            continue
        of_model = {row["model"]: _score(row) for row in its if row["kind"] == kind}
        lines.append(f"| {name} | " + " | ".join(of_model.get(one, "") for one in models) + " |")
    return "\n".join(lines)


def _score(row: Mapping[str, str]) -> str:
    if not row["auroc"]:
        return row["status"]
    shown = [f"{float(row[part]):.3f}".removeprefix("0") for part in _PARTS]
    return _SIGNS.get(row["standing"], "{}").format("{} ({} to {})".format(*shown))


_PARTS = ("auroc", "auroc_low", "auroc_high")


def _trials(rows: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """The fewest complete trials of a cell, and of all cells, by run and model."""
    lines = ["| | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    for name in rows:
        if COMMANDS[name].untuned:
            continue
        shown = []
        for model in FAMILIES:
            cells = [
                json.loads(path.read_text())
                for path in sorted((KEPT / name).glob(f"cells/*/{model}/*/cell.json"))
            ]
            counts = [c["complete_trials"] for c in cells if c.get("complete_trials") is not None]
            shown.append(f"{min(counts)} to {max(counts)}" if counts else "")
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/reference", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(COMMANDS)}"
    )
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the images are")
    parser.add_argument("--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights")
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="FOLDER",
        help="where the runs are kept in full and gone on with (default: nowhere)",
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in COMMANDS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(COMMANDS)}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
