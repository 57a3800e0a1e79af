"""Latency of the page's POST /score with several clients at a time.

python benchmarks/page_latency.py --help lists the options; docs/speed.md says what is measured.
It needs no data: photographs of one and of two faces are drawn.
"""

import http.client
import io
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from timing import ROOT

from deepfake_detection.datasets.forging import Source, make_image
from deepfake_detection.models.backbones import build_backbone
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.models.detector_file import write_detector

_SIZE = (1280, 960)
_HEADERS = {"X-Deepfake-Page": "1", "Content-Type": "image/jpeg"}


def draw_photograph(number: int) -> bytes:
    """A JPEG file of one or two drawn faces before a coarse background."""
    random = np.random.default_rng(number)
    patches = random.integers(60, 200, (12, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(patches).resize(_SIZE)
    for place in range(1 + number % 2):
        portrait = make_image(Source.read("main", number + place), "real", 0, seed=0, size=299)[0]
        picture.paste(portrait, (200 + 500 * place, 300))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_untrained_detector(path: Path, model: str, crop: int) -> None:
    """A detector file with random weights, for crops of so many pixels."""
    network, _ = build_backbone(model, {}, transform_input=False, crop=crop)
    preprocessing = {
        "resize": round(crop * 8 / 7), "crop": crop, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    card = DetectorCard(
        backbone=model, preprocessing=preprocessing, class_names=list(CLASS_NAMES),
        transform_input=False, classes={}, threshold=0.5, temperature=1.0, best_epoch=0,
        best_validation_accuracy=None, split={"method": "none", "fingerprint": "0" * 64},
        settings={}, run_fingerprint="0" * 64, versions={},
    )  # fmt: skip
    no_images = np.empty((0, 32), np.uint8)
    write_detector(Detector(network.eval(), card, no_images, no_images), path)


@contextmanager
def open_page(detector: Path, device: str) -> Iterator[int]:
    """The page as a process of its own, which finds faces; gives its port."""
    command = ["-m", "deepfake_detection.page", str(detector), "--port", "0", "--no-browser"]
    process = subprocess.Popen(  # noqa: S603  (the interpreter, with options of this script)
        [sys.executable, *command, "--margin", "1.3", "--device", device],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout or ():
            if line.startswith("Page:"):
                yield int(line.rpartition(":")[2])
                return
        raise RuntimeError("the page does not start")
    finally:
        process.kill()
        process.wait()


def score(port: int, photograph: bytes) -> tuple[float, int]:
    """Seconds from the first request to the answer, and how often a client was told to wait."""
    started, refused = time.perf_counter(), 0
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
            connection.request("POST", "/score", photograph, _HEADERS)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status == 200:
            return time.perf_counter() - started, refused
        if answer.status != 503:
            raise RuntimeError(f"{answer.status}: {content.decode()}")
        refused += 1
        time.sleep(float(answer.headers["Retry-After"]))


def measure(port: int, clients: int, photographs: list[bytes], requests: int) -> dict[str, float]:
    """Latency with so many clients, each of which sends a photograph after the other's answer."""
    files = [photographs[number % len(photographs)] for number in range(requests)]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda file: score(port, file), files))
    seconds = np.array([each for each, _ in answers])
    return {
        "clients": clients, "requests": requests,
        "p50_seconds": float(np.percentile(seconds, 50)),
        "p99_seconds": float(np.percentile(seconds, 99)),
        "photographs_per_second": requests / (time.perf_counter() - started),
        "told_to_wait": sum(refused for _, refused in answers),
    }  # fmt: skip


def main() -> None:
    """Measure, print the table, and write it."""
    parser = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=100, help="with each number of clients")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--crop", type=int, default=224, help="pixels")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--output", type=Path, default=ROOT / "data/08_reporting/benchmark")
    options = parser.parse_args()
    photographs = [draw_photograph(number) for number in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        detector = Path(folder) / "detector.safetensors"
        write_untrained_detector(detector, options.backbone, options.crop)
        with open_page(detector, options.device) as port:
            for photograph in photographs:
                score(port, photograph)
            rows = [measure(port, each, photographs, options.requests) for each in options.clients]
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "page_latency.csv", index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
