"""Brings the page to 127.0.0.1, and to no other address."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from medbench import signals
from medbench.errors import ConfigurationError
from medbench.versions import install_command

if TYPE_CHECKING:
    import uvicorn

    from medbench.inference.model import Model
    from medbench.inference.serve.app import Limits

ADDRESS = "127.0.0.1"
_SECONDS_TO_STOP = 3
"""What is being classified when the user stops may take so long to end."""


def check_installed() -> None:
    """Refuse to begin without the kit.

    Raises:
        ConfigurationError: It is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"serve: needs {' and '.join(missing)}. {install_command('serve')}"
        )


def listen(port: int) -> socket.socket:
    """Take a port of 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigurationError: It is in use, or may not be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, port))
        listening.listen()
    except OSError as error:
        listening.close()
        why = "is in use already" if error.errno == errno.EADDRINUSE else f"{error.strerror}"
        raise ConfigurationError(
            f"--port {port}: {why}. Give another one, or 0 for any that is free."
        ) from error
    return listening


def address(listening: socket.socket) -> str:
    """Where the browser finds it."""
    return f"http://{ADDRESS}:{listening.getsockname()[1]}/"


def serve(model: Model, listening: socket.socket, *, limits: Limits | None = None) -> None:
    """Serve the page of a model until the process is interrupted.

    Args:
        model: The model, warmed up; see ``medbench.inference.serve.answers.warm_up``.
        listening: As ``listen`` gives it.
        limits: What one request may take.

    Raises:
        ConfigurationError: What it needs is not installed.
        KeyboardInterrupt: After Ctrl-C, TERM or HUP, when all is closed.
    """
    check_installed()
    make_server(model, limits=limits).run(sockets=[listening])


def make_server(model: Model, *, limits: Limits | None = None) -> uvicorn.Server:
    """The server, not yet running; it writes down no request."""
    import uvicorn

    from medbench.inference.serve.app import make_app
    from medbench.inference.serve.connections import Connection

    class Server(uvicorn.Server):  # type: ignore[misc]
        """Ends by every signal that ends a command, also by that of a terminal that was closed."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            with signals.calling(self._stop) as listens:
                if listens:
                    yield
                    return
            with super().capture_signals():
                yield

        def _stop(self) -> None:
            self.should_exit = True

    app = make_app(model, limits=limits)
    app.state.readers.prepare()
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="error",
        lifespan="off",
        http=Connection,
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_STOP,
    )
    return Server(config)
