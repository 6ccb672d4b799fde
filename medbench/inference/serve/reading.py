"""Uploads are decoded in processes of their own, which may crash at a picture or never end.

A picture from anywhere goes through decoders in C, and a thread that hangs in one cannot be ended.
So a child process decodes, in a bounded memory, and sends back the few pixels that a model sees;
one that takes too long or dies is answered with the reason, and the next upload gets a new one.

Run as a program this module is that child: of each upload it reads a line of JSON and the file
from its standard input, and writes a line of JSON and the pixels to its standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

import numpy as np

from medbench import registry
from medbench.datasets.task import Task
from medbench.datasets.volume_rule import VolumeRule, recorded
from medbench.errors import DatasetError, SliceError
from medbench.inference.images import NewImage, new_image
from medbench.inference.serve.prediction_queue import Gone

MEMORY = 6 << 30
"""Bytes that a child may have, where the system keeps to it; a volume of 1 GiB fits."""
_SPARE_SECONDS = 10
"""After its time a child that nobody ends any more ends itself."""
_IDLE = 1
"""Children kept for the next upload."""


class Readers:
    """Decodes uploads in child processes, each in one of its own for as long as it takes."""

    def __init__(self, *, seconds: float) -> None:
        """Nothing is started before it is needed.

        Args:
            seconds: The longest that decoding one upload may take.
        """
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        weakref.finalize(self, _end_all, self._idle)  # also when the interpreter ends

    async def read(
        self,
        content: bytes,
        image_shape: Sequence[int],
        *,
        name: str,
        slice_number: int | None,
        volumes: VolumeRule | None,
        gone: Callable[[], Awaitable[object]],
    ) -> NewImage:
        """An upload as a model sees it; arguments as of ``new_image``.

        Raises:
            DatasetError: It cannot be read, or ended the process that read it.
            Gone: The client is gone; ``gone`` has ended.
        """
        asked = {
            "name": name,
            "slice": slice_number,
            "volumes": volumes and volumes.model_dump(),
            "shape": list(image_shape),
            "bytes": len(content),
            "seconds": self._seconds,
        }
        child = self._take()
        future: Future[NewImage] = Future()
        future.set_running_or_notify_cancel()  # so that nobody cancels it, and it takes its result

        def work() -> None:
            try:
                future.set_result(self._read(child, asked, content))
            except BaseException as error:  # the thread's boundary: raised where it is awaited
                future.set_exception(error)

        # a daemon, so that Ctrl-C need not wait for it
        threading.Thread(target=work, name="medbench-reading", daemon=True).start()
        image = asyncio.wrap_future(future)
        leaving = asyncio.ensure_future(gone())
        either: tuple[asyncio.Future[Any], ...] = image, leaving
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not image.done():
                child.end()
                raise Gone
            return image.result()
        finally:
            image.cancel()
            leaving.cancel()

    def prepare(self) -> None:
        """Have a child ready, so that the first upload is no slower than others."""
        self._idle.append(_Child())

    def _take(self) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    return child
        return _Child()

    def _read(self, child: _Child, asked: dict[str, Any], content: bytes) -> NewImage:
        name = asked["name"]
        answer = child.ask(asked, content, self._seconds)
        if answer is None:
            why = (
                f"reading it took over {self._seconds:g} seconds"
                if child.late
                else "it ended the process that read it"
            )
            raise DatasetError(f"{name}: {why}. It is damaged or too large: convert it to PNG.")
        said, pixels = answer
        with self._lock:
            keep = len(self._idle) < _IDLE
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()
        if "slices" in said:
            raise SliceError(said["error"], said["slices"], name)
        if "error" in said:
            raise DatasetError(said["error"])
        width, height, mode, n_bytes = said["properties"]
        return NewImage(
            name=name,
            pixels=np.frombuffer(pixels, np.uint8).reshape(asked["shape"]),
            properties=(width, height, mode, n_bytes),
            shown=said["shown"],
            warnings=tuple(said["warnings"]),
        )


def _end_all(children: list[_Child]) -> None:
    while children:
        children.pop().end()


class _Child:
    """A process that decodes one upload after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *registry.plugin_files()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a decoder prints may quote the file
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self.late = False
        """Whether it was ended because it took too long."""

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, asked: dict[str, Any], content: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes] | None:
        """What it says of an upload, and the pixels; None where it died, or had to be ended."""
        assert self._process.stdin is not None and self._process.stdout is not None

        def too_late() -> None:
            self.late = True
            self.end()

        timer = threading.Timer(seconds, too_late)
        timer.daemon = True
        timer.start()
        try:
            _send(self._process.stdin, asked, content)
            said = json.loads(self._process.stdout.readline(_LONGEST_LINE))
            pixels = self._process.stdout.read(said["pixels"])
            return None if self.late or len(pixels) < said["pixels"] else (said, pixels)
        except (OSError, ValueError, LookupError, TypeError):
            self.end()
            return None
        finally:
            timer.cancel()

    def end(self) -> None:
        """End it, at once."""
        self._process.kill()
        with contextlib.suppress(OSError):
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
        self._process.wait()


_LONGEST_LINE = 100_000
"""Characters of a line of JSON, of which a message of an error is the longest part."""


def _send(stream: IO[bytes], said: dict[str, Any], content: bytes) -> None:
    stream.write(json.dumps(said).encode() + b"\n" + content)
    stream.flush()


# --- the child ------------------------------------------------------------------------------------


def decoded(asked: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """What the child says of an upload, and its pixels.

    Args:
        asked: ``name``, ``slice``, ``volumes`` and ``shape``.
        content: The file.
    """
    task = Task(classes=("", ""), image_shape=tuple(asked["shape"]))
    try:
        image = new_image(
            content,
            task,
            name=asked["name"],
            slice_number=asked["slice"],
            volumes=recorded(asked["volumes"]),
        )
    except SliceError as error:
        return {"error": error.what, "slices": error.n_slices}, b""
    except DatasetError as error:
        return {"error": str(error)[: _LONGEST_LINE // 10]}, b""
    except MemoryError:
        why = f"{asked['name']}: there is not enough memory for it. Shrink or crop it."
        return {"error": why}, b""
    about = {
        "properties": list(image.properties),
        "shown": image.shown,
        "warnings": list(image.warnings),
    }
    return about, image.pixels.tobytes()


def _serve(plugins: Sequence[str]) -> None:
    """Answer until standard input ends."""
    answers, uploads = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # what a decoder prints is no answer
    _bound_memory()
    for plugin in plugins:
        registry.load_plugin(Path(plugin))
    while line := uploads.readline():
        asked = json.loads(line)
        content = uploads.read(asked["bytes"])
        if len(content) < asked["bytes"]:
            return
        if hasattr(signal, "alarm"):  # ends it also where it hangs and the parent has died
            signal.alarm(int(asked["seconds"]) + _SPARE_SECONDS)
        said, pixels = decoded(asked, content)
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        _send(answers, {**said, "pixels": len(pixels)}, pixels)
        del content, pixels


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    _serve(sys.argv[1:])
