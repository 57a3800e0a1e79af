"""The web application: the page, the detector's card, and the scoring of one image.

Any site open in the same browser can send requests to 127.0.0.1, and can let a domain of its own
point there (DNS rebinding). So the requested host has to be this machine, and a request that
computes needs a header that pages of other sites cannot send, and no origin but the page's own.
"""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_detection.errors import UserError
from deepfake_detection.images.decoding_process import FORMATS
from deepfake_detection.images.reading import TooManyPixelsError, UnreadablePictureError
from deepfake_detection.models.detector import Detector
from deepfake_detection.page.statements import describe_detector
from deepfake_detection.reports.document import render_document

log = logging.getLogger(__name__)
OWN_HEADER = "X-Deepfake-Page"
# On every answer. The page restricts itself further, in its head
_HEADERS = [
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
# Of errors; 422 of others
_STATUSES: dict[type[Exception], int] = {TooManyPixelsError: 413, UnreadablePictureError: 400}
_MAX_CONNECTIONS = 128
# For a request to arrive, or for an answer to be taken
_WAITING_SECONDS = 10


class Limits(NamedTuple):
    """Bounds on the memory and the time that uploads can take."""

    max_megabytes: float  # of one image file
    max_megapixels: float  # width × height of one image
    max_waiting: int  # images queued or scored at a time; four times as many are received
    upload_seconds: float  # within which an image has to arrive


def make_app(
    detector: Detector, scorer: Callable[[bytes], dict[str, Any]], limits: Limits, *, explains: bool
) -> Starlette:
    """Make the application; `scorer` is called in one thread, `explains` says if it has heat maps.

    `GET /` is the page; `GET /detector` the detector's card; `POST /score` takes an image file as
    its body and returns what `scorer` returns. An error is a status and `{"error": sentence}`.
    """
    contents = {
        "detector": detector, "statements": describe_detector(detector), "limits": limits,
        "explains": explains, "formats": FORMATS, "own_header": OWN_HEADER,
    }  # fmt: skip
    document = render_document("deepfake_detection.page", "try.html.j2", contents, "try.js")
    card = JSONResponse(detector.describe())
    uploads = asyncio.Semaphore(4 * limits.max_waiting)
    queue = asyncio.Semaphore(limits.max_waiting)
    turn = asyncio.Lock()
    # always the same thread: PyTorch keeps a pool of threads for each thread that calls it
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    async def score(request: Request) -> Response:
        check_sender(request)
        async with take_place(uploads):
            content = await read_upload(request, limits)
        # after a large body, uvicorn only now reads on, and notices that a client leaves
        await request.is_disconnected()
        async with take_place(queue), turn:
            if await request.is_disconnected():
                raise HTTPException(400, "The client has left.")
            try:
                loop = asyncio.get_running_loop()
                return JSONResponse(await loop.run_in_executor(worker, scorer, content))
            except (UnreadablePictureError, UserError) as error:
                raise HTTPException(_STATUSES.get(type(error), 422), f"{error}.") from None

    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(document)),
            Route("/detector", lambda _: card),
            Route("/score", score, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, ["127.0.0.1", "localhost"])],
        exception_handlers={HTTPException: _answer_refusal, Exception: _answer_failure},
    )


class Server(uvicorn.Server):
    """Closes connections that send no request or take no answer: uvicorn waits for ever."""

    _since: dict[tuple[Any, Any], float] = {}  # noqa: RUF012  (replaced, never changed)

    async def on_tick(self, counter: int) -> bool:
        """Close those that have waited too long, or longest of too many. Called every 0.1 s."""
        connections, now = self.server_state.connections, time.monotonic()
        # a connection and its last request, if that one is answered or its answer not taken
        waiting = {
            (each, each.cycle)
            for each in cast("set[H11Protocol]", connections)
            if not each.cycle or each.cycle.response_complete or each.flow.write_paused
        }
        self._since = {each: self._since.get(each, now) for each in waiting}
        too_many = len(connections) - _MAX_CONNECTIONS
        for place, each in enumerate(sorted(waiting, key=self._since.__getitem__)):
            if place < too_many or now - self._since[each] > _WAITING_SECONDS:
                each[0].transport.abort()
        return await super().on_tick(counter)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer requests until Ctrl-C."""
    config = uvicorn.Config(
        app,
        # parts that every installation of uvicorn has
        loop="asyncio", http="h11", ws="none", lifespan="off",
        # requests are not logged; errors are logged by the application
        log_config=None, log_level="critical", access_log=False,
        proxy_headers=False, server_header=False, headers=_HEADERS,
        # connections that are accepted at once
        backlog=_MAX_CONNECTIONS,
        # then an image that is being scored is given up
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    # uvicorn raises it again after it has stopped
    with suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


async def _answer_refusal(_: Request, error: Any) -> Response:
    # the rest of an upload is not waited for
    headers = {"Connection": "close"} | dict(error.headers or {})
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def _answer_failure(_: Request, error: Exception) -> Response:
    log.error("An image could not be scored", exc_info=error)
    return JSONResponse({"error": "Scoring failed. The terminal of deepfake-page says why."}, 500)


@asynccontextmanager
async def take_place(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """Hold one of the places; an `HTTPException` if all are taken."""
    if places.locked():
        raise HTTPException(503, "Too many images at once. Try again later.", {"Retry-After": "1"})
    async with places:
        yield


def check_sender(request: Request) -> None:
    """Refuse (`HTTPException`) a request that a page of another site may have sent."""
    if OWN_HEADER not in request.headers:
        raise HTTPException(403, f"A request that computes needs the header {OWN_HEADER}.")
    own = f"http://{request.headers['host']}".lower()
    if any(origin.lower() != own for origin in request.headers.getlist("origin")):
        raise HTTPException(403, "Pages of other sites cannot have images scored here.")


async def read_upload(request: Request, limits: Limits) -> bytes:
    """Receive one image file as the body of a request, in bounded memory and time.

    Raises:
        HTTPException: If its type is not that of an image, or it is too large or too slow.
    """
    kind = request.headers.get("content-type", "image/any").lower()
    encoding = request.headers.get("content-encoding", "identity").lower()
    if not kind.startswith(("image/", "application/octet-stream")) or encoding != "identity":
        raise HTTPException(415, "The body has to be an image file, neither a form nor compressed.")
    # parsing thousands of small chunks takes seconds. A browser sends a length
    if "transfer-encoding" in request.headers:
        raise HTTPException(411, "The body has to have a length.")
    # uvicorn refuses a length that is not a number, and a body that has another
    if int(request.headers.get("content-length", 0)) > limits.max_megabytes * 1e6:
        raise HTTPException(413, f"The file has more than {limits.max_megabytes:g} MB.")
    try:
        async with asyncio.timeout(limits.upload_seconds):
            return await request.body()
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, f"No image within {limits.upload_seconds:g} seconds.") from None
