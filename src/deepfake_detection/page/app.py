"""The web application: the page, the detector's card, and the scoring of one image.

Any site open in the same browser can send requests to 127.0.0.1, and can let a domain of its own
point there (DNS rebinding). So the requested host has to be this machine, and a request that
computes needs a header that pages of other sites cannot send, and no origin but the page's own.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_detection.images.reading import TooManyPixelsError, UnreadablePictureError
from deepfake_detection.models.detector import Detector
from deepfake_detection.page.scoring import FORMATS
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

# What an upload may take on one machine before another one may take its place
_SECONDS_OF_AN_UPLOAD = 2
_TOO_MANY = HTTPException(503, "Too many images at a time.", {"Retry-After": "2"})


class Limits(NamedTuple):
    """Bounds on the memory and the time that uploads can take."""

    max_megabytes: float  # of one image file
    max_megapixels: float  # width × height of one image
    max_waiting: int  # images received at a time, and received ones that wait to be scored
    upload_seconds: float  # within which a request, and then its image, have to arrive


def make_app(
    detector: Detector, scorer: Callable[[bytes], dict[str, Any]], limits: Limits, *, explains: bool
) -> Starlette:
    """Make the application; `scorer` is called in one thread, `explains` says if it has heat maps.

    `GET /` is the page; `GET /detector` the detector's card; `POST /score` takes an image file as
    its body and returns what `scorer` returns. An error is a status and `{"error": sentence}`.
    """
    contents = {
        "backbone": detector.card.backbone, "statements": describe_detector(detector),
        "limits": limits, "explains": explains, "formats": FORMATS, "own_header": OWN_HEADER,
    }  # fmt: skip
    document = render_document("deepfake_detection.page", "try.html.j2", contents, "try.js")
    page = HTMLResponse(document)
    card = JSONResponse(detector.describe())
    uploads, waiting = Uploads(limits), 0
    # always the same thread: PyTorch keeps a pool of threads for each thread that calls it
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    async def score(request: Request) -> Response:
        nonlocal waiting
        check_sender(request)
        content = await uploads.read(request)
        if waiting >= limits.max_waiting:
            raise _TOO_MANY
        waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return JSONResponse(await loop.run_in_executor(worker, scorer, content))
        except TooManyPixelsError as error:
            raise HTTPException(413, f"The image is too large: {error}.") from None
        except UnreadablePictureError as error:
            raise HTTPException(400, f"This cannot be read as an image: {error}.") from None
        finally:
            waiting -= 1

    return Starlette(
        routes=[
            Route("/", lambda _: page),
            Route("/detector", lambda _: card),
            Route("/score", score, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, ["127.0.0.1", "localhost"])],
        exception_handlers={HTTPException: _answer_refusal, Exception: _answer_failure},
    )


def serve(app: Starlette, listener: socket.socket, seconds: float) -> None:
    """Answer requests until Ctrl-C; one that does not arrive within `seconds` is dropped."""

    class Protocol(H11Protocol):
        timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch()

        def watch(self) -> None:
            waits = self.conn.their_state is h11.IDLE
            if self.timer and not waits:
                self.timer.cancel()
                self.timer = None
            elif waits and not self.timer:
                self.timer = asyncio.get_running_loop().call_later(seconds, self.transport.close)

    config = uvicorn.Config(
        app,
        # parts that every installation of uvicorn has
        loop="asyncio", http=Protocol, ws="none", lifespan="off",
        # requests are not logged; errors are logged by the application
        log_config=None, log_level="critical", access_log=False,
        proxy_headers=False, server_header=False, headers=_HEADERS,
        # then an image that is being scored is given up
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    # uvicorn raises it again after it has stopped
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


async def _answer_refusal(_: Request, error: Any) -> Response:
    # the rest of an upload is not waited for
    headers = {"Connection": "close"} | dict(error.headers or {})
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def _answer_failure(_: Request, error: Exception) -> Response:
    log.error("An image could not be scored", exc_info=error)
    return JSONResponse({"error": "Scoring failed. The terminal of deepfake-page says why."}, 500)


def check_sender(request: Request) -> None:
    """Refuse (`HTTPException`) a request that a page of another site may have sent."""
    if OWN_HEADER not in request.headers:
        raise HTTPException(403, f"A request that computes needs the header {OWN_HEADER}.")
    own = f"http://{request.headers['host']}".lower()
    if any(origin.lower() != own for origin in request.headers.getlist("origin")):
        raise HTTPException(403, "Pages of other sites cannot have images scored here.")


class Uploads:
    """Receives image files, at most `max_waiting` at a time. Another one ends the slowest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # of each upload its start, and the time limit that ends it
        self._running: dict[asyncio.Timeout, float] = {}

    async def read(self, request: Request) -> bytes:
        """Receive one image file as the body of a request, in bounded memory and time.

        Raises:
            HTTPException: If its type is not that of an image, it is too large or too slow, or too
                many others are received.
        """
        limits, now = self._limits, asyncio.get_running_loop().time()
        kind = request.headers.get("content-type", "image/any").lower()
        encoding = request.headers.get("content-encoding", "identity").lower()
        if not kind.startswith(("image/", "application/octet-stream")) or encoding != "identity":
            raise HTTPException(415, "The body has to be an image file, no form, not compressed.")
        max_bytes = int(limits.max_megabytes * 1e6)
        too_large = HTTPException(413, f"The file has more than {limits.max_megabytes:g} MB.")
        # uvicorn refuses a length that is not a number
        if int(request.headers.get("content-length", 0)) > max_bytes:
            raise too_large
        if len(self._running) >= limits.max_waiting:
            slowest = min(self._running, key=lambda each: self._running[each])
            if now - self._running[slowest] < _SECONDS_OF_AN_UPLOAD:
                raise _TOO_MANY
            del self._running[slowest]
            slowest.reschedule(now)
        content = bytearray()
        limit = asyncio.timeout(limits.upload_seconds)
        try:
            async with limit:
                self._running[limit] = now
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > max_bytes:
                        raise too_large
        except TimeoutError:
            raise HTTPException(408, "The image did not arrive in time.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The upload was interrupted.") from None
        finally:
            self._running.pop(limit, None)
        return bytes(content)
