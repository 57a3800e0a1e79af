"""Score images from files or memory: a probability and a verdict for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import joblib
import numpy as np

from deepfake_detection.images.input_shift import describe_input_shift
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image
from deepfake_detection.models.memory import keeping_memory

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector, Forward
    from deepfake_detection.models.image_inputs import ImageInput

# A warning: such a score says nothing about new images
TRAINED_ON_IT = "the detector was trained on this very file"


@dataclass(frozen=True)
class Score:
    """The score of one image.

    Attributes:
        path: Of its file, as it was given; None for an image in memory.
        fake_probability: In [0, 1]; NaN if there is an error.
        verdict: `fake` if the probability is at least the threshold; None if there is an error.
        logit: Fake minus real, before the temperature; NaN if there is an error.
        width: Of the upright image in pixels, as `height`; None if there is an error.
        warning: Why the score is doubtful, such as an image unlike the training images.
        error: Why the image could not be read.
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
    forward: Forward,
    images: Iterable[ImageInput],
    flip: bool,
    batch_size: int,
    max_pixels: int | None,
) -> Iterator[Score]:
    """Score images in order, in constant memory; options as for `Detector.score`.

    While `forward`, the detector's network, computes a batch, the next one is decoded in as many
    threads as there are cores. `images` is consumed one batch ahead.
    """
    threads = joblib.cpu_count()
    prepared = prefetch(
        partial(prepare_image, preprocessing=detector.preprocessing, max_pixels=max_pixels),
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


def _score_batch(
    forward: Forward, pixels: list[np.ndarray[Any, np.dtype[np.uint8]]], *, flip: bool
) -> list[float]:
    if not pixels:
        return []
    batch = np.stack(pixels)
    logits = forward(batch)
    if flip:
        logits = (logits + forward(batch[:, :, ::-1])) / 2
    return [float(logit) for logit in logits]


def _make_score(detector: Detector, prepared: PreparedImage, logit: float) -> Score:
    card = detector.card
    if prepared.size is None:
        return Score(
            prepared.path, math.nan, None, card.threshold, math.nan, None, None, None,
            prepared.error,
        )  # fmt: skip
    width, height = prepared.size
    probability = float(detector.probabilities(np.array(logit)))
    warnings = describe_input_shift(
        width, height, card.split.get("image_sizes"), detector.preprocessing.crop
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
