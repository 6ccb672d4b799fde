"""The command line, one file a verb; nothing heavy is imported before the verb runs."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import medbench
from medbench import signals
from medbench.names import harmless

_VERBS = {
    "run": "tune models on data sets and write a leaderboard",
    "leaderboard": "print the leaderboard of a run",
    "report": "make the page of a run again, or of several runs together",
    "compare": "compare two runs on the same data, paired on the same patients",
    "reproduce": "run a run again and see whether it gives the same predictions",
    "predict": "classify new images with what a run found",
    "serve": "classify images in a browser, on this machine only",
    "evaluate": "apply the model of a run to another data set",
    "export": "write the model of a run into a folder that can be passed on",
    "audit": "look for copies, leaks, wrong labels and shortcuts in data sets",
    "models": "list the model families, or show one",
    "datasets": "list the data sets, show one, fetch one, or add your own",
    "cache": "list, check or clear what is kept to be used again",
    "doctor": "what of this machine and installation helps or hinders a run",
}
"""What each verb does, said here so that ``--help`` need not import them."""
_KEPT = {
    "run": "Finished trials and cells are kept. Give the same command again to go on.",
    "serve": "Give the same command again to start it.",
}
"""What is left of a verb that was told to end, and how to go on."""
_READER_GONE = 128 + 13
"""As of other commands of a pipeline whose reader has gone: what was asked for is not all done."""
_NOTHING_HALF = "No file is half-written. Give the same command again."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        0 if all went well, 1 if a cell failed or ``--fail-on-audit`` finds what it is for, 2 if
        the input is wrong; after a signal that ends commands 128 and its number, as 130 after
        Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _allow_any_name()
    parsed = _parser(arguments).parse_args(arguments)
    parsed.command = list(arguments)

    from medbench.cli.remedies import message
    from medbench.errors import AuditError, MedBenchError

    try:
        with _warnings_in_a_line():
            status: int = parsed.execute(parsed)
        sys.stdout.flush()
        return status
    except BaseException as error:
        if signals.told_by(error) is not None:
            return signals.say_interrupted(error, _KEPT.get(parsed.verb, _NOTHING_HALF))
        if isinstance(error, MedBenchError):
            said = harmless(message(error, parsed), lines=True)
            if isinstance(error, AuditError):  # as it was asked to
                print(said)
                return 1
            print(f"medbench: error: {said}", file=sys.stderr)
            return 2
        if isinstance(error, OSError):
            return _operating_system(error, parsed)
        raise


def _allow_any_name() -> None:
    """Names of files may hold bytes or letters that the terminal's encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """What is wrong with a plugin or the cache goes to standard error, without Python's details."""
    from medbench.errors import CacheWarning
    from medbench.registry import PluginWarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning | CacheWarning):
            print(f"medbench: warning: {message}", file=sys.stderr)
        else:
            before(message, category, *where, **more)

    with warnings.catch_warnings():
        before, warnings.showwarning = warnings.showwarning, show
        yield


def _operating_system(error: OSError, options: argparse.Namespace) -> int:
    """What the operating system refused, in one line; silence where the reader has gone."""
    if isinstance(error, BrokenPipeError):  # head or less have seen enough
        signals.leave_output()
        return _READER_GONE
    from medbench.cli.remedies import has

    where = f"{harmless(str(error.filename))}: " if error.filename else ""
    other = "--out names another folder, " if has(options, "--out") else ""
    print(
        f"medbench: error: {where}{error.strerror or error}. Free space or permissions there; "
        f"{other}MEDBENCH_CACHE another cache.",
        file=sys.stderr,
    )
    return 2


def _parser(arguments: Sequence[str] = tuple(_VERBS)) -> argparse.ArgumentParser:
    """Understands command lines with the verbs among ``arguments``, and shows all verbs."""
    parser = argparse.ArgumentParser(
        prog="medbench",
        description="An honest AutoML benchmark for medical image classification. "
        "Without options, 'run' benchmarks every built-in model on generated images.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"medbench {medbench.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in _VERBS.items():
        verb = verbs.add_parser(name, help=summary, allow_abbrev=False)
        if name in arguments:
            module = importlib.import_module(f"medbench.cli.{name}")
            verb.description = module.__doc__
            module.add_arguments(verb)
    return parser
