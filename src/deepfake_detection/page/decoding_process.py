"""Decode pictures and clips of unknown origin in a process of its own, in bounded time and memory.

A small file can keep a decoder busy for minutes, such as a progressive JPEG of thousands of scans,
and a decoder cannot be interrupted. So its process is ended, and the next file gets a new one.
Answers are JSON and pixels: unpickling what comes from a process that a file has taken over would
let it take over this one too.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, cast

from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.faces.video import (
    ChosenFrames,
    Frame,
    UnreadableVideoError,
    open_frames,
)
from deepfake_detection.images.reading import (
    TooManyPixelsError,
    UnreadablePictureError,
    open_picture,
    readable_types,
)

# The formats of photographs that Pillow decodes in memory. Others start programs (EPS) or write
# temporary files. JPEG includes the multi-picture files of phones.
_PHOTOGRAPHS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "HEIF")
# some installations of Pillow lack one or another
FORMATS = tuple(name for name in _PHOTOGRAPHS if name in readable_types())
# How MP4 and MOV files start, after four bytes of length, and Matroska and WebM files
_BOXES, _MATROSKA = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), b"\x1a\x45\xdf\xa3"
# Pictures start in the same way: AVIF and HEIC
_BRANDS_OF_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
# The most that a conversion to RGB takes, in bytes for each pixel, and what is there before
_BYTES_PER_PIXEL, _BYTES_AT_START = 60, 2**30


class SlowPictureError(UnreadablePictureError):
    """A file that takes too long to decode."""


@dataclass(frozen=True)
class DecodingLimits:
    """Bounds on one file."""

    max_megapixels: float  # width × height of a picture or of a frame
    decode_seconds: float  # for a picture
    clip_frames: int = 32  # that are taken of a clip, evenly spaced
    max_clip_seconds: float = 120.0  # length of a clip
    clip_decode_seconds: float = 60.0  # for a clip

    @property
    def max_pixels(self) -> int:
        """Width × height."""
        return int(self.max_megapixels * 1e6)


def is_clip(start: bytes) -> bool:
    """Whether a file that starts so (12 bytes) is MP4, MOV, Matroska or WebM."""
    box, brand = start[4:8], start[8:12]
    return start.startswith(_MATROSKA) or (box in _BOXES and brand not in _BRANDS_OF_PICTURES)


class DecodingProcess:
    """Decodes one file at a time. To be closed."""

    _target: IO[bytes]
    _source: IO[bytes]
    _frames_left: bool  # of a clip, which the process has still to give

    def __init__(self, limits: DecodingLimits) -> None:
        self.limits = limits
        self._start()

    def open(self, content: bytes) -> Image.Image | ChosenFrames:
        """Decode a picture, of one of `FORMATS`, as `open_picture`; or open the frames of a clip.

        The frames are decoded as they are taken, before the next file is opened. An
        `UnreadableVideoError` among them says that decoding failed or takes too long.

        Raises:
            TooManyPixelsError: If it is larger, or longer than 65,535 pixels.
            SlowPictureError: If decoding takes too long.
            UnreadablePictureError: If it cannot be decoded, or a clip is too long.
        """
        # frames that were not taken would be the answer to this file
        if self._frames_left or self._process.poll() is not None:
            self.close()
            self._start()
        limits = self.limits
        self._seconds = limits.clip_decode_seconds if is_clip(content) else limits.decode_seconds
        self._seconds_left = self._seconds
        with self._limited_time():
            self._target.write(len(content).to_bytes(8) + content)
            self._target.flush()
            answer, image = self._read()
        if "error" in answer:
            kind = TooManyPixelsError if answer["too_many_pixels"] else UnreadablePictureError
            raise kind(answer["error"])
        if image is not None:
            return image
        self._frames_left = True
        return ChosenFrames(self._take_frames(), answer["complaint"])

    def _read(self) -> tuple[dict[str, Any], Image.Image | None]:
        """The next line of the process, and the pixels that follow it."""
        answer = json.loads(self._source.readline())
        if size := answer.pop("size", None):
            content = self._source.read(3 * size[0] * size[1])
            return answer, Image.frombytes("RGB", size, content)
        return answer, None

    def _take_frames(self) -> Iterator[Frame]:
        while self._frames_left:
            try:
                with self._limited_time():
                    answer, image = self._read()
            except UnreadablePictureError as error:
                raise UnreadableVideoError(str(error)) from None
            self._frames_left = "frame" in answer
            if "error" in answer:
                raise UnreadableVideoError(answer["error"])
            if self._frames_left:
                yield replace(Frame(**answer["frame"]), image=image)

    @contextmanager
    def _limited_time(self) -> Iterator[None]:
        """Wait for the process, for as long as is left of the seconds of a file."""
        started = time.monotonic()
        timer = threading.Timer(self._seconds_left, self._end)
        timer.start()
        try:
            yield
        # a pipe is closed, or its content cut off: the process has ended
        except (OSError, ValueError):
            if time.monotonic() < started + self._seconds_left:
                raise UnreadablePictureError("the decoder failed") from None
            problem = f"decoding takes more than {self._seconds:g} seconds"
            raise SlowPictureError(problem) from None
        finally:
            timer.cancel()
            timer.join()
            self._seconds_left -= time.monotonic() - started

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
            [sys.executable, "-P", "-m", __name__, json.dumps(asdict(self.limits))],
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
        self._frames_left = False
        self._target = cast("IO[bytes]", self._process.stdin)
        self._source = cast("IO[bytes]", self._process.stdout)
        # the line says that the imports are done
        if not self._source.readline():
            raise RuntimeError("the process that decodes images does not start")


def _answer(content: bytes, limits: DecodingLimits, target: IO[bytes]) -> None:
    try:
        if not is_clip(content):
            _tell(target, {}, open_picture(content, limits.max_pixels, FORMATS))
            return
        chosen = open_frames(
            content, limits.clip_frames, None, limits.max_pixels, limits.max_clip_seconds
        )
        _tell(target, {"complaint": chosen.complaint})
        for frame in chosen.frames:
            told = {"number": frame.number, "seconds": frame.seconds, "reason": frame.reason}
            _tell(target, {"frame": told}, frame.image)
        _tell(target, {"end": True})
    except (UnreadablePictureError, UnreadableVideoError, UserError) as error:
        too_many = isinstance(error, TooManyPixelsError)
        _tell(target, {"error": str(error), "too_many_pixels": too_many})


def _tell(target: IO[bytes], answer: dict[str, Any], image: Image.Image | None = None) -> None:
    """Write a line of JSON and the pixels of an image, whose size is in the line."""
    size = {} if image is None else {"size": image.size}
    target.write(json.dumps(answer | size).encode() + b"\n")
    if image is not None:
        target.write(image.tobytes())
    target.flush()


def _limit_memory(size: int) -> None:
    # Windows has no such limit
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _serve() -> None:
    """Answer files on standard input, each after its length, until it is closed."""
    limits = DecodingLimits(**json.loads(sys.argv[1]))
    _limit_memory(_BYTES_AT_START + _BYTES_PER_PIXEL * limits.max_pixels)
    # what a library prints is no answer
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)
        target.write(b"\n")
        target.flush()
        while length := sys.stdin.buffer.read(8):
            _answer(sys.stdin.buffer.read(int.from_bytes(length)), limits, target)


if __name__ == "__main__":
    _serve()
