"""Taking in one picture, in bounded memory and time."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request

from deepfake_detection.page.limits import Limits
from deepfake_detection.page.problems import Problem
from deepfake_detection.reports.words import printable, shortened

NAME_HEADER = "X-Picture-Name"

_NAME_LENGTH = 200
_ANY_BYTES = "application/octet-stream"
_MEGA = 10**6


async def read_upload(request: Request, limits: Limits) -> bytes:
    """The body of a request, which is the file of one picture.

    It is refused by the length that it tells of, and else cut off where it becomes too long.

    Args:
        request: Of which nothing has been read.
        limits: How long the body may be and take.

    Raises:
        Problem: If it is no picture by its type, too long, or too slow.
    """
    check_type(request)
    content = bytearray()
    async for chunk in _arriving(request, limits):
        content += chunk
    return bytes(content)


async def discard_upload(request: Request, limits: Limits) -> None:
    """Let a body pass that is not wanted: a client that is still sending hears no answer.

    Raises:
        Problem: If it is too long or too slow.
    """
    async for _ in _arriving(request, limits):
        pass


async def _arriving(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    too_long = Problem(
        413, f"The file is larger than {limits.max_bytes / _MEGA:g} MB, the most that is taken."
    )
    # a length that is no number has been refused by the server
    if int(request.headers.get("content-length", 0)) > limits.max_bytes:
        raise too_long
    length = 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                length += len(chunk)
                if length > limits.max_bytes:
                    raise too_long
                yield chunk
    except TimeoutError:
        raise Problem(
            408, f"The picture did not arrive within {limits.upload_seconds:g} seconds."
        ) from None
    except ClientDisconnect:
        raise Problem(400, "The picture was not sent whole.") from None


def check_type(request: Request) -> None:
    """Check that the body says of itself to be a picture, or nothing.

    Raises:
        Problem: If it is a form, compressed, or of another type.
    """
    kind = request.headers.get("content-type", _ANY_BYTES).partition(";")[0].strip().lower()
    if kind != _ANY_BYTES and not kind.startswith("image/"):
        raise Problem(415, "The body has to be the file of one picture, as it is, not a form.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "The picture's file must not be compressed on the way.")


def read_name(request: Request) -> str | None:
    """The picture's name, for display only: printable and not long; None if none was told."""
    name = request.headers.get(NAME_HEADER)
    if name is None:
        return None
    return shortened(printable(unquote(name, errors="replace")), _NAME_LENGTH)
