"""Nodes of `inference`."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from natsort import natsort_keygen, ns
from PIL import Image
from tqdm import tqdm

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.file_lock import only_once
from deepfake_detection.images.listing import list_files
from deepfake_detection.images.sources_and_groups import name_sources
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.models.detector import Detector, Faces
from deepfake_detection.models.scoring import (
    Score,
    ScoringCheckpoint,
    ScoringCheckpoints,
    stamp_of,
)
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import (
    FaceExtractionParameters,
    InferenceParameters,
    SourceRule,
)
from deepfake_detection.pipelines.inference.face_choice import choose_faces
from deepfake_detection.reports.words import counted, printable

log = logging.getLogger(__name__)

_COLUMNS = [
    "path", "fake_probability", "verdict", "threshold", "logit", "source", "width", "height",
    "warning", "error", "known_fakes", "detector", "cut_by",
]  # fmt: skip


def score_pictures(
    unlabelled_images: Path,
    detector: Detector,
    scoring_checkpoints: ScoringCheckpoints,
    inference: InferenceParameters,
    face_extraction: FaceExtractionParameters,
) -> pd.DataFrame:
    """Score all files of a folder or a list; resume an interrupted run.

    The files are those of `list_files`. Checkpoints keep the scores until the table is saved.

    Returns:
        A row for each file: path, fake_probability, verdict (real, fake), threshold, logit, source
        (if there is a rule), width, height, warning, error (why it could not be read), known_fakes
        (kinds of fake in the training), detector (fingerprint of its run).

    Raises:
        UserError: If there are no files, or another process scores them with the same settings.
        InterruptedWorkError: On Ctrl-C and SIGTERM.
    """
    files = list_files(unlabelled_images)
    choice = choose_faces(detector, inference.faces, face_extraction)
    fingerprint = _fingerprint(detector, unlabelled_images, inference, choice.recipe)
    state = scoring_checkpoints.open(fingerprint)
    with only_once(state.path.with_suffix(".lock"), "scoring the same pictures"):
        found = _score_files(
            detector, [str(file) for _, file in files], state, inference, choice.faces
        )
    # bytes of a name that are not UTF-8 are written as escapes
    names = [name.encode("utf-8", "backslashreplace").decode() for name, _ in files]
    pairs = zip(found, names, strict=True)
    scores = pd.DataFrame([asdict(score) | {"path": name} for score, name in pairs])
    # nullable integers: there is no size if there is an error
    scores = scores.astype({"width": "Int64", "height": "Int64"})
    scores["source"] = _name_sources(scores, inference.source)
    scores["known_fakes"] = ", ".join(detector.card.known_fakes)
    scores["detector"] = detector.card.run_fingerprint
    scores["cut_by"] = choice.cut_by
    _log_scores(scores, detector)
    return scores[_COLUMNS]


def _score_files(
    detector: Detector,
    files: list[str],
    state: ScoringCheckpoint,
    inference: InferenceParameters,
    faces: Faces | FaceFinder | None,
) -> list[Score]:
    kept = {file: score for file in files if (score := state.find(file)) is not None}
    waiting = [file for file in files if file not in kept]
    if kept:
        so_far = len(kept), len(files), state.path
        log.info("Resuming: %d of %d files have been scored (%s)", *so_far)
    stamps = iter([stamp_of(file) for file in waiting])

    def explain() -> str:
        if not kept:
            return "scoring was interrupted before any file was scored."
        return (
            f"scoring was interrupted after {len(kept)} of {counted(len(files), 'file')}. Their "
            f"scores are in {state.path}: run the same command again to continue."
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
            faces=faces,
        )
        unsaved: list[tuple[str, Score]] = []
        for score in scores:
            unsaved.append((next(stamps), score))
            # whole batches only, so that a resumed run has the same batches
            if len(unsaved) == inference.batch_size:
                state.keep(unsaved)
                kept |= {str(each.path): each for _, each in unsaved}
                unsaved.clear()
            bar.update()
        kept |= {str(each.path): each for _, each in unsaved}
    return [kept[file] for file in files]


def _fingerprint(
    detector: Detector, images: Path, inference: InferenceParameters, recipe: CropRecipe | None
) -> str:
    """SHA-256 over the path and all that a score depends on, except the images."""
    card = detector.card
    own = [
        detector.weights_fingerprint, card.run_fingerprint, card.threshold, card.temperature,
        card.calibration, recipe and recipe.fingerprint,
    ]  # fmt: skip
    settings = inference.model_dump(mode="json", exclude={"submission", "source"})
    content = json.dumps([own, str(images), settings], sort_keys=True)
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()


def _name_sources(scores: pd.DataFrame, rule: SourceRule | None) -> pd.Series:
    if rule is None:
        return pd.Series(None, index=scores.index, dtype=object)
    # consecutive files are counted in each folder; a pattern is searched in the whole path
    by_folder = rule.rule == "consecutive"
    folders = scores["path"].map(lambda path: path.rpartition("/")[0] if by_folder else "")
    return name_sources(scores["path"], folders, scores["error"].isna(), rule)


def _log_scores(scores: pd.DataFrame, detector: Detector) -> None:
    card, counts = detector.card, scores["verdict"].value_counts()
    log.info(
        "Scored %s with %s (run %s): %d fake, %d real (threshold %.3g)",
        counted(len(scores), "file"), card.backbone, card.run_fingerprint[:12],
        counts.get("fake", 0), counts.get("real", 0), card.threshold,
    )  # fmt: skip
    log.info(
        "The detector was trained on %s. Its accuracy on other kinds of fake is unknown",
        ", ".join(card.known_fakes),
    )
    if card.split.get("note"):
        log.info("%s", card.split["note"])
    for column, what in (("error", "could not be read"), ("warning", "have a warning")):
        told = scores[scores[column].notna()]
        if len(told):
            first = told.iloc[0]
            log.warning(
                "%d of %d files %s; the first is %s: %s",
                len(told), len(scores), what, printable(first["path"]), first[column],
            )  # fmt: skip


def average_sources(scores: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """Score each source by the rule of the detector (see `SourceScore`).

    Returns:
        A row for each source: source, images, fake_probability, verdict, threshold, logit,
        known_fakes, detector. No rows if sources are unknown.
    """
    read = scores[scores["error"].isna() & scores["source"].notna()]
    sizes = read.groupby("source", sort=False).size()
    score = SourceScore.of(detector.card.calibration)
    logits = score.combine(read["logit"], read["source"], detector.card.temperature)
    table = pd.DataFrame({"images": sizes, "logit": logits}).rename_axis("source").reset_index()
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
    """Make the submission file: a row for each image, in natural order of the names.

    An unreadable file counts as an image if it has the suffix of one. Where two images would have
    the same name, all are named by their paths.

    Raises:
        UserError: If no image has a verdict.
    """
    if scores["verdict"].isna().all():
        raise UserError(
            f"none of the {counted(len(scores), 'file')} has a verdict, so no submission was "
            f"written. The first, {printable(scores['path'].iloc[0])}: {scores['error'].iloc[0]}. "
            "The entry 'scores' has the reason of each"
        )
    submission = inference.submission
    pictures = scores[scores["verdict"].notna() | scores["path"].map(_is_named_as_picture)]
    if left := sorted(set(scores["path"]) - set(pictures["path"])):
        log.warning(
            "Not in the submission (no image by name or content): %s; the first is %s",
            counted(len(left), "file"), printable(left[0]),
        )  # fmt: skip
    if unread := int(pictures["verdict"].isna().sum()):
        log.warning(
            "%d of %d images could not be read; their value in the submission is %r "
            "(inference.submission.unreadable)",
            unread, len(pictures), submission.unreadable,
        )  # fmt: skip
    paths = pictures["path"].tolist()
    names = paths
    if submission.name != "path":
        names = [getattr(PurePosixPath(path), submission.name) for path in paths]
    if len(set(names)) < len(names):
        first = next(name for name, times in Counter(names).items() if times > 1)
        log.warning(
            "Several images would be called %s by inference.submission.name=%s: the submission "
            "names all images by their paths",
            printable(first), submission.name,
        )  # fmt: skip
        names = paths
    values = {"real": submission.real, "fake": submission.fake}
    # as objects: a column may hold both integers and text
    table = pd.DataFrame(
        {
            submission.name_column: names,
            submission.value_column: [
                values.get(verdict, submission.unreadable) for verdict in pictures["verdict"]
            ],
        },
        dtype=object,
    )
    order = table[submission.name_column].map(natsort_keygen(alg=ns.PATH)).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _is_named_as_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in Image.registered_extensions()
