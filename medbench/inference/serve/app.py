"""The web application: a page, and answers for what is dropped on it; nothing touches the disk."""

from __future__ import annotations

import asyncio
import importlib.resources
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jinja2
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import medbench
from medbench.datasets.image_names import HIDDEN, SYSTEM, why_left_out
from medbench.errors import DatasetError, MedBenchError
from medbench.inference.images import NewImage
from medbench.inference.model import Model, describe
from medbench.inference.model_info import RESEARCH_ONLY
from medbench.inference.serve.answers import classified, explained, refused
from medbench.inference.serve.prediction_queue import Busy, Gone, PredictionQueue, TooLong
from medbench.inference.serve.reading import Readers
from medbench.reports.text import plain

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""What the page is called. Under any other name it is refused, since somebody's web site could
give its own name this address and so read what is answered here (DNS rebinding)."""
ASKED_BY_PAGE = "x-medbench"
"""A header without which nothing is classified: pages of other web sites cannot send it."""
NAME, SLICE = "x-medbench-name", "x-medbench-slice"
"""Headers with the percent-encoded name of the file, and the slice of a volume."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LONGEST_NAME = 120
"""Characters of a file's name that are shown."""
_LARGEST_SLICE = 1_000_000
_TOO_LARGE, _UNREADABLE, _BUSY = 413, 422, 503
_CLIENT_GONE = 499
"""Nobody reads it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take."""

    n_bytes: int = 50_000_000
    """Largest file."""
    upload_seconds: float = 15.0
    """Longest that a file may take to arrive, which comes from this machine."""
    reading_seconds: float = 20.0
    """Longest that decoding it may take."""
    seconds: float = 60.0
    """Longest wait for an answer when it is decoded."""
    slots: int = 4
    """Files that may be uploaded, wait or be classified at the same time."""


def make_app(model: Model, *, limits: Limits | None = None) -> Starlette:
    """The application of a model, for any ASGI server.

    ``GET /`` is the page. ``POST /classify`` and ``POST /explain`` take the bytes of a file as
    body and answer in JSON; they want the header ``X-MedBench``, and take the file's name from
    ``X-MedBench-Name`` and the slice of a volume from ``X-MedBench-Slice``. The two are apart so
    that whatever happens to a heat map, the prediction is there.
    """
    limits = limits or Limits()
    predictions = PredictionQueue(slots=limits.slots, seconds=limits.seconds)
    readers = Readers(seconds=limits.reading_seconds)
    page, css, js = _page(model, limits), _css(), _template("page.js")

    def static(content: str, media_type: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return Response(content, media_type=media_type)

        return endpoint

    def answering(
        answer: Callable[[Model, NewImage, threading.Event], dict[str, Any]],
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            with predictions.slot():
                name, slice_number = _about(request)
                content = await _body(request, limits)
                try:
                    _refuse_by_name(name)
                    image = await readers.read(
                        content,
                        model.task.image_shape,
                        volumes=model.info.volumes,
                        name=name,
                        slice_number=slice_number,
                        gone=lambda: _gone(request),
                    )
                    said = await predictions.run(
                        lambda given_up: answer(model, image, given_up), lambda: _gone(request)
                    )
                except MedBenchError as error:
                    status = _UNREADABLE if isinstance(error, DatasetError) else 500
                    return JSONResponse(refused(name, error), status)
                return JSONResponse(said)

        return endpoint

    app = Starlette(
        routes=[
            Route("/", static(page, "text/html")),
            Route("/page.css", static(css, "text/css")),
            Route("/page.js", static(js, "text/javascript")),
            Route("/classify", answering(classified), methods=["POST"]),
            Route("/explain", answering(explained), methods=["POST"]),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
            Middleware(_FromPageOnly),
        ],
        exception_handlers={
            HTTPException: _http_error,
            Busy: _busy,
            TooLong: _busy,
            Gone: _nobody,
            ClientDisconnect: _nobody,
            MemoryError: _no_memory,
            Exception: _unexpected,
        },
    )
    app.state.readers = readers
    return app


# --- what comes in --------------------------------------------------------------------------------


def _about(request: Request) -> tuple[str, int | None]:
    """What the user calls the file that is sent, and the slice of a volume, counted from 1.

    Raises:
        HTTPException: Its slice is no number.
    """
    number = request.headers.get(SLICE, "")
    if number and not (re.fullmatch("[0-9]{1,7}", number) and 0 < int(number) <= _LARGEST_SLICE):
        raise HTTPException(_UNREADABLE, "The slice must be a whole number from 1.")
    name = plain(re.split(r"[\\/]", unquote(request.headers.get(NAME, "")))[-1])
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return shown or "image", int(number) if number else None


def _refuse_by_name(name: str) -> None:
    """Refuse a file that is no image by its name.

    Raises:
        DatasetError: It is none.
    """
    if (why := why_left_out(name)) in (HIDDEN, SYSTEM):
        raise DatasetError(
            f"{name}: is one of the {why.replace('(s)', 's')}, not an image. Choose another."
        )


async def _body(request: Request, limits: Limits) -> bytes:
    """The file that is sent.

    Raises:
        HTTPException: It is too large, or comes too slowly.
        ClientDisconnect: The client is gone.
    """
    too_large = HTTPException(
        _TOO_LARGE, f"It is above the limit of {limits.n_bytes / 1e6:g} MB. Shrink or crop it."
    )
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limits.n_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                if len(content) + len(chunk) > limits.n_bytes:
                    raise too_large
                content += chunk
    except TimeoutError:
        raise HTTPException(
            408, f"It took over {limits.upload_seconds:g} seconds to arrive."
        ) from None
    return bytes(content)


async def _gone(request: Request) -> None:
    """Ends when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _FromPageOnly:
    """Lets nothing be classified for pages of other web sites, which any browser may have open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            own = f"http://{headers.get('host', '')}"
            if ASKED_BY_PAGE not in headers or headers.get("origin", own).lower() != own.lower():
                message = f"Only this page may ask, with the header {ASKED_BY_PAGE}."
                await JSONResponse({"error": message}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


# --- what goes out --------------------------------------------------------------------------------


class _SafeHeaders:
    """Gives every answer the headers that keep it to this page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _busy(request: Request, error: Exception) -> Response:
    message = f"Not answered: {error}. Try again in a moment."
    return JSONResponse({"error": message}, _BUSY, headers={"Retry-After": "5"})


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _no_memory(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "There is not enough memory for it. Shrink it."}, _BUSY)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette raises the error again, so that the server writes it to the terminal."""
    message = "MedBench failed at it, through no fault of the image; the terminal says how."
    return JSONResponse({"error": message}, 500, headers=_HEADERS)


# --- the page -------------------------------------------------------------------------------------


def _page(model: Model, limits: Limits) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medbench.inference.serve"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = lambda text: plain(str(text))
    info = model.info
    n_verdicts = len(info.verdicts)
    return environment.get_template("page.html.j2").render(
        info=info,
        about=describe(info)[: -n_verdicts or None],
        several=len(info.folds) > 1,
        purpose=RESEARCH_ONLY,
        limits=limits,
        version=medbench.__version__,
    )


def _css() -> str:
    """The look of a run's page, and what this page has besides."""
    report = importlib.resources.files("medbench.reports.page") / "templates" / "page.css"
    return report.read_text(encoding="utf-8") + _template("page.css")


def _template(name: str) -> str:
    file = importlib.resources.files("medbench.inference.serve") / "templates" / name
    return file.read_text(encoding="utf-8")
