"""The web application: the page, the detector's card, and the scoring of one file.

Any site open in the same browser can send requests to 127.0.0.1, and can let a domain of its own
point there (DNS rebinding). So the requested host has to be this machine, and a request that
computes needs a header that pages of other sites cannot send, and no origin but the page's own.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from deepfake_detection.errors import UserError
from deepfake_detection.images.reading import TooManyPixelsError, UnreadablePictureError
from deepfake_detection.models.detector import Detector
from deepfake_detection.page.decoding_process import FORMATS, DecodingLimits
from deepfake_detection.page.finished_run import FinishedRun
from deepfake_detection.page.openapi import describe_interface
from deepfake_detection.page.requests import (
    OWN_HEADER,
    Limits,
    Room,
    check_length,
    check_sender,
    read_upload,
)
from deepfake_detection.page.scoring import UploadScorer
from deepfake_detection.page.statements import describe_detector
from deepfake_detection.reports.document import render_document

log = logging.getLogger(__name__)
_SCRIPTS = ("try.js", "result.js", "timeline.js", "overview.js")
# Of errors; 422 of others
_STATUSES: dict[type[Exception], int] = {TooManyPixelsError: 413, UnreadablePictureError: 400}


def make_app(
    detector: Detector,
    scorer: UploadScorer,
    limits: Limits,
    decoding: DecodingLimits,
    run: FinishedRun | None = None,
) -> Starlette:
    """Make the application; `scorer` is called in one thread.

    `GET /` is the page; `GET /detector` the detector's card; `POST /score` takes a file as its
    body and returns what `scorer` returns; `GET /openapi.json` describes that. An error is a status
    and `{"error": sentence}`. `run` is the run that the detector was made in, if it is at hand.
    """
    examples = run.examples if run else ()
    contents = {
        "detector": detector, "limits": limits, "decoding": decoding, "formats": FORMATS,
        "statements": describe_detector(detector, run.test_scores if run else None),
        "examples": examples, "own_header": OWN_HEADER,
        "explains": scorer.explains, "finds_faces": scorer.finds_faces,
    }  # fmt: skip
    document = render_document("deepfake_detection.page", "try.html.j2", contents, *_SCRIPTS)
    card = JSONResponse(detector.describe())
    interface = JSONResponse(describe_interface(limits))
    uploads, queue = Room(4 * limits.max_waiting), Room(limits.max_waiting)
    # of all files that are received or wait: some clips, or as many pictures as may wait
    memory = Room(4 * limits.max_bytes)
    turn = asyncio.Lock()
    # always the same thread: PyTorch keeps a pool of threads for each thread that calls it
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    async def score(request: Request) -> Response:
        check_sender(request)
        length = check_length(request, limits)
        asked = {name: request.query_params.get(name) == "1" for name in ("pictures", "heat_maps")}
        with memory.take(length):
            with uploads.take():
                content = await read_upload(request, length, limits)
            # after a large body, uvicorn only now reads on, and notices that a client leaves
            await request.is_disconnected()
            with queue.take():
                async with turn:
                    if await request.is_disconnected():
                        raise HTTPException(400, "The client has left.")
                    return await _answer(worker, partial(scorer, content, **asked))

    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(document)),
            Route("/detector", lambda _: card),
            Route("/openapi.json", lambda _: interface),
            Route("/examples/{number:int}", partial(_send_file, [each.path for each in examples])),
            Route(
                "/thumbnails/{number:int}",
                partial(_send_file, [each.thumbnail for each in examples]),
            ),
            Route("/score", score, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, ["127.0.0.1", "localhost"])],
        exception_handlers={HTTPException: _answer_refusal, Exception: _answer_failure},
    )


async def _answer(worker: ThreadPoolExecutor, score: "partial[dict[str, Any]]") -> Response:
    try:
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(worker, score))
    except (UnreadablePictureError, UserError) as error:
        raise HTTPException(_STATUSES.get(type(error), 422), f"{error}.") from None


async def _send_file(files: Sequence[Path], request: Request) -> Response:
    number = request.path_params["number"]
    if number >= len(files):
        raise HTTPException(404)
    return FileResponse(files[number])


async def _answer_refusal(_: Request, error: Any) -> Response:
    # the rest of an upload is not waited for
    headers = {"Connection": "close"} | dict(error.headers or {})
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def _answer_failure(_: Request, error: Exception) -> Response:
    log.error("A file could not be scored", exc_info=error)
    return JSONResponse({"error": "Scoring failed. The terminal of deepfake-page says why."}, 500)
