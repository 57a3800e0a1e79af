"""Detectors of other programs, judged as the project's own.

They are ONNX files, functions, or tables of scores. What they were trained on is unknown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import joblib
import numpy as np
import torch
from PIL import Image
from scipy.special import logit
from torch import nn
from tqdm import tqdm

from deepfake_detection.errors import UserError, first_line, in_line
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.images.pixel_cache import ImageFiles, PixelArray
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.images.reading import open_indexed_picture
from deepfake_detection.models.detector import CLASS_NAMES, Detector, Float64s
from deepfake_detection.models.detector_card import UNKNOWN_METHOD, DetectorCard
from deepfake_detection.models.run_identity import fingerprint_of
from deepfake_detection.parameters import PreprocessingParameters

Gives = Literal["logit", "probability", "score"]
Takes = Literal["paths", "images", "names"]
Picture = np.ndarray[Any, np.dtype[np.uint8]]

# Logits of probabilities 0 and 1, which would be infinite
_SUREST = 40.0
# Pictures that are given to a function whole have no size of their own
_WHOLE = {"resize": 1, "crop": 1, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def make_card(
    kind: str,
    location: str,
    sha256: str,
    gives: Gives,
    preprocessing: PreprocessingParameters | None = None,
    **described: Any,
) -> DetectorCard:
    """The card of a detector of another program: threshold 0.5, and unknown training images.

    Args:
        kind: One of `OTHER_PROGRAMS`.
        location: Where it is, as `load_detector` takes it.
        sha256: Of its file.
        gives: What its numbers are: logits or probabilities of fake, or scores without a known
            scale, higher for fakes.
        preprocessing: Of the pictures that it gets; None: they are given whole.
        described: What else determines its scores, as JSON.
    """
    name = Path(location).name
    program = {"kind": kind, "location": location, "sha256": sha256, "gives": gives} | described
    sizes = preprocessing.model_dump(mode="json") if preprocessing else _WHOLE
    identity = {"sha256": sha256, "gives": gives, "preprocessing": sizes} | described
    return DetectorCard(
        backbone=kind,
        transform_input=False,
        preprocessing=sizes,
        class_names=list(CLASS_NAMES),
        classes={"real": "real", "fake": "fake"},
        threshold=0.5,
        temperature=1.0,
        best_epoch=0,
        best_validation_accuracy=None,
        split={
            "method": UNKNOWN_METHOD,
            "fingerprint": "",
            "note": (
                f"The scores are those of another program ({in_line(name)[:100]}). Its training "
                "images are unknown, so any image that is scored may be one of them."
            ),
        },
        settings={
            "model": kind,
            "preprocessing": sizes,
            "other_program": program,
            "import_checkpoint": {"source": in_line(name)[:200], "weights": sha256},
        },
        run_fingerprint=fingerprint_of(identity),
        identity=identity,
        versions={},
        calibration={"epoch": False},
    )


def to_logits(values: Float64s, card: DetectorCard) -> Float64s:
    """Numbers of another program as logits (fake minus real); scores without a scale as they are.

    After `give_scale`, a score has one too.
    """
    program = card.other_program or {}
    if program.get("gives") == "probability":
        values = np.clip(logit(np.clip(values, 0, 1)), -_SUREST, _SUREST)
    slope, intercept = program.get("scale", (1.0, 0.0))
    return np.asarray(slope * values + intercept, dtype=np.float64)


def give_scale(detector: Detector, slope: float, intercept: float) -> Detector:
    """The same detector, whose scores become logits: slope × score + intercept (Platt 1999)."""
    program = {**(detector.card.other_program or {})}
    program |= {"gives": "logit", "scale": [slope, intercept]}
    settings = detector.card.settings | {"other_program": program}
    return detector.with_card(replace(detector.card, settings=settings))


@dataclass(frozen=True)
class FunctionDetector(Detector):
    """A function of image files or pictures to scores, with the interface of a detector.

    Attributes:
        function: Of a list of so many paths, names or RGB pictures to as many numbers.
        takes: `paths`, absolute; `names`: image folders with the paths in them; or `images`.
    """

    function: Callable[[list[Any]], Any] = field(kw_only=True)
    takes: Takes = field(kw_only=True)

    @classmethod
    def of(
        cls, card: DetectorCard, function: Callable[[list[Any]], Any], takes: Takes
    ) -> FunctionDetector:
        """A detector of this function."""
        nothing = pack_hashes([])
        return cls(nn.Identity(), card, nothing, nothing, function=function, takes=takes)

    @property
    def reads_files(self) -> bool:
        """It needs files, or whole pictures, in place of pixels at a network's size."""
        return True

    def prepare(self, image: Image.Image) -> Picture:
        """The whole picture: uint8, [height, width, 3]."""
        return np.asarray(image)

    def score_each(self, images: Iterable[Any], **options: Any) -> NoReturn:  # noqa: ARG002
        """Raise a `UserError`: single pictures are scored by the other program itself."""
        raise UserError(
            f"{self._name} can be judged on labelled images (docs/compare.md); to score "
            "photographs and videos, use the program itself"
        )

    def describe_pixels(
        self,
        pixels: PixelArray | Sequence[Picture],
        rows: Iterable[int] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",  # noqa: ARG002  (the function chooses its own)
    ) -> tuple[Float64s, Float64s]:
        """Logits (or scores without a scale) of files or whole pictures; unknown distances.

        A UserError says that the function failed, or gave other than a number for each.
        """
        if isinstance(pixels, np.ndarray):
            raise TypeError("another program needs files or whole pictures, not an array of crops")
        chosen = list(range(len(pixels)) if rows is None else rows)
        parts = list(batched(chosen, batch_size))
        bar = tqdm(parts, desc="Scoring", unit="batch", leave=False, disable=None)
        found = [self._score(pixels, part) for part in bar]
        logits = np.concatenate([np.empty(0), *found])
        return logits, np.full(len(logits), np.nan)

    def _score(self, pixels: PixelArray | Sequence[Picture], rows: Sequence[int]) -> Float64s:
        if isinstance(pixels, ImageFiles):
            names = [pixels.paths[row] for row in rows]
            if self.takes == "images":
                files = [(pixels.folder / pixels.paths[row], pixels.sha256s[row]) for row in rows]
                read = prefetch(lambda file: open_indexed_picture(*file), files, threads=_cores())
                return self._call(list(read), names)
            if self.takes == "names":
                return self._call([(pixels.folder, name) for name in names], names)
            return self._call([str(pixels.folder / name) for name in names], names)
        pictures = [Image.fromarray(np.asarray(pixels[row])) for row in rows]
        names = [f"picture {row}" for row in rows]
        if self.takes == "images":
            return self._call(pictures, names)
        if self.takes == "names":
            raise UserError(
                f"{self._name} holds scores of the pictures as they are: distorted ones have none"
            )
        with tempfile.TemporaryDirectory() as temporary:
            paths = [str(Path(temporary) / f"{at}.png") for at in range(len(pictures))]
            for path, picture in zip(paths, pictures, strict=True):
                picture.save(path, compress_level=1)
            return self._call(paths, names)

    def _call(self, given: list[Any], names: Sequence[str]) -> Float64s:
        try:
            answer = self.function(given)
        except UserError:
            raise
        # another program may raise anything
        except Exception as error:
            raise UserError(
                f"{self._name} failed on {len(given)} pictures, the first being {names[0]}: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        return to_logits(check_scores(answer, names, self._name, self.card), self.card)

    @property
    def _name(self) -> str:
        return str((self.card.other_program or {}).get("location", "the function"))


def _cores() -> int:
    return int(joblib.cpu_count())


def check_scores(answer: Any, names: Sequence[str], name: str, card: DetectorCard) -> Float64s:
    """The numbers of an answer, float64, [names].

    Raises:
        UserError: If there are more or fewer, one is not finite, or a probability is not in [0, 1].
    """
    try:
        values = np.asarray(answer, dtype=np.float64).reshape(-1)
    # RuntimeError: of a tensor that still has gradients
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} did not return numbers: {first_line(error)}") from None
    if len(values) != len(names):
        raise UserError(f"{name} gave {len(values)} scores for {len(names)} pictures")
    wrong, expected = ~np.isfinite(values), "a finite number"
    if (card.other_program or {}).get("gives") == "probability":
        wrong, expected = wrong | (values < 0) | (values > 1), "a probability in [0, 1]"
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UserError(f"{name} gave {values[first]:g} for {names[first]}: not {expected}")
    return cast(Float64s, values)
