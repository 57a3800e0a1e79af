"""Chosen frames of a video, decoded once each and no more than they need."""

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detection.errors import UserError

# What is opened. FFmpeg reads playlists and images too, and those may name other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,dv,gif,ivf,"
    "nut,rm,wtv,h264,hevc,m4v,yuv4mpegpipe"
)
# Of a stored pixel, width / height; analogue formats have 0.9 to 1.5, and a header may say anything
_WIDEST_PIXEL = 4.0
# Decoders of several frames at a time, which would leave out others than they are told
_DELAYING = frozenset({"libdav1d", "libaom-av1", "av1"})
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
# of a header that says more than the file holds; the last frame has a duration too
_TOLERANCE, _SECONDS_OF_TOLERANCE = 0.02, 0.5


# A file, or its content
VideoSource = Path | bytes


class UnreadableVideoError(Exception):
    """A file that cannot be used as a video; the message is the reason."""


@dataclass(frozen=True)
class Frame:
    """A chosen frame. Either `image` or `reason` is set."""

    number: int  # in the order of display, from 0
    seconds: float  # after the first frame
    image: Image.Image | None = None  # upright RGB, of square pixels
    reason: str | None = None  # why it has no image


@dataclass(frozen=True)
class Timeline:
    """The frames that the packets of a video promise, found without decoding."""

    times: NDArray[np.int64]  # presentation times in the order of display; empty: unknown
    starts: NDArray[np.intp]  # the packet at which decoding of each frame has to start
    seconds: NDArray[np.float64]  # after the first frame
    promised_frames: int  # by the header; 0: it does not say
    promised_seconds: float  # the same of its duration
    pixel_shape: float  # width / height of a stored pixel

    @property
    def complaint(self) -> str | None:
        """What the header promises and the file does not hold, as where it was cut off."""
        frames, seconds = len(self.seconds), float(self.seconds[-1])
        if self.promised_frames * (1 - _TOLERANCE) > frames:
            return f"the header says {self.promised_frames} frames, and {frames} are there"
        if self.promised_seconds * (1 - _TOLERANCE) > seconds + _SECONDS_OF_TOLERANCE:
            return f"the header says {self.promised_seconds:.1f} s, and {seconds:.1f} s are there"
        return None


@dataclass(frozen=True)
class ChosenFrames:
    """The frames of a video that were chosen."""

    frames: Iterator[Frame]  # decoded as they are taken
    complaint: str | None = None  # see `Timeline`


def import_av() -> ModuleType:
    """PyAV, which is an extra; a UserError names it if it is missing."""
    try:
        import av
    except ImportError:
        raise UserError(
            'videos are read with PyAV, which is not installed: pip install ".[faces]"'
        ) from None
    av.logging.set_level(None)
    return av


def open_frames(
    source: VideoSource,
    count: int,
    every_seconds: float | None,
    max_pixels: int,
    max_seconds: float = math.inf,
) -> ChosenFrames:
    """Choose frames of a video; the options are those of `Detector.score_video`.

    Raises:
        UnreadableVideoError: As `read_timeline`, or if it takes more than `max_seconds`. Also as
            frames are taken.
    """
    timeline = read_timeline(source, max_pixels)
    if (seconds := float(timeline.seconds[-1])) > max_seconds:
        raise UnreadableVideoError(f"{seconds:.0f} seconds are more than {max_seconds:g}")
    wanted = choose_frames(timeline, count, every_seconds)
    return ChosenFrames(read_frames(source, timeline, wanted, max_pixels), timeline.complaint)


def choose_frames(timeline: Timeline, count: int, every_seconds: float | None) -> list[int]:
    """Numbers of frames, ascending: `count` of them, or one every so many seconds."""
    if every_seconds is None:
        return choose_evenly(timeline, count)
    return choose_by_time(timeline, every_seconds)


def choose_evenly(timeline: Timeline, count: int) -> list[int]:
    """The middle frames of `count` equal parts of a video; all frames where there are fewer."""
    total = len(timeline.seconds)
    return sorted({int((part + 0.5) * total / count) for part in range(count)})


def choose_by_time(timeline: Timeline, step: float) -> list[int]:
    """A frame every `step` seconds: the first one that is not earlier."""
    seconds = timeline.seconds
    wanted = np.arange(0, seconds[-1] + 1e-6, step)
    return sorted(set(np.searchsorted(seconds, wanted - 1e-6).tolist()) & set(range(len(seconds))))


def read_timeline(source: VideoSource, max_pixels: int) -> Timeline:
    """Read the times of all frames of a video; nothing is decoded.

    The header's own count and duration are not relied on.

    Raises:
        UnreadableVideoError: If it is no video, has no frames, or larger ones than `max_pixels`.
    """
    with _open(source) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise UnreadableVideoError(
                f"{width}×{height} pixels are more than max_pixels ({max_pixels})"
            )
        times: list[int | None] = []
        shown: list[int] = []  # packets that are frames
        keys: list[int] = []
        for number, packet in enumerate(_packets(container, stream)):
            times.append(packet.pts)
            if not packet.is_discard:
                shown.append(number)
            if packet.is_keyframe:
                keys.append(number)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        shape = float(stream.sample_aspect_ratio or 1)
        said = (
            stream.frames or 0,
            _promised_seconds(container, stream),
            shape if 1 / _WIDEST_PIXEL <= shape <= _WIDEST_PIXEL else 1.0,
        )
        time_base = stream.time_base
    if not shown:
        raise UnreadableVideoError("a video without frames")
    presented = [times[number] for number in shown]
    if None in presented or len(set(presented)) < len(presented):
        # such as a stream without a container: frames have to be counted as they are decoded
        seconds = np.arange(len(shown)) / float(rate)
        none = np.empty(0, np.int64)
        return Timeline(none, np.zeros(len(shown), np.intp), seconds, *said)
    order = np.argsort(np.array(presented, np.int64))
    in_order = np.array(presented, np.int64)[order]
    packets = np.array(shown)[order]
    starts = _starts(times, keys, in_order, packets)
    seconds = (in_order - in_order[0]) * float(time_base)
    return Timeline(in_order, starts, seconds, *said)


def _promised_seconds(container: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # that of all streams; sound may be longer than the pictures
    alone = len(container.streams) == 1
    return container.duration / 1_000_000 if container.duration and alone else 0.0


def _starts(
    times: list[int | None], keys: list[int], in_order: NDArray[np.int64], packets: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The last key frame that is shown no later than each frame and stored no later than it."""
    starts = np.zeros(len(in_order), np.intp)
    dated = [(time, key) for key in keys if (time := times[key]) is not None]
    if dated:
        key_times, key_packets = (np.array(each) for each in zip(*sorted(dated), strict=True))
        before = np.searchsorted(key_times, in_order, "right") - 1
        known = before >= 0
        starts[known] = np.minimum(key_packets[before[known]], packets[known])
    return np.minimum.accumulate(starts[::-1])[::-1]


def read_frames(
    source: VideoSource, timeline: Timeline, wanted: list[int], max_pixels: int, threads: int = 1
) -> Iterator[Frame]:
    """Decode the frames with the numbers `wanted`, in ascending order.

    Decoding starts at the last key frame before a wanted frame and stops after the last wanted one.
    No packet is decoded twice. A damaged frame is one without an image.
    """
    waiting = list(wanted)
    for number, decoded in _decode(source, timeline, waiting, threads):
        while waiting and waiting[0] < number:
            # a packet that gives no frame of its own, as the second field of an interlaced one
            if waiting[0] == number - 1 and number not in waiting:
                break
            yield _lost(timeline, waiting.pop(0), "could not be decoded")
        if waiting and waiting[0] <= number:
            waiting.pop(0)
            yield _to_frame(decoded, number, timeline, max_pixels)
    for number in waiting:
        yield _lost(timeline, number, "could not be decoded")


def _lost(timeline: Timeline, number: int, reason: str) -> Frame:
    return Frame(number, float(timeline.seconds[number]), reason=reason)


def _decode(
    source: VideoSource, timeline: Timeline, waiting: list[int], threads: int
) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their numbers. The caller takes from `waiting` what it got."""
    with _open(source) as (container, stream):
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO"
        chosen = set(timeline.times[waiting].tolist()) if len(timeline.times) else set()
        counted = -1
        decoding = False
        for position, packet in enumerate(_packets(container, stream, to_end=True)):
            if not waiting:
                return
            if position < timeline.starts[waiting[0]] and packet.size:
                decoding = False
                continue
            if not decoding:
                stream.codec_context.flush_buffers()
                decoding = True
            if len(timeline.times) and stream.codec_context.name not in _DELAYING:
                # frames that no other needs are left out, unless they are wanted
                stream.codec_context.skip_frame = (
                    "DEFAULT" if packet.pts is None or packet.pts in chosen else "NONREF"
                )
            for frame in _decode_packet(packet):
                counted += 1
                number = _number(frame, timeline, counted)
                if number is not None and waiting:
                    yield number, frame


def _number(frame: Any, timeline: Timeline, counted: int) -> int | None:
    """The number of a decoded frame; None for a stray one."""
    if not len(timeline.times):
        return counted
    if frame.pts is None:
        return None
    number = int(np.searchsorted(timeline.times, frame.pts))
    return number if number < len(timeline.times) else None


def _decode_packet(packet: Any) -> list[Any]:
    av = import_av()
    try:
        return list(packet.decode())
    # damaged; what follows may be whole
    except av.error.FFmpegError:
        return []


def _to_frame(decoded: Any, number: int, timeline: Timeline, max_pixels: int) -> Frame:
    number = min(number, len(timeline.seconds) - 1)
    if decoded.is_corrupt:
        return _lost(timeline, number, "damaged")
    if decoded.width * decoded.height > max_pixels:
        return _lost(timeline, number, f"more pixels than max_pixels ({max_pixels})")
    image = _to_picture(decoded, timeline.pixel_shape)
    return Frame(number, float(timeline.seconds[number]), image)


def _to_picture(decoded: Any, pixel_shape: float) -> Image.Image:
    """Upright 8-bit RGB of square pixels, by FFmpeg's conversion."""
    frame = _deinterlace(decoded) if decoded.interlaced_frame else decoded
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    if (width := round(image.width * pixel_shape)) != image.width:
        image = image.resize((width, image.height), Image.Resampling.BILINEAR)
    # degrees counter-clockwise, a multiple of 90 on phones
    turns = round(decoded.rotation / 90) % 4
    return image.transpose(_TURNS[turns - 1]) if turns else image


def _deinterlace(decoded: Any) -> Any:
    """One field, its other lines interpolated (FFmpeg's yadif); a moving face is no comb."""
    av = import_av()
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=decoded.width, height=decoded.height, format=decoded.format,
        time_base=decoded.time_base or Fraction(1, 1000),
    )  # fmt: skip
    graph.link_nodes(source, graph.add("yadif", "mode=send_frame"), graph.add("buffersink"))
    graph.configure()
    graph.push(decoded)
    graph.push(None)
    return graph.pull()


@contextmanager
def _open(source: VideoSource) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of moving pictures."""
    av = import_av()
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        with av.open(file, options=options, metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic
            streams = [each for each in container.streams.video if not each.disposition & cover]
            if not streams:
                raise UnreadableVideoError("no video stream")
            if streams[0].codec_context is None:
                raise UnreadableVideoError("a codec that FFmpeg cannot decode")
            yield container, streams[0]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableVideoError(f"not a video that FFmpeg can read ({reason})") from None


def _packets(container: Any, stream: Any, *, to_end: bool = False) -> Iterator[Any]:
    """The packets of a stream; a file that breaks off ends them.

    With `to_end`, an empty packet follows them: it makes the decoder give what it still holds.
    """
    av = import_av()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.size or to_end:
            yield packet


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
