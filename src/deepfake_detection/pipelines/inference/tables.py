"""Rows of the tables `scores` and `source_scores`."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from deepfake_detection.models.detector import Detector
from deepfake_detection.models.scoring import FaceScore, Score, UnscoredFace
from deepfake_detection.models.scoring_checkpoints import FileScore
from deepfake_detection.models.verdicts import rank
from deepfake_detection.models.video_scoring import (
    SourceJudgement,
    VideoScore,
    choose_decisive,
    judge_sources,
)

_EDGES = ("left", "top", "right", "bottom")
_JUDGED = ("fake_probability", "verdict", "doubt", "unlikeness", "logit")
SCORE_COLUMNS = [
    "path", "medium", "face", "track", "frame", "seconds", "fake_probability", "verdict", "doubt",
    "unlikeness", "threshold", "logit", "source", *_EDGES, "pixels", "width", "height", "warning",
    "error", "cut_by", "known_fakes", "detector",
]  # fmt: skip
SOURCE_COLUMNS = [
    "source", "level", "track", "images", "fake_probability", "verdict", "doubt", "unlikeness",
    "threshold", "logit", "known_fakes", "detector",
]  # fmt: skip
# Nullable: a row has no number where it has no such thing
_WHOLE_NUMBERS = {"face", "track", "frame", "width", "height", "images"}
_NUMBERS = {"seconds", *_EDGES, "pixels", "unlikeness", "fake_probability", "logit"}


def to_table(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """Rows as a table with these columns, each of its type."""
    table = pd.DataFrame(rows, columns=columns)
    types = dict.fromkeys(_WHOLE_NUMBERS & {*columns}, "Int64")
    return table.astype(types | dict.fromkeys(_NUMBERS & {*columns}, "float64"))


def list_faces(score: FileScore) -> Iterator[dict[str, Any]]:
    """The rows of one file in `scores`: of each face, and of what has no score.

    A picture that was scored whole, or a file without a verdict, has one row without a face. So
    has each frame that gave no face.
    """
    if isinstance(score, Score):
        yield from _list_faces_of_picture(score)
    else:
        yield from _list_faces_of_video(score)


def _list_faces_of_picture(score: Score) -> Iterator[dict[str, Any]]:
    size = {"medium": "picture", "width": score.width, "height": score.height}
    if not score.faces:
        judged = {name: getattr(score, name) for name in _JUDGED}
        yield size | judged | {"warning": score.warning, "error": score.error}
    # that of the whole file, unless it is one of its faces'
    of_file = None if any(face.warning for face in score.faces) else score.warning
    faces: list[FaceScore | UnscoredFace] = [*score.faces, *score.unscored]
    for number, face in enumerate(faces):
        row = size | {"face": number} | _place(face)
        if isinstance(face, UnscoredFace):
            yield row | {"error": face.reason}
        else:
            yield row | _describe(face) | {"warning": face.warning or of_file}


def _list_faces_of_video(score: VideoScore) -> Iterator[dict[str, Any]]:
    medium = {"medium": "video"}
    if score.error is not None:
        yield medium | {"error": score.error}
    for track in score.tracks:
        for frame in track.frames:
            place = {"track": track.number, "frame": frame.number, "seconds": frame.seconds}
            yield medium | place | _place(frame.face) | _describe(frame.face)
    for seconds, reason in score.lost:
        yield medium | {"seconds": seconds, "error": reason}


def _describe(face: FaceScore) -> dict[str, Any]:
    judged = {name: getattr(face, name) for name in _JUDGED}
    return judged | {"warning": face.warning}


def _place(face: FaceScore | UnscoredFace) -> dict[str, Any]:
    return dict(zip(_EDGES, face.box, strict=True)) | {"pixels": face.pixels}


def choose_faces_of_files(scores: pd.DataFrame) -> pd.DataFrame:
    """Of each picture with a verdict the row of `scores` that decides on it, see `Score`."""
    scored = scores[(scores["medium"] == "picture") & scores["verdict"].notna()]
    ranks = [rank(*each) for each in zip(scored["verdict"], scored["logit"], strict=True)]
    ordered = scored.iloc[sorted(range(len(scored)), key=ranks.__getitem__, reverse=True)]
    return ordered.drop_duplicates("path").sort_index()


def judge_pictures(scores: pd.DataFrame, detector: Detector) -> Iterator[dict[str, Any]]:
    """The rows of `source_scores` for pictures that were cut from one source by the rule."""
    rows = choose_faces_of_files(scores)
    rows = rows[rows["source"].notna()]
    faces = zip(rows["source"], _read_faces(rows), strict=True)
    for source, judgement in judge_sources(detector, list(faces)).items():
        yield {"source": source, "level": "source"} | _judged(judgement)


def judge_videos(scores: pd.DataFrame, detector: Detector) -> Iterator[dict[str, Any]]:
    """The rows of `source_scores` for videos and, of several people in one, their face tracks."""
    rows = scores[(scores["medium"] == "video") & scores["verdict"].notna()]
    for path, own in rows.groupby("path", sort=False):
        tracks = judge_sources(detector, list(zip(own["track"], _read_faces(own), strict=True)))
        decisive = choose_decisive(list(tracks.values()))
        frames = {"images": own["frame"].nunique()}
        yield {"source": path, "level": "video"} | _judged(decisive) | frames
        if len(tracks) > 1:
            for track, judgement in tracks.items():
                yield {"source": path, "level": "track", "track": track} | _judged(judgement)


def _judged(judgement: SourceJudgement) -> dict[str, Any]:
    return {name: getattr(judgement, name) for name in _JUDGED} | {"images": judgement.faces}


def _read_faces(rows: pd.DataFrame) -> list[FaceScore]:
    """The scores of faces that rows of `scores` tell of."""
    some = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [
        FaceScore(
            tuple(row[edge] for edge in _EDGES), row["pixels"],
            **{name: row[name] for name in _JUDGED},
        )
        for row in some
    ]  # fmt: skip
