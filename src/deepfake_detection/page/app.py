"""The page's addresses: the page itself, the detector's card, and the scoring of one picture."""

import base64
import hashlib
import logging
import re
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deepfake_detection.models.detector import Detector
from deepfake_detection.page.answers import Answers, list_types
from deepfake_detection.page.guard import OWN_HEADER, Guard
from deepfake_detection.page.knowledge import tell_what_it_knows
from deepfake_detection.page.limits import Limits
from deepfake_detection.page.problems import Problem
from deepfake_detection.page.upload import NAME_HEADER, discard_upload, read_name, read_upload
from deepfake_detection.page.waiting_line import LineFullError, WaitingLine
from deepfake_detection.reports.document import render_document

log = logging.getLogger(__name__)

_PACKAGE = "deepfake_detection.page"
_RETRY_SECONDS = 1


def make_app(detector: Detector, answers: Answers, limits: Limits, port: int) -> ASGIApp:
    """The application that serves one detector.

    `GET /` is the page; `GET /detector` the detector's card; `POST /score` takes the file of one
    picture as its body and gives what `Answer` holds, and the picture's `name`. Whatever cannot be
    done is answered by a fitting status and `{"error": sentence}`.

    Args:
        detector: Whose card is shown.
        answers: That score the pictures.
        limits: Of what is taken.
        port: That the page is served at.
    """
    document = render_page(detector, limits, explained=answers.explain)
    page = HTMLResponse(document, headers={"Content-Security-Policy": write_policy(document)})
    card = JSONResponse(detector.describe())
    line = WaitingLine(limits.max_waiting)

    async def show_page(_: Request) -> Response:
        return page

    async def show_card(_: Request) -> Response:
        return card

    async def score(request: Request) -> Response:
        try:
            with line.place():
                content = await read_upload(request, limits)
                answer = await line.work(answers, content)
        except LineFullError:
            await discard_upload(request, limits)
            raise Problem(
                503,
                "Too many pictures are waiting already. Try again in a moment.",
                {"Retry-After": str(_RETRY_SECONDS)},
            ) from None
        return JSONResponse(asdict(answer) | {"name": read_name(request)})

    routes = [
        Route("/", show_page),
        Route("/detector", show_card),
        Route("/score", score, methods=["POST"]),
    ]
    handlers: Any = {
        Problem: _answer_problem,
        HTTPException: _answer_refusal,
        Exception: _answer_failure,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), port)


async def _answer_problem(_: Request, problem: Problem) -> Response:
    return problem.answer()


async def _answer_refusal(_: Request, refusal: HTTPException) -> Response:
    sentence = f"{refusal.detail}: there are GET /, GET /detector and POST /score."
    return Problem(refusal.status_code, sentence, refusal.headers).answer()


async def _answer_failure(_: Request, error: Exception) -> Response:
    log.error("A picture could not be scored", exc_info=error)
    return Problem(500, "Scoring failed. What happened stands where the page was started.").answer()


def render_page(detector: Detector, limits: Limits, *, explained: bool) -> str:
    """The page: one HTML document with its own style and script.

    Args:
        detector: That it is to try.
        limits: Of what it takes.
        explained: Whether there are heat maps.
    """
    description = detector.describe()
    contents = {
        "description": description,
        "statements": tell_what_it_knows(description, len(detector.trained_on)),
        "limits": limits,
        "explained": explained,
        "types": list_types(),
        "own_header": OWN_HEADER,
        "name_header": NAME_HEADER,
    }
    return render_document(_PACKAGE, "try.html.j2", contents)


def write_policy(document: str) -> str:
    """The Content-Security-Policy that lets a page do what it is for, and nothing else.

    Its own style and script are known by their hashes; pictures come from the person's own files
    (blob) and from answers (data); and it speaks to where it came from.

    Args:
        document: The page, each of whose styles and scripts stands in it.
    """
    return (
        "default-src 'none'; "
        f"script-src {_hash_each(document, 'script')}; "
        f"style-src {_hash_each(document, 'style')}; "
        "img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash_each(document: str, element: str) -> str:
    contents = re.findall(rf"<{element}>(.*?)</{element}>", document, re.DOTALL)
    digests = [hashlib.sha256(each.encode("utf-8")).digest() for each in contents]
    return " ".join(f"'sha256-{base64.b64encode(each).decode('ascii')}'" for each in digests)
