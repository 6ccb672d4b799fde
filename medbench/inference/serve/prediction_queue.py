"""One thread that classifies, one image at a time, while the others wait, and not too many."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

Answer = TypeVar("Answer")


class Busy(Exception):  # noqa: N818 - a state, as the words of its answer say
    """No slot is free, or none became free in time."""


class TooLong(Exception):  # noqa: N818
    """The time is up."""


class Gone(Exception):  # noqa: N818
    """Nobody waits for the answer any more."""


class GivenUp(Exception):  # noqa: N818
    """Raised within a call that noticed that it was given up; nobody sees it."""


class _Call(NamedTuple, Generic[Answer]):
    future: Future[Answer]
    call: Callable[[threading.Event], Answer]
    given_up: threading.Event


class PredictionQueue:
    """Runs calls one after the other in a thread of its own.

    What comes from outside has been decoded before (see ``reading``): calls are given pixels of
    one size, and each takes about as long. Models are not made to be used by several threads at
    once, and one image after the other keeps the memory that is needed small. A thread cannot be
    stopped from outside: a call that took too long is answered in time, but runs on until it
    notices that it was given up, and so long the others wait. The thread is a daemon, so that
    Ctrl-C need not wait for it.
    """

    def __init__(self, *, slots: int, seconds: float) -> None:
        """Start the thread.

        Args:
            slots: How many may wait or be worked on.
            seconds: The longest that one waits and is worked on, together.
        """
        self._free = slots
        self._seconds = seconds
        self._calls: queue.SimpleQueue[_Call[Any]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="medbench-serve", daemon=True).start()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot from before an upload is read, since it takes memory; from one loop only.

        Raises:
            Busy: All are taken.
        """
        if not self._free:
            raise Busy("too many images wait already")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def run(
        self, call: Callable[[threading.Event], Answer], gone: Callable[[], Awaitable[object]]
    ) -> Answer:
        """What a call gives, in its turn.

        Args:
            call: Is given an event that is set when nobody wants its answer any more.
            gone: Ends when the client is gone.

        Raises:
            Busy: Its turn did not come in time.
            TooLong: It took too long.
            Gone: The client is gone.
            Exception: What the call raises.
        """
        one: _Call[Answer] = _Call(Future(), call, threading.Event())
        self._calls.put(one)
        answer = asyncio.wrap_future(one.future)
        leaving = asyncio.ensure_future(gone())
        either: tuple[asyncio.Future[Any], ...] = answer, leaving
        try:
            await asyncio.wait(either, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            not_begun = one.future.cancel()
            if leaving.done():
                raise Gone
            if not_begun:
                raise Busy(f"other images keep MedBench busy for over {self._seconds:g} seconds")
            raise TooLong(f"it takes over {self._seconds:g} seconds")
        finally:
            one.given_up.set()
            answer.cancel()
            leaving.cancel()

    def _work(self) -> None:
        while True:
            future, call, given_up = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = call(given_up)
            except BaseException as error:  # the thread's boundary: raised where it is awaited
                future.set_exception(error)
            else:
                future.set_result(answer)
                del answer
            del future, call  # what was uploaded is not kept until the next one comes
