"""Score images from files or memory, and keep scores on disk, so that a run can resume."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import joblib
import numpy as np

from deepfake_detection.images.input_shift import describe_input_shift
from deepfake_detection.images.prefetch import batched, prefetch
from deepfake_detection.models.devices import keeping_memory
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector, Forward
    from deepfake_detection.models.image_inputs import ImageInput

log = logging.getLogger(__name__)

# A warning: such a score says nothing about new images
TRAINED_ON_IT = "the detector was trained on this very file"
# Part of the name of a checkpoint: raised when older scores can no longer be read. 2: checksums.
_FORMAT = 2


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
        error: Why the image could not be read or has no verdict.
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
    card, path = detector.card, prepared.path
    if prepared.size is None:
        error, nan = prepared.error, math.nan
        return Score(path, nan, None, card.threshold, nan, None, None, None, error)
    width, height = prepared.size
    if not math.isfinite(logit):
        error = "the detector's network gives no finite number for this image"
        return Score(path, math.nan, None, card.threshold, math.nan, width, height, None, error)
    probability = float(detector.probabilities(np.array(logit)))
    warnings = describe_input_shift(
        width, height, card.split.get("image_sizes"), detector.preprocessing.crop
    )
    if prepared.sha256 in detector.hashes_trained_on:
        warnings.append(TRAINED_ON_IT)
    return Score(
        path=path,
        fake_probability=probability,
        verdict="fake" if probability >= card.threshold else "real",
        threshold=card.threshold,
        logit=logit,
        width=width,
        height=height,
        warning="; ".join(warnings) or None,
        error=None,
    )


@dataclass
class ScoringCheckpoint:
    """The scores of one scoring run: a file of lines, a checksum and JSON for each image.

    `scores` are those in the file, by path and stamp of the image.
    """

    path: Path
    scores: dict[tuple[str, str], Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            return
        for line in self.path.read_bytes().split(b"\n"):
            checksum, _, text = line.partition(b" ")
            # an incomplete line, as the process was killed while it wrote, or a damaged one
            if checksum != _checksum(text):
                continue
            row = json.loads(text)
            self.scores[row["path"], row["stamp"]] = Score(**row["score"])

    def find(self, path: str) -> Score | None:
        """Return the score of an image, if there is one and the file has not changed since."""
        return self.scores.get((path, stamp_of(path)))

    def keep(self, scores: Sequence[tuple[str, Score]]) -> None:
        """Append scores, each with the stamp of its file from before it was read."""
        lines = [
            json.dumps({"path": score.path, "stamp": stamp, "score": asdict(score)}).encode()
            for stamp, score in scores
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # the first newline ends an incomplete line
                file.write(b"\n" + b"".join(b"%s %s\n" % (_checksum(each), each) for each in lines))
        except OSError as error:
            log.warning("Cannot write scores to %s (%s)", self.path, error.strerror)


@dataclass
class ScoringCheckpoints:
    """The folder of kept scores, a file for each unfinished scoring run."""

    folder: Path
    _used: set[Path] = field(default_factory=set)

    def open(self, fingerprint: str) -> ScoringCheckpoint:
        """Open the scores of one scoring run; `fingerprint` is of what its scores depend on."""
        path = self.folder / f"{fingerprint[:16]}-{_FORMAT}.jsonl"
        self._used.add(path)
        return ScoringCheckpoint(path)

    def remove_used(self) -> None:
        """Delete the files that were opened here, whose runs are finished."""
        for path in self._used:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _checksum(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest()[:16].encode()


def stamp_of(path: str) -> str:
    """Size and modification time of a file; empty if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116  (os.stat takes names that are not valid text)
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
