"""Nodes of `face_extraction`: face index, lost faces and contact sheet."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.faces.face_set import FaceSet
from deepfake_detection.images.files import NOT_UTF8, is_utf8
from deepfake_detection.images.layouts import FileRow, LabelledFiles, read_layout, to_table
from deepfake_detection.images.sources_and_groups import group_faces, name_sources
from deepfake_detection.parameters import FaceExtractionParameters, ImageSetParameters
from deepfake_detection.pipelines.face_extraction.contact_sheet import draw_crops
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

INDEX_COLUMNS = [
    "path", "sha256", "file", "file_sha256", "medium", "frame", "seconds", "track", "left", "top",
    "right", "bottom", "landmarks", "score", "crop_size", "face_pixels", "class_name", "label",
    "source", "group", "official_subset", "folder", "group_rule", "crop_recipe",
    "crop_recipe_fingerprint",
]  # fmt: skip
LOST_COLUMNS = ["file", "frame", "seconds", "reason"]
_SHOWN = 5


def extract_faces(
    videos: Path, faces: Path, settings: FaceExtractionParameters, image_set: ImageSetParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut the faces out of every video and photograph of a folder, or out of one file.

    An interrupted extraction goes on with the same parameters; other parameters make another set.

    Args:
        videos: The folder, laid out as `data_preparation.layout` says; or one file.
        faces: The folder of all sets of crops.
        settings: Block `face_extraction`.
        image_set: Block `data_preparation`: layout and group rule.

    Returns:
        The face index, a row for each crop, columns `INDEX_COLUMNS`; and a row for each file and
        frame without a face, columns `LOST_COLUMNS`.

    Raises:
        UserError: If no face was found, the layout does not fit, or another run is doing the same.
    """
    face_set = FaceSet.open(faces, settings)
    folder, listed = _list_files(videos, image_set)
    _check_tracks(listed.files, settings)
    usable = listed.files[listed.files["reason"].isna()]
    rows: list[dict[str, Any]] = []
    lost = [
        {"file": _printable(path), "frame": None, "seconds": None, "reason": reason}
        for path, reason in listed.files.loc[
            listed.files["reason"].notna(), ["path", "reason"]
        ].itertuples(index=False)
    ]
    frames = 0
    for file, record in face_set.extract(folder, list(usable["path"].unique())):
        frames += record["frames"]
        lost += [{"file": file, **each} for each in record["lost"]]
        inside = (face_set.folder / file).relative_to(faces).as_posix()
        for face in record["faces"]:
            of = {"file": file, "file_sha256": record["file_sha256"], "medium": record["medium"]}
            rows.append(of | face | {"path": f"{inside}/{face['crop']}"})
    found, unlabelled = _split_unlabelled(rows, usable)
    lost_faces = pd.DataFrame(lost + unlabelled, columns=LOST_COLUMNS).astype({"frame": "Int64"})
    if found.empty:
        _log_lost(lost_faces)
        raise UserError(
            f"no face was found in {counted(len(listed.files), 'file')} of {videos}; the log names "
            "the first reasons. If there are faces, lower face_extraction.min_score, or change the "
            "limits min_size, min_sharpness and max_turn"
        )
    index = _label(found, usable, image_set, all_tracks=settings.tracks == "all")
    index["crop_size"] = settings.crop.size
    index["crop_recipe"] = face_set.recipe.model_dump_json()
    index["crop_recipe_fingerprint"] = face_set.recipe.fingerprint
    _log_found(index, lost_faces, usable["path"].nunique(), frames, face_set.folder)
    return index[INDEX_COLUMNS], lost_faces


def _list_files(videos: Path, image_set: ImageSetParameters) -> tuple[Path, LabelledFiles]:
    """The folder and its files; of a single file its folder and itself, without a label."""
    if videos.is_dir():
        listed = read_layout(videos, image_set, videos=True)
        listed.files.loc[~listed.files["path"].map(is_utf8), "reason"] = NOT_UTF8
        return videos, listed
    return videos.parent, LabelledFiles("unlabelled", to_table([FileRow(videos.name)]), [])


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _check_tracks(files: pd.DataFrame, settings: FaceExtractionParameters) -> None:
    """Raise an error where labels and `face_extraction.tracks` do not fit."""
    by_track = files["track"].notna()
    if settings.tracks == "largest" and by_track.any():
        raise UserError("a table that labels face tracks needs face_extraction.tracks=all")
    if settings.tracks == "all" and (files.loc[~by_track, "label"] == 1).any():
        raise UserError(
            "face_extraction.tracks=all gives every person in a fake video the label fake, also "
            "bystanders. Label the tracks in a table with the column track "
            "(data_preparation.layout=table, docs/data.md), choose "
            "face_extraction.tracks=largest, or data_preparation.layout=unlabelled for faces that "
            "are only to be scored"
        )


def _split_unlabelled(
    rows: list[dict[str, Any]], files: pd.DataFrame
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The faces with a label (or of a file without one), and lost ones of tracks without a row."""
    by_track = files[files["track"].notna()]
    labelled = set(zip(by_track["path"], by_track["track"], strict=True))
    partly = {file for file, _ in labelled}
    found: list[dict[str, Any]] = []
    unnamed: Counter[tuple[str, int]] = Counter()
    for row in rows:
        track = (row["file"], row["track"])
        if row["file"] not in partly or track in labelled:
            found.append(row)
        else:
            unnamed[track] += 1
    lost = [
        {"file": file, "frame": None, "seconds": None,
         "reason": f"the table has no row for its track {track} ({counted(number, 'face')})"}
        for (file, track), number in unnamed.items()
    ]  # fmt: skip
    missing = labelled - {(row["file"], row["track"]) for row in rows}
    for file, track in sorted(missing):
        reason = f"no face of track {track}, which the table labels"
        lost.append({"file": file, "frame": None, "seconds": None, "reason": reason})
    return pd.DataFrame(found), lost


def _label(
    found: pd.DataFrame, files: pd.DataFrame, image_set: ImageSetParameters, *, all_tracks: bool
) -> pd.DataFrame:
    """Give each face class, label, source, group and official subset of its file or track."""
    labels = files.rename(columns={"path": "file"}).drop(columns=["reason", "medium"])
    # photographs may be frames of one video: the rule of images holds for them
    videos = set(found.loc[found["medium"] == "video", "file"])
    photographs = labels[
        labels["source"].isna() & labels["label"].notna() & ~labels["file"].isin(videos)
    ]
    labels.loc[photographs.index, "source"] = name_sources(
        photographs["file"], photographs["class_name"], photographs["label"].notna(),
        image_set.source, photographs["folder"],
    )  # fmt: skip
    by_track = labels["track"].notna()
    each = found["track"].where(found["file"].isin(labels.loc[by_track, "file"])).astype("Int64")
    index = (
        found.assign(labelled_track=each)
        .merge(
            labels.rename(columns={"track": "labelled_track"}),
            on=["file", "labelled_track"],
            validate="many_to_one",
        )
        .drop(columns="labelled_track")
    )
    index["source"] = index["source"].fillna(index["file"])
    index["group_rule"] = index["group"].isna()
    index = group_faces(index, image_set)
    if all_tracks:
        index["source"] += index["track"].map("#track_{:02}".format)
    return index


def _log_found(
    index: pd.DataFrame, lost: pd.DataFrame, files: int, frames: int, folder: Path
) -> None:
    with_faces = index["file"].nunique()
    log.info(
        "Found %s in %s of %s (%s searched); crops in %s",
        counted(len(index), "face"), f"{with_faces:,}", counted(files, "file"),
        counted(frames, "frame"), folder,
    )  # fmt: skip
    for name, part in index.groupby("class_name", sort=False):
        log.info(
            "  %s: %s of %s, %d to %d pixels across (median %d)",
            name or "without a label", counted(len(part), "face"),
            counted(part["file"].nunique(), "file"), part["face_pixels"].min(),
            part["face_pixels"].max(), part["face_pixels"].median(),
        )  # fmt: skip
    if index["label"].nunique() == 1 and index["label"].notna().all():
        only = "fake" if index["label"].iloc[0] else "real"
        log.warning("All faces are %s: a detector learns from real and fake ones", only)
    _log_lost(lost)


def _log_lost(lost: pd.DataFrame) -> None:
    whole = lost[lost["frame"].isna()]
    for file, reason in whole[["file", "reason"]].head(_SHOWN).itertuples(index=False):
        log.warning("%s: %s", file, reason)
    found = {"file": whole["file"].nunique(), "frame": len(lost) - len(whole)}
    if said := [counted(number, what) for what, number in found.items() if number]:
        log.warning("lost_faces lists %s that gave no face, with their reasons", " and ".join(said))


def draw_contact_sheet(face_index: pd.DataFrame, faces: Path) -> Figure:
    """Draw a sample of the crops: a look at it tells whether they are faces."""
    return draw_crops(_sample(face_index), faces, len(face_index))


def _sample(face_index: pd.DataFrame, most: int = 96) -> pd.DataFrame:
    """Rows at even distances, those of a class together."""
    ordered = face_index.sort_values("class_name", kind="stable")
    step = max(1.0, len(ordered) / most)
    chosen: Iterable[int] = {int(number * step) for number in range(min(most, len(ordered)))}
    return ordered.iloc[sorted(chosen)]
