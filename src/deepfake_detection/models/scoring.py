"""Score images from files or memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
import numpy as np

from deepfake_detection.images.input_shift import describe_input_shift
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.models.devices import keeping_memory
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image
from deepfake_detection.models.verdicts import Doubt, Verdict, rank

if TYPE_CHECKING:
    from deepfake_detection.faces.finding import FaceFinder
    from deepfake_detection.models.detector import Detector
    from deepfake_detection.models.forward import Forward
    from deepfake_detection.models.image_inputs import ImageInput

# A warning: such a score says nothing about new images
TRAINED_ON_IT = "the detector was trained on this very file"
NO_NUMBER = "the detector's network gives no finite number for this image"


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class UnscoredFace:
    """A face that was found and not scored.

    Attributes:
        box: As that of `FaceScore`, and so is `pixels`.
        reason: Such as `too small: 20 pixels across are less than min_size (32)`.
    """

    box: Box
    pixels: float
    reason: str


@dataclass(frozen=True)
class FaceScore:
    """The score of one face of a picture.

    Attributes:
        box: Left, top, right and bottom, pixels of the upright picture; a part may lie outside.
        pixels: Across the face in the picture, before its crop was resized.
        fake_probability: In [0, 1].
        logit: Fake minus real, before the temperature.
        warning: Why the score is doubtful.
        doubt: Why the verdict is `unsure`; None if it is not.
        unlikeness: In [0, 1]: share of the validation images that are more like the training
            images; None if the detector has no measure of it.
    """

    box: Box
    pixels: float
    fake_probability: float
    verdict: Verdict
    logit: float
    warning: str | None = None
    doubt: Doubt | None = None
    unlikeness: float | None = None


@dataclass(frozen=True)
class Score:
    """The score of one image; of an image whose faces were found, that of one face.

    That face is a fake one, else an unsure one, else a real one; of several the most fake.

    Attributes:
        path: Of its file, as it was given; None for an image in memory.
        fake_probability: In [0, 1]; NaN if there is an error.
        verdict: `fake` if the probability is at least the threshold, `unsure` if there is a doubt;
            None if there is an error.
        logit: Fake minus real, before the temperature; NaN if there is an error.
        width: Of the upright image in pixels, as `height`; None if there is an error.
        warning: Why the score is doubtful, such as an image unlike the training images.
        error: Why the image could not be read or has no verdict, such as `no face`.
        faces: Each face that was scored, the largest first; empty: the image was scored whole.
        unscored: Each face that was found and not scored, the largest first.
        doubt: As that of `FaceScore`, and so is `unlikeness`.
    """

    path: str | None
    fake_probability: float
    verdict: Verdict | None
    threshold: float
    logit: float
    width: int | None
    height: int | None
    warning: str | None
    error: str | None
    faces: tuple[FaceScore, ...] = ()
    unscored: tuple[UnscoredFace, ...] = ()
    doubt: Doubt | None = None
    unlikeness: float | None = None


def score_images(
    detector: Detector,
    forward: Forward,
    images: Iterable[ImageInput],
    batch_size: int,
    max_pixels: int | None,
    find_faces: FaceFinder | None,
    *,
    look: bool,
) -> Iterator[Score]:
    """Score images in order, in constant memory; options as for `Detector.score`.

    `find_faces` and `look` are as for `prepare_image`.

    While `forward`, the detector's network, computes a batch, the next one is decoded in as many
    threads as there are cores. `images` is consumed one batch ahead.
    """
    threads = joblib.cpu_count()
    prepared = prefetch(
        partial(
            prepare_image,
            preprocessing=detector.preprocessing,
            max_pixels=max_pixels,
            find_faces=find_faces,
            look=look,
        ),
        images,
        threads=threads,
        window=max(batch_size, threads),
    )
    with keeping_memory(forward.device):
        for batch in batched(prepared, batch_size):
            yield from score_prepared(detector, forward, batch, batch_size)


def score_prepared(
    detector: Detector,
    forward: Forward,
    images: Sequence[PreparedImage],
    batch_size: int,
) -> Iterator[Score]:
    """The scores of images that were prepared already, in order."""
    pixels = [each for image in images for each in image.pixels]
    outputs = score_pixels(forward, pixels, batch_size)
    for each in images:
        yield _make_score(detector, each, list(islice(outputs, len(each.pixels))))


class Output(NamedTuple):
    """What a network says of one crop: fake minus real; NaN if there is no training distance."""

    logit: float
    distance: float


def score_pixels(
    forward: Forward,
    pixels: list[np.ndarray[Any, np.dtype[np.uint8]]],
    batch_size: int,
) -> Iterator[Output]:
    """Outputs for pixels, uint8 [crop, crop, 3] each: a picture may have many."""
    for part in batched(pixels, batch_size):
        outputs = np.stack(forward(np.stack(part)))
        yield from (Output(*each) for each in outputs.T.tolist())


class Judgement(NamedTuple):
    """What follows from an output; its fields are as those of `FaceScore`."""

    fake_probability: float
    verdict: Verdict
    doubt: Doubt | None
    unlikeness: float | None


def judge(detector: Detector, logit: float, distance: float) -> Judgement:
    """Judge a finite logit and a training distance (NaN: unknown)."""
    probability, of_it = detector.probabilities(np.array([logit])), np.array([distance])
    verdict, doubt = detector.verdict_rule.judge(probability, of_it)
    unlikeness = float(detector.unlikeness(of_it)[0])
    known = None if math.isnan(unlikeness) else unlikeness
    return Judgement(float(probability[0]), verdict[0], doubt[0], known)


def score_face(
    detector: Detector, box: Box, pixels: float, output: Output, warning: str | None = None
) -> FaceScore:
    """The score of a face, of a finite output; box and pixels are as those of `FaceScore`."""
    judged = judge(detector, *output)
    return FaceScore(
        box, pixels, judged.fake_probability, judged.verdict, output.logit, warning,
        judged.doubt, judged.unlikeness,
    )  # fmt: skip


def score_faces(
    detector: Detector, prepared: PreparedImage, outputs: Iterable[Output]
) -> tuple[FaceScore, ...]:
    """The scores of the faces that were found, of their finite outputs."""
    return tuple(
        score_face(
            detector, tuple(face.box.tolist()), face.width, output,
            TRAINED_ON_IT if crop in detector.hashes_trained_on else None,
        )
        for face, crop, output in zip(prepared.faces, prepared.crops, outputs, strict=True)
    )  # fmt: skip


def _make_score(detector: Detector, prepared: PreparedImage, outputs: list[Output]) -> Score:
    card = detector.card
    width, height = prepared.size or (None, None)
    unscored = tuple(
        UnscoredFace(tuple(each.face.box.tolist()), each.face.width, each.reason)
        for each in prepared.rejected
    )
    error = prepared.error
    if error is None and not all(math.isfinite(output.logit) for output in outputs):
        error = NO_NUMBER
    if error is not None:
        nan = math.nan
        return Score(
            prepared.path, nan, None, card.threshold, nan, width, height, None, error,
            unscored=unscored,
        )  # fmt: skip
    faces = score_faces(detector, prepared, outputs) if prepared.faces else ()
    logit = outputs[0].logit
    judged = judge(detector, *outputs[0])
    if faces:
        decisive = max(faces, key=lambda face: rank(face.verdict, face.logit))
        logit = decisive.logit
        judged = Judgement(
            decisive.fake_probability, decisive.verdict, decisive.doubt, decisive.unlikeness
        )
    warnings = [] if faces else _describe_shift(detector, prepared)
    known = prepared.sha256 in detector.hashes_trained_on
    if known or any(face.warning for face in faces):
        warnings.append(TRAINED_ON_IT)
    return Score(
        path=prepared.path,
        fake_probability=judged.fake_probability,
        verdict=judged.verdict,
        threshold=card.threshold,
        logit=logit,
        width=width,
        height=height,
        warning="; ".join(warnings) or None,
        error=None,
        faces=faces,
        unscored=unscored,
        doubt=judged.doubt,
        unlikeness=judged.unlikeness,
    )


def _describe_shift(detector: Detector, prepared: PreparedImage) -> list[str]:
    width, height = prepared.size or (0, 0)
    sizes = detector.card.split.get("image_sizes")
    return describe_input_shift(width, height, sizes, detector.preprocessing.crop)
