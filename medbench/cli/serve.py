"""Open a page on this computer that classifies images dropped on it; nothing is stored or sent."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from medbench.cli.options import add_dataset_and_model, add_operating_point, add_plugin

_PORT = 8731
_LAST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``serve``."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a run folder, or the folder of an exported model"
    )
    add_dataset_and_model(parser)
    add_operating_point(parser)
    parser.add_argument(
        "--port",
        type=_port,
        default=_PORT,
        metavar="N",
        help=f"the port on 127.0.0.1, 0 for any that is free (default: {_PORT})",
    )
    parser.add_argument("--open", action="store_true", help="open the page in your browser")
    add_plugin(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is how it ends well."""
    from medbench.inference.apart import apart

    return apart(options.run, options.command, lambda: _execute(options))


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.cli.model_info import print_model_info
    from medbench.cli.options import chosen_model
    from medbench.inference.model_info import RESEARCH_ONLY
    from medbench.inference.serve.server import address, check_installed, listen, serve
    from medbench.running.progress import make_console

    check_installed()
    console = make_console()
    with listen(options.port) as listening:  # first, since loading a model takes longer
        model = chosen_model(options)
        from medbench.inference.serve.answers import warm_up

        warm_up(model)
        print_model_info(model.info, console)
        console.print(RESEARCH_ONLY, markup=False)
        where = address(listening)
        console.print(f"Open {where} in a browser; stop with Ctrl-C.", soft_wrap=True)
        if options.open:
            _open(where)
        with contextlib.suppress(KeyboardInterrupt):
            serve(model, listening)
    console.print("Stopped.")
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to {_LAST_PORT}")
    return int(text)


def _open(where: str) -> None:
    """Open the page beside the server, since a browser in the terminal would block it."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(where,), daemon=True).start()
