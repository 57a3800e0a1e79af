"""Speed of face extraction: chosen frames, face detection, and both with crops.

python benchmarks/face_extraction_speed.py --help lists the options; docs/speed.md says what is
measured. It needs no data: the videos are drawn.
"""

import shutil
import tempfile
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import av
import joblib
import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from PIL import Image
from timing import ROOT

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.faces import video
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.extraction import extract_faces_of_file
from deepfake_detection.faces.face_set import FaceSet
from deepfake_detection.parameters import FaceExtractionParameters

_SIZE = (1280, 720)
_FACE = 420  # side of the portrait, pixels


def draw_video(path: Path, frames: int, key_frames_every: int) -> None:
    """A face that moves over a background with noise, which takes bits as a camera's does."""
    random = np.random.default_rng(0)
    portrait = make_image(Source.read("main", 0), "real", 0, seed=0, size=299)[0]
    portrait = portrait.resize((_FACE, _FACE))
    patches = random.integers(60, 200, (9, 48, 3)).astype(np.uint8)
    background = Image.fromarray(patches).resize((3 * _SIZE[0], _SIZE[1]))
    noise = [
        Image.fromarray(random.integers(0, 24, (_SIZE[1], _SIZE[0], 3)).astype(np.uint8))
        for _ in range(4)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "crf": "23", "preset": "veryfast", "g": str(key_frames_every),
            "x264-params": "scenecut=0",
        }  # fmt: skip
        for number in range(frames):
            shift = 2 * number % (2 * _SIZE[0])
            picture = background.crop((shift, 0, shift + _SIZE[0], _SIZE[1]))
            picture.paste(portrait, (430 + round(90 * np.sin(number / 30)), 200))
            picture = Image.blend(picture, noise[number % 4], 0.08)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def decode_whole(path: Path, wanted: list[int]) -> list[Image.Image]:
    """Decode every frame; make pictures of those that are wanted."""
    chosen = set(wanted)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [
            frame.to_image()
            for number, frame in enumerate(container.decode(video=0))
            if number in chosen
        ]


def measure(path: Path, settings: FaceExtractionParameters, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, in turns, each on one thread."""
    detector = make_face_detector(settings)
    timeline = video.read_timeline(path, settings.max_pixels)
    wanted = video.choose_evenly(timeline, settings.frames_per_video)
    pictures = decode_whole(path, wanted)

    def choose() -> None:
        times = video.read_timeline(path, settings.max_pixels)
        list(video.read_frames(path, times, wanted, settings.max_pixels))

    def extract() -> None:
        extract_faces_of_file(path, path.with_suffix(""), settings, detector)

    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: decode_whole(path, wanted),
        "chosen": choose,
        "detection": lambda: [detector(picture) for picture in pictures],
        "extraction": extract,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            started = perf_counter()
            run()
            seconds[name].append(perf_counter() - started)
    return seconds


def describe(key_frames_every: int, seconds: dict[str, list[float]]) -> dict[str, float]:
    """A row of the table: median seconds, and medians of the ratios of each turn."""
    turns = pd.DataFrame(seconds)
    parts = turns["chosen"] + turns["detection"]
    return {
        "key_frames_every": key_frames_every,
        **{f"{name}_seconds": median(values) for name, values in seconds.items()},
        "chosen_to_whole": (turns["chosen"] / turns["whole"]).median(),
        "extraction_to_parts": (turns["extraction"] / parts).median(),
    }


def measure_all_cores(
    folder: Path, path: Path, settings: FaceExtractionParameters, copies: int
) -> float:
    """Faces per hour over several videos, in as many processes as there are cores."""
    videos = folder / "videos"
    videos.mkdir()
    names = [f"{number}.mp4" for number in range(copies)]
    for name in names:
        shutil.copy(path, videos / name)
    face_set = FaceSet.open(folder / "faces", settings)
    started = perf_counter()
    faces = sum(len(record["faces"]) for _, record in face_set.extract(videos, names))
    return faces / (perf_counter() - started) * 3600


def main() -> None:
    """Measure, print and save the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="of each video")
    parser.add_argument("--key-frames", nargs="+", type=int, default=[12, 250], help="distances")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--videos", type=int, default=12, help="for the faces per hour")
    parser.add_argument("--output", type=Path, default=ROOT / "data/08_reporting/benchmark")
    given = parser.parse_args()
    block = OmegaConf.load(ROOT / "conf/base/parameters_face_extraction.yml").face_extraction
    settings = FaceExtractionParameters.model_validate(OmegaConf.to_container(block))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for every in given.key_frames:
            path = folder / f"every_{every}.mp4"
            draw_video(path, given.frames, every)
            rows.append(describe(every, measure(path, settings, given.repeats)))
        faces = measure_all_cores(folder, path, settings, given.videos)
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    print(f"{faces:,.0f} faces an hour on {joblib.cpu_count()} cores")
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / "face_extraction_speed.csv"
    table.assign(faces_per_hour=faces).to_csv(file, index=False)
    print(file)


if __name__ == "__main__":
    main()
