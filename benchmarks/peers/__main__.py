"""``python benchmarks/peers``: MedBench against a good practitioner's script, and its aims."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import data_tiny
import pairs
import runs
import shown
from children import SideError, last_core

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
_REPORTED = (SideError, BenchmarkError, OSError, ValueError, KeyError)
"""What ends one measurement and not the others."""


def main() -> int:
    """Measure what is not in the file yet, print, write; 1 if something failed."""
    options = _options()
    content = _kept(options.json)
    content["machine"] = {
        **describe_environment(available_threads()),
        "load_at_start": list(os.getloadavg()),
    }
    content["failed"] = {}
    with tempfile.TemporaryDirectory(prefix="medbench-peers-") as scratch:
        paths = _paths(options, Path(scratch))
        for part, name, measure in _measurements(options, paths):
            title = f"{part} {name}".strip()
            if (content[part] if part == _DEMO else content[part].get(name)) is not None:
                print(f"{title}: kept", file=sys.stderr, flush=True)
                continue
            print(f"{title} ...", file=sys.stderr, flush=True)
            try:
                found = measure()
            except _REPORTED as error:
                content["failed"][title] = str(error) or type(error).__name__
                print(f"{title} failed: {error}", file=sys.stderr, flush=True)
            else:
                if part == _DEMO:
                    content[part] = found
                else:
                    content[part][name] = found
                content["commits"][title] = _commit()
            if options.json is not None:
                write_json(options.json, content)
    text = shown.as_text(content, _sets(options))
    print(text)
    if options.docs is not None:
        write_between_markers(options.docs, "peers", text)
    return 1 if content["failed"] else 0


def _measurements(
    options: argparse.Namespace, paths: pairs.Paths
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """What is to be measured: part of the file, name in it, and how."""
    wanted = options.only or (*_sets(options), _DEMO, _QUICK)
    sets = [name for name in _sets(options) if name in wanted]
    for seed in options.seeds:
        for name in sets:
            yield (
                "pairs",
                f"{name} {seed}",
                lambda name=name, seed=seed: pairs.pair(
                    name, seed, paths, last_core(), quick=options.quick
                ),
            )
    if _DEMO in wanted:
        yield _DEMO, "", lambda: _demo(options, paths)
    for name in _sets_of_quick(options):
        if {_QUICK, f"{_QUICK}-{name}"} & set(wanted):
            yield _QUICK, name, lambda name=name: runs.run(name, paths, quick=options.quick)


def _demo(options: argparse.Namespace, paths: pairs.Paths) -> dict[str, Any]:
    settings = Settings(
        quick=options.quick, scratch=paths.scratch, cores=available_threads(), weights_dir=None
    )
    (found,) = earlier.demo(settings)
    record: dict[str, Any] = found.as_json()
    return record


def _sets(options: argparse.Namespace) -> tuple[str, ...]:
    return (data_tiny.NAME,) if options.quick else pairs.SETS


def _sets_of_quick(options: argparse.Namespace) -> tuple[str, ...]:
    return (*(_sets(options) if options.quick else runs.REFERENCE), runs.PHANTOMS)


def _paths(options: argparse.Namespace, scratch: Path) -> pairs.Paths:
    if options.quick:
        folder = scratch / "tiny"
        return pairs.Paths(
            scratch=scratch, data=folder, weights=None, datasets_file=data_tiny.write(folder)
        )
    return pairs.Paths(
        scratch=scratch, data=options.data_dir.resolve(), weights=options.weights_dir.resolve()
    )


def _kept(file: Path | None) -> dict[str, Any]:
    """What was measured before; a measurement is taken anew when its entry is removed."""
    content: dict[str, Any] = {"pairs": {}, _DEMO: None, _QUICK: {}, "commits": {}}
    if file is not None and file.exists():
        content |= json.loads(file.read_text(encoding="utf-8"))
    return content


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
    parser = argparse.ArgumentParser(prog="python benchmarks/peers", description=__doc__)
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="the reference sets")
    parser.add_argument(
        "--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights; MobileNet as .npz"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(pairs.SETS)} (both sides in turns), {_DEMO}, {_QUICK} (an hour), or "
        f"of that one set only: {_QUICK}-{runs.PHANTOMS} and so on",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="every figure, written as soon as it is measured; what it has already is kept",
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
    of_quick = (f"{_QUICK}-{name}" for name in _sets_of_quick(options))
    known = (*_sets(options), _DEMO, _QUICK, *of_quick)
    if unknown := [name for name in options.only or [] if name not in known]:
        parser.error(f"--only {unknown[0]}: is none of {', '.join(known)}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
