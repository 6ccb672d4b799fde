"""Look for copies, leaks, wrong labels and shortcuts in data sets; nothing is trained."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.options import add_catalog, add_plugin, add_skip_unreadable, given
from medbench.running.options import AUDIT_OUT, FATAL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``audit``."""
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="registered data sets")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a folder with one sub-folder per class, a BIDS tree, or a zip or tar archive of one",
    )
    add_catalog(parser)
    add_plugin(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=AUDIT_OUT,
        metavar="FOLDER",
        help=f"where the findings go, with names of files (default: {AUDIT_OUT})",
    )
    add_skip_unreadable(parser)
    add_fail_on_audit(parser)
    parser.set_defaults(execute=execute)


def add_fail_on_audit(parser: argparse._ActionsContainer) -> None:
    """``--fail-on-audit``: the severity at which a finding is fatal, or None."""
    parser.add_argument(
        "--fail-on-audit",
        nargs="?",
        const=FATAL[0],
        choices=FATAL,
        help="make findings fatal that are serious (the default), or warnings too",
    )


def execute(options: argparse.Namespace) -> int:
    """0, where the audit has nothing to refuse."""
    from medbench.running.audit import audit

    audit(**given(options))
    return 0
