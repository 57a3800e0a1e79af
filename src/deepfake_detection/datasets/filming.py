"""Makes the demo's videos out of the drawn portraits, in FaceForensics++'s layout.

A portrait moves over a background that moves too, and shows another of its five expressions from
time to time. Fakes are forged as the demo's images are.
"""

import json
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageDraw, ImageFilter

from deepfake_detection.datasets.forging import MOST_IMAGES, ClassName, Source, make_image
from deepfake_detection.faces.video import import_av

# Raise it when a change makes other videos out of the same settings.
FILMING_VERSION = 2
# Folders of FaceForensics++, by class
_FOLDERS: dict[ClassName, str] = {
    "real": "original_sequences/youtube",
    "fake_deepfake": "manipulated_sequences/Deepfakes",
    "fake_face2face": "manipulated_sequences/Face2Face",
}
_COMPRESSION = "c23"  # x264's constant rate factor 23
_FRAMES_PER_SECOND = 12
# of ten pairs of people; FaceForensics++ has 360, 70 and 70 pairs
_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def write_videos(folder: Path, *, sources: int, frames: int, size: int, seed: int) -> int:
    """Make a data set of videos and return their number.

    Writes ``original_sequences/youtube/c23/videos/000.mp4`` …, fakes of two kinds such as
    ``manipulated_sequences/Deepfakes/c23/videos/000_001.mp4``, and the lists of pairs
    ``splits/train.json``, ``val.json`` and ``test.json``.

    Args:
        folder: An empty folder.
        sources: People, an even number: 2k and 2k + 1 are a pair.
        frames: Of each video.
        size: Height of the videos, even; they are 4:3.
        seed: Of forgeries and movements.
    """

    def write_source(number: int) -> None:
        for class_name, inside in _FOLDERS.items():
            name = f"{number:03}" if class_name == "real" else f"{number:03}_{number ^ 1:03}"
            path = folder / inside / _COMPRESSION / "videos" / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            source = Source.read("main", number)
            _encode(path, _film(source, class_name, frames, size, seed))

    Parallel(n_jobs=-1, prefer="threads")(delayed(write_source)(each) for each in range(sources))
    _write_lists(folder / "splits", sources // 2)
    return sources * len(_FOLDERS)


def _write_lists(folder: Path, pairs: int) -> None:
    folder.mkdir()
    start, share = 0, 0.0
    for name, part in _SHARES.items():
        share += part
        end = round(share * pairs)
        listed = [[f"{2 * pair:03}", f"{2 * pair + 1:03}"] for pair in range(start, end)]
        (folder / f"{name}.json").write_text(json.dumps(listed), encoding="utf-8")
        start = end


def _film(
    source: Source, class_name: ClassName, frames: int, size: int, seed: int
) -> list[Image.Image]:
    """The frames of a video; all videos of a person have the same movement and background."""
    # even, as half of the colours are stored
    width, side = 2 * (size * 2 // 3), size * 3 // 4
    portraits = [
        make_image(source, class_name, number, seed=seed, size=side)[0]
        for number in range(MOST_IMAGES)
    ]
    random = source.stream(seed, 5)
    background = _draw_background(random, width, size)
    phase, speed = random.uniform(0, 2 * pi), random.uniform(1.5, 3.0)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((2, -side // 8, side - 2, side + side // 8), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(side / 60))
    film = []
    for number in range(frames):
        turn = phase + speed * number / _FRAMES_PER_SECOND
        shift = 2 * number
        picture = background.crop((shift, 0, shift + width, size))
        place = (
            (width - side) // 2 + round(0.12 * width * sin(turn)),
            size - side + round(0.03 * size * (1 + cos(2 * turn))),
        )
        picture.paste(portraits[number * MOST_IMAGES // frames], place, mask)
        film.append(picture)
    return film


def _draw_background(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Soft patches of colour, wider than a frame, so that they can pass by."""
    patches = random.integers(60, 200, (3, 16, 3)).astype(np.uint8)
    return Image.fromarray(patches).resize((4 * width, height), Image.Resampling.BICUBIC)


def _encode(path: Path, film: list[Image.Image]) -> None:
    av = import_av()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=_FRAMES_PER_SECOND)
        stream.width, stream.height = film[0].size
        stream.pix_fmt = "yuv420p"
        # the same bytes whatever the cores: x264's fast code reads memory that it has not set
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": _COMPRESSION[1:], "preset": "veryfast", "x264-params": "cpu-independent=1",
        }  # fmt: skip
        for picture in film:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
