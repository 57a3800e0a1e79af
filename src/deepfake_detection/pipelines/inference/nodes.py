"""Nodes of `inference`: from pictures to scores and a file of answers."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake_detection.images.sources_and_groups import name_sources
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.scoring import Score
from deepfake_detection.models.scoring_checkpoints import (
    ScoringCheckpoint,
    ScoringCheckpoints,
    stamp_of,
)
from deepfake_detection.parameters import InferenceParameters, SourceRule
from deepfake_detection.pipelines.inference.listing import is_named_as_picture, list_files
from deepfake_detection.pipelines.inference.submission import make_submission
from deepfake_detection.reports.words import counted, printable

log = logging.getLogger(__name__)

_COLUMNS = [
    "path", "fake_probability", "verdict", "threshold", "logit", "source", "width", "height",
    "warning", "error", "known_fakes", "detector",
]  # fmt: skip


def score_pictures(
    unlabelled_images: Path,
    detector: Detector,
    scoring_checkpoints: ScoringCheckpoints,
    inference: InferenceParameters,
) -> pd.DataFrame:
    """Score every file of a folder or a list; what an interrupted scoring found is taken up.

    Args:
        unlabelled_images: A folder, a picture, or a list in a text file (see `list_files`).
        detector: That scores.
        scoring_checkpoints: Where scores are kept until the table is saved.
        inference: How.

    Returns:
        A row for each file: path, fake_probability, verdict (real, fake), threshold, logit, source
        (where a rule is given), width, height, warning, error (why it could not be read),
        known_fakes (class folders of fakes that the detector was trained on), detector (fingerprint
        of its run).

    Raises:
        UserError: If there are no files.
        InterruptedWorkError: On Ctrl-C.
    """
    files = list_files(unlabelled_images)
    state = scoring_checkpoints.open(_fingerprint(detector, unlabelled_images, inference))
    found = _score_files(detector, [str(file) for _, file in files], state, inference)
    rows = [
        asdict(score) | {"path": _in_utf8(name)}
        for (name, _), score in zip(files, found, strict=True)
    ]
    scores = pd.DataFrame(rows)
    # whole numbers, and none where there is an error
    scores = scores.astype({"width": "Int64", "height": "Int64"})
    scores["source"] = _name_sources(scores, inference.source)
    scores["known_fakes"] = ", ".join(detector.card.known_fakes)
    scores["detector"] = detector.card.run_fingerprint
    _log_scores(scores, detector)
    return scores[_COLUMNS]


def _score_files(
    detector: Detector, files: list[str], state: ScoringCheckpoint, inference: InferenceParameters
) -> list[Score]:
    kept = {file: score for file in files if (score := state.find(file)) is not None}
    waiting = [file for file in files if file not in kept]
    if kept:
        log.info(
            "Going on: %d of %d files were scored before (%s)", len(kept), len(files), state.path
        )
    stamps = iter([stamp_of(file) for file in waiting])

    def explain() -> str:
        if not kept:
            return "scoring was interrupted before any file was scored."
        return (
            f"scoring was interrupted after {len(kept)} of {counted(len(files), 'file')}. They are "
            f"kept in {state.path}: the same command goes on from there."
        )

    bar = tqdm(
        total=len(files), initial=len(kept), desc="Scoring", unit="image", leave=False, disable=None
    )
    with explaining_interruptions(explain), bar:
        scores = detector.score_each(
            waiting,
            flip=inference.flip,
            batch_size=inference.batch_size,
            device=inference.device,
            precision=inference.precision,
            max_pixels=inference.max_pixels,
        )
        unsaved: list[tuple[str, Score]] = []
        for score in scores:
            unsaved.append((next(stamps), score))
            # whole batches, so that those after an interruption hold the same pictures
            if len(unsaved) == inference.batch_size:
                state.keep(unsaved)
                kept |= {str(each.path): each for _, each in unsaved}
                unsaved.clear()
            bar.update()
        kept |= {str(each.path): each for _, each in unsaved}
    return [kept[file] for file in files]


def _fingerprint(detector: Detector, images: Path, inference: InferenceParameters) -> str:
    """Of all that a score depends on but the picture, and of the place."""
    card = detector.card
    own = [card.run_fingerprint, card.threshold, card.temperature]
    settings = inference.model_dump(mode="json", exclude={"submission", "source"})
    content = json.dumps([own, str(images), settings], sort_keys=True)
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()


def _in_utf8(name: str) -> str:
    """A name as text that a file can hold: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _name_sources(scores: pd.DataFrame, rule: SourceRule | None) -> pd.Series:
    if rule is None:
        return pd.Series(None, index=scores.index, dtype=object)
    # files in a row are counted folder by folder, while a pattern is searched in the whole path
    by_folder = rule.rule == "consecutive"
    folders = scores["path"].map(lambda path: path.rpartition("/")[0] if by_folder else "")
    return name_sources(scores["path"], folders, scores["error"].isna(), rule)


def _log_scores(scores: pd.DataFrame, detector: Detector) -> None:
    card, counts = detector.card, scores["verdict"].value_counts()
    log.info(
        "Scored %s by %s (run %s): %d fake, %d real, from a fake probability of %.3g on",
        counted(len(scores), "file"), card.backbone, card.run_fingerprint[:12],
        counts.get("fake", 0), counts.get("real", 0), card.threshold,
    )  # fmt: skip
    log.info(
        "The detector was trained on fakes of the kind %s. What it says of others is not known",
        ", ".join(card.known_fakes),
    )
    if card.split.get("note"):
        log.info("%s", card.split["note"])
    for column, what in (("error", "could not be read"), ("warning", "have a warning")):
        told = scores[scores[column].notna()]
        if len(told):
            first = told.iloc[0]
            log.warning(
                "%d of %d files %s, the first being %s: %s",
                len(told), len(scores), what, printable(first["path"]), first[column],
            )  # fmt: skip


def average_sources(scores: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """Score each source by the mean logit of its pictures.

    Args:
        scores: What `score_pictures` gave.
        detector: That scored them.

    Returns:
        A row for each source: source, images, fake_probability, verdict, threshold, logit,
        known_fakes, detector. None where sources are not known.
    """
    read = scores[scores["error"].isna() & scores["source"].notna()]
    grouped = read.groupby("source", sort=False)["logit"]
    table = grouped.agg(images="size", logit="mean").reset_index()
    probability = detector.probabilities(table["logit"].to_numpy(dtype=float))
    threshold = detector.card.threshold
    return table.assign(
        fake_probability=probability,
        verdict=np.where(probability >= threshold, "fake", "real"),
        threshold=threshold,
        known_fakes=", ".join(detector.card.known_fakes),
        detector=detector.card.run_fingerprint,
    )[
        ["source", "images", "fake_probability", "verdict", "threshold", "logit", "known_fakes",
         "detector"]
    ]  # fmt: skip


def write_submission(scores: pd.DataFrame, inference: InferenceParameters) -> pd.DataFrame:
    """Make the file of answers: a line for each picture, none missing.

    Files that cannot be read count as pictures if they are named like one.

    Args:
        scores: What `score_pictures` gave.
        inference: Names of the columns, and the value of each answer.

    Raises:
        UserError: If two pictures would have the same name.
    """
    submission = inference.submission
    pictures = scores[scores["verdict"].notna() | scores["path"].map(is_named_as_picture)]
    if left := sorted(set(scores["path"]) - set(pictures["path"])):
        log.warning(
            "Left out of the submission: %s, by name and content no picture, as %s",
            counted(len(left), "file"), printable(left[0]),
        )  # fmt: skip
    unread = int(pictures["verdict"].isna().sum())
    if unread:
        log.warning(
            "%d of the %d answers are a guess, %r (inference.submission.unreadable): these files "
            "could not be read",
            unread, len(pictures), submission.unreadable,
        )  # fmt: skip
    return make_submission(pictures, submission)
