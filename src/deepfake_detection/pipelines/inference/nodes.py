"""Nodes of `inference`."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from natsort import natsort_keygen, ns
from PIL import Image
from tqdm import tqdm

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.video import import_av
from deepfake_detection.file_lock import only_once
from deepfake_detection.images.files import holds_video, is_video
from deepfake_detection.images.listing import list_files
from deepfake_detection.images.prefetch import batched
from deepfake_detection.images.sources_and_groups import name_sources
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.scoring import Score
from deepfake_detection.models.scoring_checkpoints import (
    FileScore,
    ScoringCheckpoint,
    ScoringCheckpoints,
    stamp_of,
)
from deepfake_detection.models.video_scoring import VideoScore
from deepfake_detection.parameters import (
    FaceExtractionParameters,
    InferenceParameters,
    SourceRule,
)
from deepfake_detection.pipelines.inference.face_choice import FaceChoice, choose_faces
from deepfake_detection.pipelines.inference.tables import (
    SCORE_COLUMNS,
    SOURCE_COLUMNS,
    choose_faces_of_files,
    judge_pictures,
    judge_videos,
    list_faces,
    to_table,
)
from deepfake_detection.reports.words import counted, printable

log = logging.getLogger(__name__)


def score_files(
    unlabelled_images: Path,
    detector: Detector,
    scoring_checkpoints: ScoringCheckpoints,
    inference: InferenceParameters,
    face_extraction: FaceExtractionParameters,
) -> pd.DataFrame:
    """Score all pictures and videos of a folder or a list; resume an interrupted run.

    The files are those of `list_files`. Checkpoints keep the scores until the table is saved.

    Returns:
        A row for each face, columns `SCORE_COLUMNS`: of a picture with its number, of a video with
        face track, frame and seconds. A row with the reason in `error` for each file without a
        verdict, each face that was not scored, and each frame without a face.

    Raises:
        UserError: If there are no files, a package is missing, or another process scores them with
            the same settings.
        InterruptedWorkError: On Ctrl-C and SIGTERM.
    """
    files = _list_once(unlabelled_images)
    choice = choose_faces(detector, inference.faces, face_extraction)
    fingerprint = _fingerprint(detector, unlabelled_images, inference, choice.recipe)
    state = scoring_checkpoints.open(fingerprint)
    with only_once(state.path.with_suffix(".lock"), "scoring the same files"):
        found = _score_files(detector, [str(file) for _, file in files], state, inference, choice)
    # bytes of a name that are not UTF-8 are written as escapes
    names = [name.encode("utf-8", "backslashreplace").decode() for name, _ in files]
    sources = _name_sources(names, found, inference.source)
    rows = [
        {"path": name, "source": source} | row
        for name, source, score in zip(names, sources, found, strict=True)
        for row in list_faces(score)
    ]
    scores = to_table(rows, SCORE_COLUMNS).assign(**_origin(detector))
    cut = scores["left"].notna() & scores["verdict"].notna()
    scores["cut_by"] = pd.Series(choice.cut_by, scores.index, dtype=object).where(cut, None)
    _log_scores(names, found, detector)
    return scores


def _list_once(path: Path) -> list[tuple[str, Path]]:
    listed = list_files(path)
    files = list(dict.fromkeys(listed))
    if len(files) < len(listed):
        log.warning(
            "%s names %s more than once: they are scored once",
            path, counted(sum(times > 1 for times in Counter(listed).values()), "file"),
        )  # fmt: skip
    return files


def _origin(detector: Detector) -> dict[str, Any]:
    """Columns that say by what each row was scored."""
    card = detector.card
    return {
        "threshold": card.threshold,
        "known_fakes": card.describe_known_fakes(),
        "detector": card.run_fingerprint,
    }


def _score_files(
    detector: Detector,
    files: list[str],
    state: ScoringCheckpoint,
    inference: InferenceParameters,
    choice: FaceChoice,
) -> list[FileScore]:
    kept = {file: score for file in files if (score := state.find(file)) is not None}
    waiting = {file: stamp_of(file) for file in files if file not in kept}
    if kept:
        so_far = len(kept), len(files), state.path
        log.info("Resuming: %d of %d files have been scored (%s)", *so_far)

    def explain() -> str:
        # the file tells: the interruption may have come just after something was written
        written = ScoringCheckpoint(state.path)
        scored = sum(written.find(file) is not None for file in files)
        if not scored:
            return "scoring was interrupted before any file was scored."
        return (
            f"scoring was interrupted after {scored} of {counted(len(files), 'file')}. Their "
            f"scores are in {state.path}: run the same command again to continue."
        )

    bar = tqdm(
        total=len(files), initial=len(kept), desc="Scoring", unit="file", leave=False, disable=None
    )
    with explaining_interruptions(explain), bar:
        for part in _score_parts(detector, list(waiting), inference, choice):
            state.keep([(waiting[str(score.path)], score) for score in part])
            kept |= {str(score.path): score for score in part}
            bar.update(len(part))
    return [kept[file] for file in files]


def _score_parts(
    detector: Detector, files: list[str], inference: InferenceParameters, choice: FaceChoice
) -> Iterator[Sequence[FileScore]]:
    """The scores of files: whole batches of pictures, then one video after another.

    So a resumed run has the same batches.
    """
    videos = [file for file in files if holds_video(Path(file))]
    filmed = {*videos}
    if videos:
        # before pictures are scored, which may take hours
        import_av()
    pictures = [file for file in files if file not in filmed]
    options: dict[str, Any] = {
        name: getattr(inference, name)
        for name in ("flip", "batch_size", "device", "precision", "max_pixels")
    }
    scores = detector.score_each(pictures, faces=choice.faces, **options)
    yield from batched(scores, inference.batch_size)
    for file in videos:
        yield [
            detector.score_video(
                file, frames=inference.frames_per_video, every_seconds=inference.every_seconds,
                errors="record", faces=choice.faces, **options,
            )
        ]  # fmt: skip


def _fingerprint(
    detector: Detector, images: Path, inference: InferenceParameters, recipe: CropRecipe | None
) -> str:
    """SHA-256 over the path and all that a score depends on, except the files."""
    card = detector.card
    own = [
        detector.weights_fingerprint, card.run_fingerprint, card.threshold, card.temperature,
        card.calibration, recipe and recipe.fingerprint,
    ]  # fmt: skip
    settings = inference.model_dump(mode="json", exclude={"submission", "source"})
    content = json.dumps([own, str(images), settings], sort_keys=True)
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()


def _name_sources(
    names: list[str], scores: list[FileScore], rule: SourceRule | None
) -> list[str | None]:
    """The source of each file: a video is its own, that of pictures is given by the rule."""
    paths = pd.Series(names, dtype=object)
    filmed = np.array([isinstance(score, VideoScore) for score in scores])
    sources = paths.where(filmed, None)
    if rule is not None:
        pictures = paths[~filmed]
        readable = pd.Series(
            [score.width is not None for score in scores if isinstance(score, Score)],
            pictures.index,
        )
        # consecutive files are counted in each folder; a pattern is searched in the whole path
        by_folder = rule.rule == "consecutive"
        folders = pictures.map(lambda path: path.rpartition("/")[0] if by_folder else "")
        sources[~filmed] = name_sources(pictures, folders, readable, rule)
    return list(sources)


def _log_scores(names: list[str], scores: list[FileScore], detector: Detector) -> None:
    card = detector.card
    verdicts = Counter(score.verdict for score in scores)
    log.info(
        "Scored %s with %s (run %s): %d fake, %d real, %d unsure, %d without a verdict "
        "(threshold %.3g)",
        counted(len(scores), "file"), card.backbone, card.run_fingerprint[:12],
        *(verdicts[each] for each in ("fake", "real", "unsure", None)), card.threshold,
    )  # fmt: skip
    trained = "is said to be trained" if card.imported_from else "was trained"
    log.info(
        "The detector %s on %s. Its accuracy on other kinds of fake is unknown",
        trained, ", ".join(card.known_fakes),
    )  # fmt: skip
    if card.split.get("note"):
        log.info("%s", card.split["note"])
    for field, what in (("error", "have no verdict"), ("warning", "have a warning")):
        told = [
            (name, said)
            for name, score in zip(names, scores, strict=True)
            if (said := getattr(score, field)) is not None
        ]
        if told:
            name, said = told[0]
            log.warning(
                "%d of %d files %s; the first is %s: %s",
                len(told), len(scores), what, printable(name), said,
            )  # fmt: skip


def average_sources(scores: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """Score each source by the rule of the detector (see `SourceScore`).

    Returns:
        Columns `SOURCE_COLUMNS`: a row for each source that `inference.source` makes of pictures
        (level `source`), for each video with a face (`video`) and, where it has several, for each
        face track (`track`). `images` counts pictures, or frames with a scored face. A picture
        has the score of its decisive face, a video that of its decisive track.
    """
    rows = [*judge_pictures(scores, detector), *judge_videos(scores, detector)]
    return to_table(rows, SOURCE_COLUMNS).assign(**_origin(detector))


def write_submission(
    scores: pd.DataFrame, source_scores: pd.DataFrame, inference: InferenceParameters
) -> pd.DataFrame:
    """Make the submission file: a row for each picture and video, in natural order of the names.

    A file without a verdict counts if it has the suffix of a picture or a video. Where the verdict
    is unsure, the threshold decides. Where two files would have the same name, all are named by
    their paths.

    Raises:
        UserError: If no file has a verdict.
    """
    decided = _decide(scores, source_scores)
    files = scores["path"].unique()
    if decided.empty:
        raise UserError(
            f"none of the {counted(len(files), 'file')} has a verdict, so no submission was "
            f"written. The first, {printable(scores['path'].iloc[0])}: {scores['error'].iloc[0]}. "
            "The entry 'scores' has the reason of each"
        )
    submission = inference.submission
    paths = [path for path in files if path in decided.index or _is_named_as_medium(path)]
    if left := sorted({*files} - {*paths}):
        log.warning(
            "Not in the submission (no picture or video by name or content): %s; the first is %s",
            counted(len(left), "file"), printable(left[0]),
        )  # fmt: skip
    if without := len(paths) - len(decided):
        log.warning(
            "%d of %d files have no verdict; their value in the submission is %r "
            "(inference.submission.unreadable)",
            without, len(paths), submission.unreadable,
        )  # fmt: skip
    if unsure := int((decided["verdict"] == "unsure").sum()):
        log.warning(
            "%d of %d verdicts are unsure; the threshold decided in the submission",
            unsure, len(decided),
        )  # fmt: skip
    names = paths
    if submission.name != "path":
        names = [getattr(PurePosixPath(path), submission.name) for path in paths]
    if len(set(names)) < len(names):
        first = next(name for name, times in Counter(names).items() if times > 1)
        log.warning(
            "Several files would be called %s by inference.submission.name=%s: the submission "
            "names all files by their paths",
            printable(first), submission.name,
        )  # fmt: skip
        names = paths
    above = decided["fake_probability"] >= decided["threshold"]
    values = above.map({True: submission.fake, False: submission.real}).to_dict()
    # as objects: a column may hold both integers and text
    table = pd.DataFrame(
        {
            submission.name_column: names,
            submission.value_column: [values.get(path, submission.unreadable) for path in paths],
        },
        dtype=object,
    )
    order = table[submission.name_column].map(natsort_keygen(alg=ns.PATH)).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _decide(scores: pd.DataFrame, source_scores: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of files, indexed by path: verdict, fake_probability, threshold."""
    videos = source_scores[source_scores["level"] == "video"].rename(columns={"source": "path"})
    columns = ["path", "verdict", "fake_probability", "threshold"]
    both = [choose_faces_of_files(scores)[columns], videos[columns]]
    return pd.concat([each for each in both if len(each)] or both[:1]).set_index("path")


def _is_named_as_medium(path: str) -> bool:
    return is_video(path) or PurePosixPath(path).suffix.lower() in Image.registered_extensions()
