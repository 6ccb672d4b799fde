"""Connections that are closed when nothing comes over them, or no end of what does."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 100
"""Connections at a time; a browser opens six."""
HEAD_SECONDS = 10.0
"""From the beginning of a connection, or from an answer, to the end of the next request's head,
however it trickles in. A browser that keeps a connection opens another one afterwards."""
REQUEST_SECONDS = 180.0
"""From the head of a request to the end of its answer: more than all waiting for both takes."""


class Connection(H11Protocol):  # type: ignore[misc]
    """One connection to a browser, with an end to each of its states.

    uvicorn closes one that is idle after an answer only: not one over which nothing ever comes, nor
    one that sends a byte now and then.
    """

    _deadline: asyncio.TimerHandle | None = None
    _answering = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request; more connections than there may be are closed at once."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._end_after(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer, where a request has begun."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        self._answering = False
        self._end_after(HEAD_SECONDS)
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._end_after(None)
        super().connection_lost(exc)

    def _look(self) -> None:
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete and not self._answering:
            self._answering = True
            self._end_after(REQUEST_SECONDS)

    def _end_after(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        transport = self.transport
        closing = transport is None or transport.is_closing()
        self._deadline = (
            None if seconds is None or closing else self.loop.call_later(seconds, transport.abort)
        )
