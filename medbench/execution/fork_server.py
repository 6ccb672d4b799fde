"""A process that has imported what attempts need, and forks a fresh process for each of them.

A start costs the fork, not the imports. Each attempt still has a process of its own, which has
seen no other attempt's images: the server imports libraries and does nothing else. It must stay
alone in its process (no threads of a runtime, no device opened), for only then is a fork safe;
whether it is alone is its first answer, and where it is not, nothing is forked off it. Linux only.

    python -m medbench.execution.fork_server FD

FD is one end of a pair of Unix sockets. The first message brings the modules to import; each
further one asks for a fork and brings its limits, with three descriptors that become its standard
input, output and error. The server tells the number of each child; how an attempt ends is told by
the child, which is the guardian of it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from medbench.execution import attempt_process, guardian
from medbench.execution.limits import Limits
from medbench.execution.process_tree import descendants, ended_children

_MESSAGE_BYTES = 1 << 16
_NOT_BEFORE_A_FORK = frozenset({"jax", "jaxlib", "onnxruntime", "openvino", "torch"})
"""Packages that start threads where they are imported, or forbid forks afterwards by their own
rules (JAX warns of every fork; CUDA cannot be used in a fork of a process that used it)."""


class ForkServer:
    """The server as the process sees it that wants forks; safe to use from several threads."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        """Start it; the imports go on while the caller does other things.

        Args:
            environment: All environment variables of the server and its forks.
            modules: What to import. What cannot be imported is left to the attempts.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "medbench.execution.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**environment, **_QUIET},
                start_new_session=True,
            )
        self._socket = ours
        self._guard = threading.Lock()
        self._born: Future[int] | None = None
        self._alone: Future[bool] = Future()
        self._gone = False
        self._send(json.dumps(list(modules)).encode(), [])
        threading.Thread(target=self._listen, name="fork server", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process number of the server."""
        return self._process.pid

    def is_alone(self) -> bool:
        """Whether nothing that it imported stands against a fork. Waits for that answer."""
        try:
            return self._alone.result() and not self._gone
        except OSError:
            return False

    def fork(self, descriptors: Sequence[int], limits: Limits) -> int:
        """A fresh process for one attempt, below a guardian; see ``guardian.guard``.

        Args:
            descriptors: What becomes its standard input, output and error; they stay open here.
            limits: What it may use.

        Returns:
            The number of its guardian.

        Raises:
            OSError: The server is gone.
        """
        with self._guard:
            born: Future[int] = Future()
            self._born = born
            if self._gone:
                raise OSError("the fork server has ended")
            self._send(json.dumps(asdict(limits)).encode(), descriptors)
            return born.result()

    def stop(self) -> None:
        """End the server; forks that still run are not ended."""
        self._gone = True
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _send(self, content: bytes, descriptors: Sequence[int]) -> None:
        with contextlib.suppress(BrokenPipeError):  # told by the end of what is listened to
            socket.send_fds(self._socket, [content], descriptors)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while content := self._socket.recv(_MESSAGE_BYTES):
                self._hear(json.loads(content))
        self._gone = True
        error = OSError("the fork server has ended")
        for future in (self._alone, self._born):
            if future is not None and not future.done():
                future.set_exception(error)

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "alone" in message:
            self._alone.set_result(message["alone"])
        else:
            assert self._born is not None
            self._born.set_result(message["born"])


_QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    # Arrow's allocator starts a thread where it is loaded
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What keeps libraries from starting threads where they are imported."""


# --- the server's own side ----------------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """Import, then fork on request until the other end is closed. An attempt returns from here."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    _import(json.loads(connection.recv(_MESSAGE_BYTES)))
    attempt_process.warm_up()
    gc.collect()
    gc.freeze()  # else the first collection in each fork would copy all that was imported
    threads_now = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    alone = threads_now == 1 and _NOT_BEFORE_A_FORK.isdisjoint(sys.modules)
    _tell(connection, {"alone": alone})
    # how they end is told by others, but the system adds up what they cost only when waited for
    signal.signal(signal.SIGCHLD, _wait)
    run = os.getppid()
    while True:
        content, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
        if not content:  # a guardian that somebody has stopped must see the end of the run too
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for own, given in enumerate(descriptors):
                os.dup2(given, own)
                os.close(given)
            connection.close()
            guardian.guard(Limits(**json.loads(content)), run)
            _use_threads(int(threads))
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _tell(connection, {"born": pid})


def _wait(number: int, frame: object) -> None:
    ended_children()


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        if name.partition(".")[0] not in _NOT_BEFORE_A_FORK:
            # whatever is wrong with it, an attempt that needs it will say so
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _use_threads(threads: int) -> None:
    """Give BLAS the threads of an attempt, of which the server itself has just one."""
    if threads > 1:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)


def _tell(connection: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone, which recv will show
        connection.send(json.dumps(message).encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    attempt_process.leave(attempt_process.main())
