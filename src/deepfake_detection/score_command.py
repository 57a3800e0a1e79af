"""The command `deepfake-score`: score pictures and videos in the terminal."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from deepfake_detection.command_options import FaceOptions, check_device, face_options
from deepfake_detection.csv_cells import escape_cell
from deepfake_detection.errors import UserError
from deepfake_detection.images.files import holds_video
from deepfake_detection.images.listing import list_files
from deepfake_detection.images.reading import UnreadablePictureError, open_picture
from deepfake_detection.reports.words import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deepfake_detection.models.detector import Detector
    from deepfake_detection.models.scoring import FaceScore, Score, UnscoredFace
    from deepfake_detection.models.video_scoring import TrackScore, VideoScore

log = logging.getLogger(__name__)

_COLUMNS = (
    "path", "verdict", "doubt", "fake_probability", "threshold", "faces", "unscored", "warning",
    "error",
)  # fmt: skip
_EDGES = ("left", "top", "right", "bottom")
_FACE_COLUMNS = ("face", "frames", *_EDGES, "pixels")
_NOTHING_READ = 2


@click.command(context_settings={"show_default": True})
@click.argument("path", type=click.Path(path_type=Path, exists=True, allow_dash=True))
@click.option("--detector", required=True, type=click.Path(path_type=Path), help="Its file.")
@click.option("--json", "form", flag_value="json", help="A JSON object for each file, in a line.")
@click.option("--csv", "form", flag_value="csv", help="CSV; so it is where no terminal reads it.")
@click.option(
    "--faces", type=click.Choice(["most-fake", "all"]), default="most-fake",
    help="Of the table: a row for each file, or for each face and face track.",
)  # fmt: skip
@face_options
@click.option("--frames", type=click.IntRange(min=1), default=32, help="That are taken of a video.")
@click.option("--device", callback=check_device, default="auto", help="Or cpu, cuda, cuda:N, mps.")
def main(
    path: Path, detector: Path, form: str | None, faces: str, frames: int, device: str,
    *, face_options: FaceOptions,
) -> None:  # fmt: skip
    """Score PATH: a picture, a video, a folder, a list of paths (.txt), or - for standard input.

    Standard input is the content of one picture. Of several faces a fake one decides on the file,
    else an unsure one, else a real one; of several such, the most fake. Exit codes: 0 whatever the
    verdicts are, 2 if no file could be read, 1 for other errors.
    """
    # torch takes seconds to import: --help and mistakes need not wait for it
    from deepfake_detection.models.detector_loading import load_detector
    from deepfake_detection.models.face_choice import choose_faces
    from deepfake_detection.models.score_json import as_json

    loaded = load_detector(detector)
    if note := loaded.card.split.get("note"):
        log.warning("%s", note.strip())
    chosen = choose_faces(loaded, face_options)
    scores = _score_files(loaded, path, frames, faces=chosen, device=device)
    form = form or ("table" if sys.stdout.isatty() else "csv")
    columns = _COLUMNS + (_FACE_COLUMNS if faces == "all" else ())
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    if form == "csv":
        writer.writeheader()
    told: list[dict[str, Any]] = []
    read = False
    for name, score in scores:
        read = read or _was_read(score)
        rows = list(_rows(name, score, each_face=faces == "all"))
        if form == "json":
            click.echo(json.dumps(as_json(score) | {"path": name}))
        elif form == "csv":
            writer.writerows({key: escape_cell(cell) for key, cell in row.items()} for row in rows)
        else:
            told += rows
    if form == "table":
        _print_table(told, threshold=loaded.card.threshold, each_face=faces == "all")
    sys.exit(0 if read else _NOTHING_READ)


def _print_table(rows: list[dict[str, Any]], *, threshold: float, each_face: bool) -> None:
    """A table for the terminal: the same as CSV in fewer columns."""
    caption = f"fake from a probability of {threshold:.3g} on"
    if each_face:
        caption += "; box: left, top, right, bottom, where a face is seen first"
    table = Table(box=SIMPLE, caption=caption, caption_justify="left")
    own = ("face", "frames", "box", "pixels") if each_face else ("faces",)
    for name in ("path", "verdict", "probability", *own, "remark"):
        table.add_column(name, overflow="fold", no_wrap=name not in ("path", "remark"))
    for row in rows:
        cells = [row["path"], row["verdict"], row["fake_probability"]]
        cells += [row.get(name, "") for name in own]
        if "left" in row:
            cells[-2] = " ".join(str(row[edge]) for edge in _EDGES)
        remarks = [row["doubt"], row["warning"], row["error"]]
        if row["unscored"] and not (each_face or row["error"]):
            remarks.append(f"{counted(row['unscored'], 'face')} not scored (see --faces all)")
        cells.append("; ".join(filter(None, remarks)))
        table.add_row(*(escape(printable(str(cell))) for cell in cells))
    Console().print(table)


def _score_files(
    detector: Detector, path: Path, frames: int, **options: Any
) -> Iterator[tuple[str, Score | VideoScore]]:
    """Files in order, each with its score; consecutive pictures are scored in batches."""
    if str(path) == "-":
        try:
            picture = open_picture(sys.stdin.buffer.read())
        except UnreadablePictureError as error:
            raise UserError(f"standard input: {error}") from None
        yield "-", detector.score(picture, errors="record", **options)
        return
    files = list_files(path)
    with tqdm(total=len(files), desc="Scoring", unit="file", leave=False, disable=None) as bar:
        for videos, part in groupby(files, key=lambda file: holds_video(file[1])):
            names, paths = zip(*part, strict=True)
            scores: Iterable[Score | VideoScore]
            if videos:
                score_video = partial(detector.score_video, frames=frames, errors="record")
                scores = (score_video(each, **options) for each in paths)
            else:
                scores = detector.score_each(paths, **options)
            for name, score in zip(names, scores, strict=True):
                bar.update()
                yield name, score


def _was_read(score: Score | VideoScore) -> bool:
    from deepfake_detection.models.scoring import Score

    return score.width is not None if isinstance(score, Score) else score.searched > 0


def _rows(name: str, score: Score | VideoScore, *, each_face: bool) -> Iterator[dict[str, Any]]:
    """The rows of a table for one file."""
    from deepfake_detection.models.scoring import Score

    faces, unscored = list(_faces(score)), score.unscored if isinstance(score, Score) else None
    row = {
        "path": name, "verdict": score.verdict or "", "doubt": score.doubt or "",
        "threshold": score.threshold,
        "fake_probability": _number(score.fake_probability), "faces": len(faces),
        # those of a video stand in its lost frames, not one by one
        "unscored": "" if unscored is None else len(unscored),
        "warning": score.warning or "", "error": score.error or "",
    }  # fmt: skip
    if not (each_face and faces):
        yield row
    if not each_face:
        return
    for number, (face, first, frames) in enumerate(faces):
        yield row | _place(first) | {
            "face": number, "frames": frames,
            "verdict": face.verdict, "doubt": face.doubt or "",
            "fake_probability": _number(face.fake_probability),
        }  # fmt: skip
    for each in unscored or ():
        yield row | _place(each) | {
            "verdict": "", "doubt": "", "fake_probability": "", "warning": "",
            "error": each.reason,
        }  # fmt: skip


def _place(face: FaceScore | UnscoredFace) -> dict[str, Any]:
    return dict(zip(_EDGES, map(round, face.box), strict=True)) | {"pixels": round(face.pixels)}


def _faces(score: Score | VideoScore) -> Iterator[tuple[FaceScore | TrackScore, FaceScore, int]]:
    """Each face of a picture, or track of a video; where it is seen first; in how many frames."""
    from deepfake_detection.models.scoring import Score

    if isinstance(score, Score):
        yield from ((face, face, 1) for face in score.faces)
    else:
        yield from ((each, each.frames[0].face, len(each.frames)) for each in score.tracks)


def _number(probability: float) -> str:
    return "" if math.isnan(probability) else f"{probability:.4f}"
