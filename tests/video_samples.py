"""Small videos, whole and broken ones, whose frames tell their number by their brightness."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STEP = 6  # levels of brightness between frames


def picture_of(number, size=(64, 48)):
    """A grey picture with a darker left half."""
    pixels = np.full((size[1], size[0], 3), 30 + STEP * (number % 35), np.uint8)
    pixels[:, : size[0] // 2] //= 2
    return pixels


def number_of(image):
    """The number, modulo 35, of the frame that an image is."""
    width, height = image.size
    level = np.asarray(image)[height // 4 : -height // 4, -width // 4 :].mean()
    return round((level - 30) / STEP)


def write_video(
    path: Path,
    frames=12,
    *,
    pictures=None,
    size=(64, 48),
    codec="libx264",
    pix_fmt="yuv420p",
    rate=10,
    times=None,
    turn=0,
    container_format=None,
    codec_options=None,
    pixel_shape=None,
):
    """Write a video; `times` are presentation times of the frames in milliseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.options = ({"crf": "10"} if codec == "libx264" else {}) | (codec_options or {})
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_shape:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        if turn:
            stream.set_display_rotation(turn)
        for number in range(frames):
            pixels = pictures[number] if pictures else picture_of(number, size)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_all(path: Path):
    """All frames of a video in the order of display, by PyAV's own decoding."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def cut_off(path: Path, share=0.5):
    """The first part of a file, as an interrupted copy leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def write_sound(path: Path):
    """An audio file with the ending of a video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
