"""Whether an ONNX model says of pictures what its detector says."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import files_below, is_system_file
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT


@dataclass(frozen=True)
class Agreement:
    """How far an ONNX model agrees with its detector.

    Attributes:
        pictures: On how many pictures both were asked.
        largest_difference: Between the fake probabilities of one picture.
    """

    pictures: int
    largest_difference: float


def check_agreement(
    model: bytes, detector: Detector, folder: Path, export: ExportParameters
) -> Agreement:
    """Check that ONNX Runtime gives the detector's probabilities, on a CPU.

    Args:
        model: Content of the ONNX file.
        detector: It was made of.
        folder: Of pictures.
        export: How many are drawn, with which seed, and the largest difference allowed.

    Raises:
        UserError: If a probability differs by more, or the folder holds no picture.
    """
    order = draw_pictures(folder, export.seed)
    pictures = list(islice(_readable(order, detector), export.check_images))
    if not pictures:
        raise UserError(
            f"there is no picture in {folder} to check the export on: give a folder of them with "
            "--params images=FOLDER"
        )
    paths = [picture.path for picture in pictures if picture.path is not None]
    scores = detector.score(paths, device="cpu")
    expected = np.array([score.fake_probability for score in scores])
    found = run_onnx(model, np.stack([picture.pixels for picture in pictures]))  # type: ignore[misc]
    difference = np.abs(found - expected)
    worst = int(difference.argmax())
    # so that a difference that is no number does not pass
    if not difference.max() <= export.tolerance:
        raise UserError(
            f"the ONNX model does not agree with the detector: of {paths[worst]} it says "
            f"{found[worst]:.6f} and the detector {expected[worst]:.6f}, a difference of "
            f"{difference[worst]:.2g} (export.tolerance is {export.tolerance:g}). Nothing was "
            "written. Another export.opset may help."
        )
    return Agreement(len(pictures), float(difference.max()))


def draw_pictures(folder: Path, seed: int) -> list[Path]:
    """All files below a folder in a drawn order that takes its class folders in turn.

    Args:
        folder: Of pictures; those that lie in it directly count as a class of their own.
        seed: Of the draw.
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
    """Run an ONNX model on a CPU, once on the first picture alone and once on all others.

    Args:
        model: Content of the file.
        pictures: uint8, [n, crop, crop, 3].

    Returns:
        Fake probabilities, float32, [n].
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # errors only; what it warns of is its own optimisation
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # so that a model that takes batches of one size only does not pass
    batches = [batch for batch in (pictures[:1], pictures[1:]) if len(batch)]
    return np.concatenate([session.run([OUTPUT], {INPUT: batch})[0] for batch in batches])


def _readable(paths: list[Path], detector: Detector) -> Iterator[PreparedImage]:
    for path in paths:
        picture = prepare_image(path, detector.preprocessing)
        if picture.error is None:
            yield picture
