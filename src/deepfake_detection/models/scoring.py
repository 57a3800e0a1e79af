"""Scoring anyone's pictures: from files and pictures in memory to a verdict on each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import joblib
import numpy as np

from deepfake_detection.errors import UserError
from deepfake_detection.images.input_shift import describe_input_shift
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.models.memory import keeping_memory
from deepfake_detection.models.preparing import Prepared, prepare

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector
    from deepfake_detection.models.image_inputs import ImageInput

# What makes the score of a picture worthless as a test
TRAINED_ON_IT = "the detector was trained on this very file"


@dataclass(frozen=True)
class Score:
    """What a detector says of one picture.

    Attributes:
        path: Of its file, as it was given; None for a picture from memory.
        fake_probability: In [0, 1]; not a number where `error` says why.
        verdict: `fake` from the threshold on, else `real`; None where there is an error.
        threshold: Of the detector that scored it.
        logit: Of fake minus real, without temperature: what the probability comes from.
        width: Of the upright picture in pixels, as `height`; None where there is an error.
        height: See `width`.
        warning: What makes the score doubtful, such as a picture unlike those that the detector was
            trained on; None for nothing.
        error: Why the picture could not be read; None if it was.
    """

    path: str | None
    fake_probability: float
    verdict: Literal["real", "fake"] | None
    threshold: float
    logit: float
    width: int | None
    height: int | None
    warning: str | None
    error: str | None


def score_images(
    detector: Detector,
    images: Iterable[ImageInput],
    *,
    flip: bool,
    batch_size: int,
    device: str,
    precision: str,
    max_pixels: int | None,
) -> Iterator[Score]:
    """Score pictures one after the other, in flat memory for any number of them.

    While the network computes, the next batch is decoded in as many threads as there are cores.

    Args:
        detector: That scores.
        images: Taken only when their turn comes.
        flip: Average the logits of each picture and its mirror image.
        batch_size: Pictures scored at once.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        max_pixels: Width × height above which a file is not opened; None: Pillow's own limit.

    Yields:
        A score for each picture, in order. One that cannot be read has its `error`.
    """
    from deepfake_detection.models.detector import Forward

    forward = Forward(detector, device, precision)
    threads = joblib.cpu_count()
    prepared = prefetch(
        partial(prepare, preprocessing=detector.preprocessing, max_pixels=max_pixels),
        images,
        threads=threads,
        window=max(batch_size, threads),
    )
    with keeping_memory(forward.device):
        for batch in batched(prepared, batch_size):
            pixels = [each.pixels for each in batch if each.pixels is not None]
            logits = iter(_score_batch(forward, pixels, flip=flip))
            for each in batch:
                logit = next(logits) if each.error is None else math.nan
                yield _make_score(detector, each, logit)


def raise_error(score: Score) -> Score:
    """The score, if there is one.

    Raises:
        UserError: If the picture could not be read, naming it.
    """
    if score.error is not None:
        raise UserError(f"{score.path or 'a picture from memory'}: {score.error}")
    return score


def _score_batch(
    forward: Any, pixels: list[np.ndarray[Any, np.dtype[np.uint8]]], *, flip: bool
) -> list[float]:
    if not pixels:
        return []
    batch = np.stack(pixels)
    logits = forward(batch)
    if flip:
        logits = (logits + forward(batch[:, :, ::-1])) / 2
    return [float(logit) for logit in logits]


def _make_score(detector: Detector, prepared: Prepared, logit: float) -> Score:
    card = detector.card
    if prepared.size is None:
        return Score(
            prepared.path, math.nan, None, card.threshold, math.nan, None, None, None,
            prepared.error,
        )  # fmt: skip
    width, height = prepared.size
    probability = float(detector.probabilities(np.array(logit)))
    warnings = describe_input_shift(
        width, height, card.split.get("looks"), detector.preprocessing.crop
    )
    if prepared.sha256 in detector.hashes_trained_on:
        warnings.append(TRAINED_ON_IT)
    return Score(
        path=prepared.path,
        fake_probability=probability,
        verdict="fake" if probability >= card.threshold else "real",
        threshold=card.threshold,
        logit=logit,
        width=width,
        height=height,
        warning="; ".join(warnings) or None,
        error=None,
    )
