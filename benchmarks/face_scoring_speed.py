"""Speed of scoring the faces of photographs, and the latency of a photograph and of a clip.

python benchmarks/face_scoring_speed.py --help lists the options; docs/speed.md says what is
measured. It needs no data: photographs and the clip are drawn.
"""

import tempfile
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
import pandas as pd
import timing
import torch
from face_extraction_speed import draw_video
from omegaconf import OmegaConf
from PIL import Image
from scoring_speed import build_detector
from timing import ROOT

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.forward import Forward
from deepfake_detection.models.image_inputs import prepare_image
from deepfake_detection.parameters import FaceExtractionParameters

_SIZE = (1920, 1080)
_FACE = 620  # side of the portrait, pixels


def draw_photograph(path: Path, number: int) -> None:
    """A portrait in front of patches of colour and noise, which takes bits as a camera's does."""
    random = np.random.default_rng(number)
    patches = random.integers(60, 200, (9, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(patches).resize(_SIZE, Image.Resampling.BICUBIC)
    portrait = make_image(Source.read("main", number % 60), "real", 0, seed=0, size=299)[0]
    left, top = (int(random.integers(0, side - _FACE)) for side in _SIZE)
    picture.paste(portrait.resize((_FACE, _FACE)), (left, top))
    noise = random.integers(0, 24, (_SIZE[1], _SIZE[0], 3)).astype(np.uint8)
    Image.blend(picture, Image.fromarray(noise), 0.08).save(path, quality=90)


def make_detector(options: Namespace, settings: FaceExtractionParameters) -> Detector:
    """A detector with random weights that finds faces as the parameters say."""
    asked = timing.option_parser("").parse_args(
        ["--backbones", options.backbone, "--precisions", "fp32", "--device", "cpu"]
    )
    asked.resize, asked.crop = options.resize, options.crop
    (setup,) = timing.list_setups(asked)
    faces = make_face_detector(settings)
    recipe = CropRecipe.of(settings, settings.crop, faces.weights_sha256)
    return build_detector(setup, crop_recipe=recipe.model_dump())


def compare(
    paths: Sequence[Path],
    detector: Detector,
    settings: FaceExtractionParameters,
    batch_size: int,
    repeats: int,
) -> pd.DataFrame:
    """Seconds of a turn each: scoring files; face detection alone; the forward pass alone.

    Face detection is given decoded pictures, and searches as many at once as there are cores. The
    forward pass is given the pixels of the faces.
    """
    face_detector, forward = make_face_detector(settings), Forward(detector, "cpu", "fp32")
    pictures = [Image.open(path).convert("RGB") for path in paths]
    prepared = [
        prepare_image(path, detector.preprocessing, find_faces=detector.face_finder, look=False)
        for path in paths
    ]
    if lost := [each.path for each in prepared if len(each.pixels) != 1]:
        raise SystemExit(f"in {lost[0]} not one face was found, but another number")
    pixels = np.stack([each.pixels[0] for each in prepared])

    def detect() -> None:
        with ThreadPoolExecutor(joblib.cpu_count()) as pool:
            list(pool.map(face_detector, pictures))

    def compute() -> None:
        for at in range(0, len(pixels), batch_size):
            forward(pixels[at : at + batch_size])

    def score() -> None:
        list(detector.score_each(paths, batch_size=batch_size, device="cpu", faces="find"))

    ways: dict[str, Callable[[], None]] = {
        "scoring": score, "detection": detect, "forward": compute,
    }  # fmt: skip
    return pd.DataFrame([{name: _time(run) for name, run in ways.items()} for _ in range(repeats)])


def measure_latency(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Seconds of a call: median, 99th percentile and least; one call before is not counted."""
    run()
    seconds = [_time(run) for _ in range(repeats)]
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"repeats": repeats, "p50": p50, "p99": p99, "min": min(seconds)}


def _time(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def main() -> None:
    """Measure, print and save both tables."""
    parser = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--backbone", default="resnet18", help="with random weights")
    add("--resize", type=int, help="pixels; None: the backbone's own")
    add("--crop", type=int, help="pixels; None: the backbone's own")
    add("--photographs", type=int, default=32, help="of 1920×1080 pixels")
    add("--batch-size", type=int, default=16)
    add("--repeats", type=int, default=5, help="turns, of which the median counts")
    add("--calls", type=int, default=100, help="for the latency of a photograph")
    add("--clips", type=int, default=10, help="calls for the latency of the clip")
    add("--frames", type=int, default=250, help="of the clip, 25 a second")
    add("--output", type=Path, default=ROOT / "data/08_reporting/benchmark")
    given = parser.parse_args()
    block = OmegaConf.load(ROOT / "conf/base/parameters_face_extraction.yml").face_extraction
    settings = FaceExtractionParameters.model_validate(OmegaConf.to_container(block))
    detector = make_detector(given, settings)
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary, f"{number}.jpg") for number in range(given.photographs)]
        for number, path in enumerate(paths):
            draw_photograph(path, number)
        clip = Path(temporary, "clip.mp4")
        draw_video(clip, given.frames, 250)
        seconds = compare(paths, detector, settings, given.batch_size, given.repeats)
        latencies = {
            "photograph": measure_latency(
                lambda: detector.score(paths[0], device="cpu"), given.calls
            ),
            "clip": measure_latency(lambda: detector.score_video(clip, device="cpu"), given.clips),
        }
    turns = seconds.assign(parts_to_scoring=(seconds.detection + seconds.forward) / seconds.scoring)
    latency = pd.DataFrame(latencies).T.rename_axis("of").reset_index()
    print(f"{given.photographs} photographs, {joblib.cpu_count()} cores, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(turns.describe(percentiles=[0.5]).loc[["50%", "min", "max"]].round(3).to_string())
    print(latency.round(3).to_string(index=False))
    given.output.mkdir(parents=True, exist_ok=True)
    for name, table in (("face_scoring_speed", turns), ("latency", latency)):
        table.to_csv(given.output / f"{name}.csv", index=False)
        print(given.output / f"{name}.csv")


if __name__ == "__main__":
    main()
