"""Look at this machine and installation and say what would help or hinder a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.execution.doctor import Check

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}
_STATE_WIDTH = 9
_ABOUT_WIDTH = 12
_NARROWEST = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="as of run")
    parser.add_argument("--weights-dir", type=Path, metavar="FOLDER", help="as of run")
    parser.add_argument(
        "--json",
        action="store_true",
        help="for a bug report: without names of the user, the machine or its folders",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Show every check; 1 if one of them is a problem."""
    from medbench.execution.doctor import examine
    from medbench.running.progress import make_console

    sections = examine(data_dir=options.data_dir, weights_dir=options.weights_dir)
    if options.json:
        return _as_json({name: list(checks) for name, checks in sections})
    console, problems = make_console(), 0
    for name, checks in sections:
        console.print(f"\n{name}", style="bold")
        for check in checks:
            _show(console, check)
            problems += check.state == "problem"
    verdict = "Nothing here hinders a run." if not problems else "A run would fail, or in part."
    console.print(f"\n{verdict}")
    return 1 if problems else 0


def _show(console: Console, check: Check) -> None:
    import textwrap

    from rich.text import Text

    margin = 2 + _STATE_WIDTH
    lines = textwrap.wrap(
        f"{check.about:<{_ABOUT_WIDTH}} " + " ".join(check.text.split()),
        max(_NARROWEST, console.width - margin),
        subsequent_indent=" " * (_ABOUT_WIDTH + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
    shown = Text(f"  {check.state:<{_STATE_WIDTH}}", style=_STYLES[check.state])
    shown.append(("\n" + " " * margin).join(lines), style="default")
    console.print(shown, soft_wrap=True)


def _as_json(sections: dict[str, list[Check]]) -> int:
    import json
    from dataclasses import asdict

    from medbench.execution.doctor import anonymous

    record = {
        section: [{k: anonymous(v) for k, v in asdict(check).items()} for check in checks]
        for section, checks in sections.items()
    }
    print(json.dumps(record, indent=2))
    problems = (check.state == "problem" for found in sections.values() for check in found)
    return 1 if any(problems) else 0
