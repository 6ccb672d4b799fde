"""``python benchmarks/peers``: MedBench against a practitioner's script and other AutoML systems.

Every result is kept in a file of its own as soon as it is there, and a second call goes on with
what is missing; a result whose file is removed is measured anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import data_tiny
import kept
import questions
import runs
import shown
import systems
from children import SideError, last_core
from kept import Key
from platformdirs import user_cache_path

from medbench.atomic_files import write_json
from medbench.cores import available_threads
from medbench.execution.environment import describe_environment

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
sys.path.append(str(Path(__file__).resolve().parents[1] / "speed"))
import earlier
from harness import BenchmarkError, Settings
from markers import write_between_markers

HERE = Path(__file__).resolve().parent
_DEMO, _QUICK = "demo", "quick"
_BUDGETS, _TINY_BUDGETS = (60, 240, 600), (30,)
_REPORTED = (SideError, BenchmarkError, OSError, ValueError, KeyError)
"""What ends one measurement and not the others."""
_MACHINE = ("processor", "threads", "system", "python")


def main() -> int:
    """Measure what is not kept yet, print, write; 1 if something could not be measured."""
    options = _options()
    status = 0
    with tempfile.TemporaryDirectory(prefix="medbench-peers-") as scratch:
        paths = _paths(options, Path(scratch))
        for title, file, measure in _measurements(options, paths):
            if file.exists():
                print(f"{title}: kept", file=sys.stderr, flush=True)
                continue
            print(f"{title} ...", file=sys.stderr, flush=True)
            try:
                measure()
            except _REPORTED as error:
                status = 1
                print(f"{title} failed: {error or type(error)}", file=sys.stderr, flush=True)
        texts = _texts(options, paths.results)
    for name, text in texts.items():
        if text:
            print(text, end="\n\n")
            if options.docs is not None:
                write_between_markers(options.docs, name, text)
    return status


def _measurements(
    options: argparse.Namespace, paths: questions.Paths
) -> Iterator[tuple[str, Path, Callable[[], None]]]:
    """What is to be measured: its name, where it is kept, and how."""
    for key in _keys(options):
        yield str(key), key.file(paths.results), lambda key=key: _take(key, options, paths)
    if _wanted(options, _DEMO):
        file = paths.results / "demo.json"
        yield _DEMO, file, lambda: _keep(file, _demo(options, paths))
    for name in _sets_of_quick(options):
        if _wanted(options, _QUICK) or f"{_QUICK}-{name}" in (options.only or ()):
            file = paths.results / f"{_QUICK}-{name}.json"
            yield (
                f"{_QUICK}-{name}",
                file,
                lambda name=name, file=file: _keep(
                    file, runs.run(name, paths, quick=options.quick)
                ),
            )


def _keys(options: argparse.Namespace) -> list[Key]:
    """Results that are wanted, systems in turns."""
    only = options.only or (*_sets(options), *systems.SYSTEMS)
    sets = [name for name in _sets(options) if name in only]
    chosen = [name for name in systems.SYSTEMS if name in only]
    if sets and not chosen:
        chosen = list(systems.SYSTEMS)
    if chosen and not sets:
        sets = list(_sets(options))
    found: dict[Key, None] = {}
    for seed in options.seeds:
        for data in sets:
            for budget in options.budgets:
                for system in chosen:
                    its = None if system == systems.EXPERT else budget
                    found[Key(data=data, system=system, seed=seed, budget=its)] = None
    return list(found)


def _take(key: Key, options: argparse.Namespace, paths: questions.Paths) -> None:
    """Measure a result and keep it."""
    asked = questions.question(key.data, key.seed, paths, quick=options.quick)
    result = systems.run(key, asked, paths, last_core(), quick=options.quick)
    if result.failed:
        print(f"{key} failed: {result.failed}", file=sys.stderr, flush=True)
    replace(result, commit=_commit(), machine=_machine()).write(paths.results)


def _keep(file: Path, found: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"found": found, "commit": _commit(), "machine": _machine()})


def _texts(options: argparse.Namespace, results: Path) -> dict[str, str]:
    """The tables by the name of their markers, of all that is kept."""
    have = shown.Kept(kept.all_kept(results), results)
    everything = argparse.Namespace(**(vars(options) | {"only": None}))
    missing = [key for key in _keys(everything) if key not in have.all]
    budgets = sorted({key.budget for key in have.all if key.budget is not None})
    quick = {
        file.stem.removeprefix(f"{_QUICK}-"): json.loads(file.read_text())
        for file in sorted(results.glob(f"{_QUICK}-*.json"))
    }
    demo = results / "demo.json"
    return {
        "expert": shown.expert_text(have, _sets(options), budgets),
        "systems": shown.systems_text(have, _sets(options), budgets, missing),
        "peers": shown.reach_text(json.loads(demo.read_text()) if demo.exists() else None, quick),
    }


def _demo(options: argparse.Namespace, paths: questions.Paths) -> dict[str, Any]:
    settings = Settings(
        quick=options.quick, scratch=paths.scratch, cores=available_threads(), weights_dir=None
    )
    (found,) = earlier.demo(settings)
    record: dict[str, Any] = found.as_json()
    return record


def _wanted(options: argparse.Namespace, name: str) -> bool:
    return options.only is None or name in options.only


def _sets(options: argparse.Namespace) -> tuple[str, ...]:
    return (data_tiny.NAME,) if options.quick else questions.SETS


def _sets_of_quick(options: argparse.Namespace) -> tuple[str, ...]:
    return (*(_sets(options) if options.quick else runs.REFERENCE), runs.PHANTOMS)


def _paths(options: argparse.Namespace, scratch: Path) -> questions.Paths:
    folder = scratch / "tiny" if options.quick else options.data_dir.resolve()
    results = options.results or (
        scratch / "results" if options.quick else HERE.parents[1] / "results" / "peers"
    )
    return questions.Paths(
        scratch=scratch,
        data=folder,
        weights=None if options.quick else options.weights_dir.resolve(),
        results=results.resolve(),
        environments=options.environments.resolve(),
        datasets_file=data_tiny.write(folder) if options.quick else None,
    )


def _machine() -> dict[str, Any]:
    described = describe_environment(available_threads())
    return {name: described[name] for name in _MACHINE} | {"load": round(os.getloadavg()[0], 1)}


def _commit() -> str:
    """The commit of these files, with a plus where they are not as it has them."""
    said = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/peers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="the reference sets")
    parser.add_argument(
        "--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights; MobileNet as .npz"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2"
    )
    parser.add_argument(
        "--budgets",
        type=int,
        nargs="+",
        metavar="S",
        help="seconds of search, all folds and families together; default: "
        + " ".join(map(str, _BUDGETS)),
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"data sets ({', '.join(questions.SETS)}), systems ({', '.join(systems.SYSTEMS)}), "
        f"{_DEMO}, {_QUICK} (an hour), or of that one set only: {_QUICK}-{runs.PHANTOMS} and so on",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where results are kept; default: results/peers of this checkout",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=user_cache_path("medbench") / "peers",
        metavar="FOLDER",
        help="where the other systems are installed; default: %(default)s",
    )
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write the tables between this page's markers"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that everything works"
    )
    options = parser.parse_args()
    if options.quick and options.docs is not None:
        parser.error("--docs wants full sizes: leave --quick away.")
    if not options.quick and (options.data_dir is None or options.weights_dir is None):
        parser.error("name --data-dir and --weights-dir, or see that it works with --quick.")
    options.budgets = options.budgets or (_TINY_BUDGETS if options.quick else _BUDGETS)
    if min(options.budgets) < 1:
        parser.error(f"--budgets {min(options.budgets)}: is below 1 second.")
    if options.quick and options.seeds == parser.get_default("seeds"):
        options.seeds = [0]
    of_quick = (f"{_QUICK}-{name}" for name in _sets_of_quick(options))
    known = (*_sets(options), *systems.SYSTEMS, _DEMO, _QUICK, *of_quick)
    if unknown := [name for name in options.only or [] if name not in known]:
        parser.error(f"--only {unknown[0]}: is none of {', '.join(known)}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
