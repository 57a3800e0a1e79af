"""Which requests are answered: who may send them, how large they are, and how many at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from deepfake_detection.page.decoding_process import is_clip

OWN_HEADER = "X-Deepfake-Page"
_TYPES = ("image/", "video/", "application/octet-stream")


class Limits(NamedTuple):
    """Bounds on the memory and the time that uploads can take."""

    max_megabytes: float  # of a picture's file
    max_clip_megabytes: float  # of a clip's file
    max_waiting: int  # files queued or scored at a time; four times as many are received
    upload_seconds: float  # within which a file has to arrive

    @property
    def max_bytes(self) -> int:
        """Of any file."""
        return int(max(self.max_megabytes, self.max_clip_megabytes) * 1e6)


class Room:
    """A number of places; whoever finds none left is told to come back."""

    def __init__(self, places: int) -> None:
        self._left = places

    @contextmanager
    def take(self, places: int = 1) -> Iterator[None]:
        """Hold places; an `HTTPException` if there are fewer."""
        if places > self._left:
            raise HTTPException(503, "Too many files at once. Try again later.", _LATER)
        self._left -= places
        try:
            yield
        finally:
            self._left += places


_LATER = {"Retry-After": "1"}


def check_sender(request: Request) -> None:
    """Refuse (`HTTPException`) a request that a page of another site may have sent."""
    if OWN_HEADER not in request.headers:
        raise HTTPException(403, f"A request that computes needs the header {OWN_HEADER}.")
    own = f"http://{request.headers['host']}".lower()
    if any(origin.lower() != own for origin in request.headers.getlist("origin")):
        raise HTTPException(403, "Pages of other sites cannot have files scored here.")


def check_length(request: Request, limits: Limits) -> int:
    """The number of bytes that a request says its file has.

    Raises:
        HTTPException: If its type is not that of a picture or a clip, or it is too large.
    """
    kind = request.headers.get("content-type", _TYPES[0]).lower()
    encoding = request.headers.get("content-encoding", "identity").lower()
    if not kind.startswith(_TYPES) or encoding != "identity":
        raise HTTPException(
            415, "The body has to be a picture or a clip, neither a form nor compressed."
        )
    # parsing thousands of small chunks takes seconds. A browser sends a length
    if "transfer-encoding" in request.headers:
        raise HTTPException(411, "The body has to have a length.")
    # uvicorn refuses a length that is not a number, and a body that has another
    length = int(request.headers.get("content-length", 0))
    _check_size(length, limits.max_bytes / 1e6)
    return length


async def read_upload(request: Request, length: int, limits: Limits) -> bytes:
    """Receive one file of `length` bytes as the body of a request, in bounded memory and time.

    Raises:
        HTTPException: If it is too large for its kind, or arrives too slowly.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for part in request.stream():
                content += part
                if len(content) >= 12:
                    clip = is_clip(bytes(content[:12]))
                    _check_size(length, limits.max_clip_megabytes if clip else limits.max_megabytes)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, f"No file within {limits.upload_seconds:g} seconds.") from None
    return bytes(content)


def _check_size(length: int, megabytes: float) -> None:
    if length > megabytes * 1e6:
        raise HTTPException(413, f"The file has more than {megabytes:g} MB.")
