"""Compare an ONNX model with its detector on real images."""

from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import files_below, is_system_file
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.image_inputs import prepare_image
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT


@dataclass(frozen=True)
class Agreement:
    """How far an ONNX model agrees with its detector."""

    pictures: int  # that were compared
    largest_difference: float  # of the two fake probabilities of one image


def check_agreement(
    model: bytes, detector: Detector, folder: Path, export: ExportParameters
) -> Agreement:
    """Check that ONNX Runtime gives the detector's probabilities of images of a folder, on a CPU.

    Raises:
        UserError: If a probability differs by more, or the folder has no image.
    """
    order = draw_pictures(folder, export.seed)
    prepared = (prepare_image(path, detector.preprocessing) for path in order)
    readable = (image for image in prepared if image.error is None)
    images = list(islice(readable, export.check_images))
    if not images:
        raise UserError(
            f"there is no picture in {folder} to check the export on: give a folder of them with "
            "--params images=FOLDER"
        )
    paths = [image.path for image in images if image.path is not None]
    scores = detector.score(paths, device="cpu", faces="given")
    expected = np.array([score.fake_probability for score in scores])
    found = run_onnx(model, np.stack([image.pixels[0] for image in images]))
    difference = np.abs(found - expected)
    worst = int(difference.argmax())
    # written so that NaN does not pass
    if not difference.max() <= export.tolerance:
        raise UserError(
            f"the ONNX model does not agree with the detector: for {paths[worst]} it gives "
            f"{found[worst]:.6f} and the detector {expected[worst]:.6f}, a difference of "
            f"{difference[worst]:.2g} (export.tolerance is {export.tolerance:g}). Nothing was "
            "written. Another export.opset may help."
        )
    return Agreement(len(images), float(difference.max()))


def draw_pictures(folder: Path, seed: int) -> list[Path]:
    """Shuffle all files below a folder, alternating between its class folders.

    Files directly in it count as a class of their own.
    """
    by_class: dict[str, list[Path]] = {}
    for path in files_below(folder):
        inside = path.relative_to(folder)
        if not is_system_file(inside):
            by_class.setdefault(inside.parts[0] if len(inside.parts) > 1 else "", []).append(path)
    generator = np.random.default_rng(seed)
    drawn = []
    for name in natsorted(by_class):
        files = natsorted(by_class[name], key=str)
        drawn.append([files[at] for at in generator.permutation(len(files))])
    return [path for path in chain.from_iterable(zip_longest(*drawn)) if path is not None]


def run_onnx(
    model: bytes, pictures: np.ndarray[Any, np.dtype[np.uint8]]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Fake probabilities, float32 [n], of pictures, uint8 [n, crop, crop, 3], on a CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # errors only; its warnings are about its own optimisation
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # two batch sizes, so that a model with a fixed batch size fails
    batches = [batch for batch in (pictures[:1], pictures[1:]) if len(batch)]
    return np.concatenate([session.run([OUTPUT], {INPUT: batch})[0] for batch in batches])
