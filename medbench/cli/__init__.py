"""The command line, one file a verb; nothing heavy is imported before the verb runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import medbench

_VERBS = ("run", "leaderboard", "models", "datasets")
_INTERRUPTED = 130
"""Exit status after Ctrl-C, by the shell's convention."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        0 if all went well, 1 if a cell failed, 2 if the input is wrong, 130 after Ctrl-C.
    """
    from medbench.errors import MedBenchError

    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.execute(parsed)
        sys.stdout.flush()
        return status
    except MedBenchError as error:
        print(f"medbench: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Give the same command again to go on.", file=sys.stderr)
        return _INTERRUPTED
    except OSError as error:
        return _operating_system(error)


def _operating_system(error: OSError) -> int:
    """What the operating system refused, in one line; silence where the reader has gone."""
    if isinstance(error, BrokenPipeError):  # head or less have seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    place = f"{error.filename}: " if error.filename else ""
    print(
        f"medbench: error: {place}{error.strerror or error}. Free space or permissions there; "
        "--out names another run folder, MEDBENCH_CACHE another cache.",
        file=sys.stderr,
    )
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medbench",
        description="An honest AutoML benchmark for medical image classification. "
        "Without options, 'run' benchmarks every built-in model on generated images.",
    )
    parser.add_argument("--version", action="version", version=f"medbench {medbench.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in _VERBS:
        module = importlib.import_module(f"medbench.cli.{name}")
        verb = verbs.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(verb)
    return parser
