"""First estimates of runs against what the runs took."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from medbench.cache import VARIABLE

ALLOWED = 1.5
"""Factor within which an estimate holds."""
_SAID = re.compile(r"^about (?P<time>[\dhms. ]+) for the whole run$", re.MULTILINE)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def check(options: argparse.Namespace, scratch: Path) -> int:
    """Run each data set, and print a table; 1 if an estimate is off by more than ``ALLOWED``."""
    worst = 1.0
    print("| data set | run | estimate s | took s | of which cells and reports s | factor |")
    print("|---|---|---|---|---|---|")
    for name in options.datasets:
        for again in range(1 + options.again):
            estimate, after, took = _measured(name, options, scratch, again)
            factor = max(estimate / after, after / estimate)
            worst = max(worst, factor)
            which = "again" if again else "first"
            print(
                f"| {name} | {which} | {estimate:.0f} | {took:.0f} | {after:.0f} | {factor:.2f} |",
                flush=True,
            )
    print(f"\nWorst factor {worst:.2f}; allowed {ALLOWED:g}.")
    return int(worst > ALLOWED)


def _measured(
    name: str, options: argparse.Namespace, scratch: Path, again: int
) -> tuple[float, float, float]:
    """Seconds that were said, that passed from then on, and that the whole command took."""
    command = [sys.executable, "-m", "medbench", "run", "--datasets", name, *options.run]
    command += ["--out", str(scratch / f"{name}-{again}")]
    for option, folder in (
        ("--data-dir", options.data_dir),
        ("--weights-dir", options.weights_dir),
    ):
        command += [option, str(folder)] if folder is not None else []
    environment = {**os.environ, VARIABLE: str(scratch / f"cache-{name}"), "PYTHONUNBUFFERED": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    estimate = said_at = None
    for line in process.stdout:
        print(line.rstrip(), file=sys.stderr, flush=True)
        if estimate is None and (found := _SAID.match(line)):
            estimate, said_at = _seconds(found["time"]), time.perf_counter()
    process.wait()
    ended = time.perf_counter()
    if estimate is None or said_at is None:
        raise SystemExit(f"{name}: the run gave no estimate (exit {process.returncode})")
    return estimate, ended - said_at, ended - began


def _seconds(text: str) -> float:
    """The inverse of ``medbench.reports.text.format_seconds``."""
    return sum(
        float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text)
    )
