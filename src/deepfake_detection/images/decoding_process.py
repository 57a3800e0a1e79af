"""Decode pictures of unknown origin in a process of its own, in bounded time and memory.

A small file can keep a decoder busy for minutes, such as a progressive JPEG of thousands of scans,
and a decoder cannot be interrupted. So its process is ended, and the next picture gets a new one.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, cast

from PIL import Image

from deepfake_detection.images.reading import (
    TooManyPixelsError,
    UnreadablePictureError,
    open_picture,
)

# The formats of photographs that Pillow decodes in memory. Others start programs (EPS) or write
# temporary files. JPEG includes the multi-picture files of phones.
_PHOTOGRAPHS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000")
Image.init()
# some installations of Pillow lack one or another
FORMATS = tuple(name for name in _PHOTOGRAPHS if name in Image.OPEN)
# The most that a conversion to RGB takes, in bytes for each pixel, and what is there before
_BYTES_PER_PIXEL, _BYTES_AT_START = 60, 2**30


class SlowPictureError(UnreadablePictureError):
    """A picture that takes too long to decode."""


class DecodingProcess:
    """Decodes one picture at a time. To be closed.

    Args:
        max_megapixels: Width × height above which a file is refused before it is decoded.
        seconds: After which decoding is given up.
    """

    def __init__(self, max_megapixels: float, seconds: float) -> None:
        self._max_pixels = int(max_megapixels * 1e6)
        self._seconds = seconds
        self._start()

    def open(self, content: bytes) -> Image.Image:
        """Decode an image file of one of `FORMATS` into upright 8-bit RGB, as `open_picture`.

        Raises:
            TooManyPixelsError: If it is larger, or longer than 65,535 pixels.
            SlowPictureError: If decoding takes too long.
            UnreadablePictureError: If it cannot be decoded.
        """
        if self._process.poll() is not None:
            self.close()
            self._start()
        late = time.monotonic() + self._seconds
        timer = threading.Timer(self._seconds, self._end)
        timer.start()
        try:
            return self._ask(content)
        # a pipe is closed, or its content cut off: the process has ended
        except (OSError, ValueError):
            if time.monotonic() < late:
                raise UnreadablePictureError("the decoder failed") from None
            problem = f"decoding takes more than {self._seconds:g} seconds"
            raise SlowPictureError(problem) from None
        finally:
            timer.cancel()
            timer.join()

    def _ask(self, content: bytes) -> Image.Image:
        self._target.write(len(content).to_bytes(8) + content)
        self._target.flush()
        answer = json.loads(self._source.readline())
        if size := answer.get("size"):
            return Image.frombytes("RGB", size, self._source.read(3 * size[0] * size[1]))
        kind = TooManyPixelsError if answer["too_many_pixels"] else UnreadablePictureError
        raise kind(answer["reason"])

    def close(self) -> None:
        """End the process."""
        self._end()
        for pipe in (self._target, self._source):
            with suppress(OSError):
                pipe.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (the interpreter, with no input of others)
            # -P: modules are not looked for in the working folder
            [sys.executable, "-P", "-m", __name__, str(self._max_pixels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                # threads take memory
                "OPENBLAS_NUM_THREADS": "1",
            },
            # Ctrl-C in the terminal is not for it: it ends with its standard input
            start_new_session=True,
        )
        self._target = cast("IO[bytes]", self._process.stdin)
        self._source = cast("IO[bytes]", self._process.stdout)
        # the line says that the imports are done
        if not self._source.readline():
            raise RuntimeError("the process that decodes images does not start")


def _answer(content: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    try:
        picture = open_picture(content, max_pixels, FORMATS)
    except UnreadablePictureError as error:
        too_many = isinstance(error, TooManyPixelsError)
        return {"too_many_pixels": too_many, "reason": str(error)}, b""
    return {"size": picture.size}, picture.tobytes()


def _limit_memory(size: int) -> None:
    # Windows has no such limit
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _serve() -> None:
    """Answer pictures on standard input, each after its length, until it is closed."""
    max_pixels = int(sys.argv[1])
    _limit_memory(_BYTES_AT_START + _BYTES_PER_PIXEL * max_pixels)
    # what a library prints is no answer
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)
        target.write(b"\n")
        target.flush()
        while length := sys.stdin.buffer.read(8):
            content = sys.stdin.buffer.read(int.from_bytes(length))
            answer, pixels = _answer(content, max_pixels)
            target.write(json.dumps(answer).encode() + b"\n" + pixels)
            target.flush()


if __name__ == "__main__":
    _serve()
