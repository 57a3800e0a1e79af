"""Compare an ONNX model with its detector on real images."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import ImageOps

from deepfake_detection.errors import UserError
from deepfake_detection.faces.detection import read_centerface
from deepfake_detection.images.files import files_below, is_system_file
from deepfake_detection.images.reading import read_picture
from deepfake_detection.models.detector import Detector, Float64s
from deepfake_detection.models.image_inputs import prepare_image
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export import prepare
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT
from deepfake_detection.pipelines.export.standalone import make_standalone

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agreement:
    """How far an ONNX model agrees with its detector."""

    pictures: int  # crops that were compared
    largest_difference: float  # of the two fake probabilities of one crop or face
    faces: int = 0  # found in photographs, and compared


def check_agreement(
    model: bytes, detector: Detector, folder: Path, export: ExportParameters
) -> Agreement:
    """Check that ONNX Runtime gives the detector's probabilities of images of a folder, on a CPU.

    Each image is compared as a crop of one face. For a detector that knows how its training crops
    were cut, the faces are compared too that `prepare.py` finds in the images, and in larger
    pictures with the images in their middle.

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
    difference = _check_difference(found, expected, paths, export.tolerance)
    in_photographs = _score_photographs(model, detector, paths)
    if in_photographs:
        names, theirs, ours = zip(*in_photographs, strict=True)
        faces = _check_difference(np.array(theirs), np.array(ours), names, export.tolerance)
        difference = max(difference, faces)
    return Agreement(len(images), difference, len(in_photographs))


def _check_difference(
    found: NDArray[np.floating[Any]],
    expected: Float64s,
    paths: Sequence[str],
    tolerance: float,
) -> float:
    """The largest difference of two fake probabilities; a UserError if it is too large."""
    difference = np.abs(found - expected)
    worst = int(difference.argmax())
    # written so that NaN does not pass
    if not difference.max() <= tolerance:
        raise UserError(
            f"the ONNX model does not agree with the detector: for {paths[worst]} it gives "
            f"{found[worst]:.6f} and the detector {expected[worst]:.6f}, a difference of "
            f"{difference[worst]:.2g} (export.tolerance is {tolerance:g}). Nothing was "
            "written. Another export.opset may help."
        )
    return float(difference.max())


def _score_photographs(
    model: bytes, detector: Detector, paths: Sequence[str]
) -> list[tuple[str, float, float]]:
    """Path, `prepare.py`'s and the detector's fake probability of each face that either finds."""
    if detector.crop_recipe is None or detector.crop_recipe.detector != "centerface":
        return []
    try:
        centerface, _ = read_centerface(), detector.face_finder
    except UserError as error:
        log.warning("The export is not checked on photographs: %s", error)
        return []
    compared = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "prepare.py").write_text(make_standalone(prepare), encoding="utf-8")
        (place / "detector.onnx").write_bytes(model)
        (place / "centerface.onnx").write_bytes(centerface)
        exported = run_path(str(place / "prepare.py"))["OnnxDetector"](place / "detector.onnx")
        for path in paths:
            image = read_picture(Path(path))
            enlarged = place / "enlarged.png"
            ImageOps.expand(image, max(image.size) // 2, "grey").save(enlarged)
            for photograph in (Path(path), enlarged):
                score = detector.score(photograph, device="cpu", errors="record")
                ours = [face.fake_probability for face in score.faces or (score,)]
                try:
                    theirs = [probability for probability, _ in exported.score(photograph)]
                except ValueError:
                    theirs = [math.nan]
                if score.error is None or not math.isnan(theirs[0]):
                    pairs = zip_longest(theirs, ours, fillvalue=math.nan)
                    compared += [(path, *pair) for pair in pairs]
    return compared


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
