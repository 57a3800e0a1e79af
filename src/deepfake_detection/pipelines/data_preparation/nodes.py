"""Nodes of `data_preparation`: image index, split and audit of a folder of images."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe, landmarks_in_crop
from deepfake_detection.faces.detection import Face, make_face_detector
from deepfake_detection.images.duplicates import (
    CONFLICT,
    CROSS_CLASS,
    Comparison,
    count_leaks,
    count_shared_groups_by_subsets,
    find_copies,
    find_near_duplicates,
    sort_leaks,
)
from deepfake_detection.images.layouts import keep_official_subset, read_layout
from deepfake_detection.images.scanning import scan_files
from deepfake_detection.images.sources_and_groups import group_faces, name_groups, name_sources
from deepfake_detection.images.split_summary import SUBSETS, describe_split
from deepfake_detection.images.splitting import (
    draw_subsets,
    leave_classes_out,
    take_official_subsets,
)
from deepfake_detection.parameters import (
    FaceExtractionParameters,
    ImageSetParameters,
    LeakageParameters,
    Ratios,
    SplitParameters,
)
from deepfake_detection.pipelines.data_preparation.leakage_gallery import draw_pairs
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

INDEX_COLUMNS = [
    "path", "sha256", "class_name", "label", "source", "group", "width", "height", "bytes",
    "perceptual_hash", "brightness", "contrast", "sharpness", "official_subset", "medium",
    "crop_recipe", "landmarks",
]  # fmt: skip
SPLIT_COLUMNS = [
    "path", "sha256", "class_name", "label", "source", "group", "subset", "landmarks",
]  # fmt: skip


def scan_images(
    training_images: Path,
    image_set: ImageSetParameters,
    face_extraction: FaceExtractionParameters,
) -> pd.DataFrame:
    """Find every file of an image folder; decode and measure each once.

    Returns:
        A row for each file: path, class_name, reason (why it is not used, or None), the measures of
        `ScannedFile`; and as in `LabelledFiles`, with all sources: label, source, group,
        official_subset, medium, folder; crop_recipe, as JSON, if the parameters tell it.

    Raises:
        UserError: If the folder is not of the layout of the parameters.
    """
    files = read_layout(training_images, image_set).files
    found = list(files[["path", "class_name", "reason"]].itertuples(index=False, name=None))
    scanned = pd.DataFrame(list(scan_files(training_images, found, image_set.max_pixels)))
    columns = ["label", "source", "group", "official_subset", "medium", "folder"]
    scanned[columns] = files[columns]
    scanned["crop_recipe"] = _tell_recipe(image_set, face_extraction)
    scanned["landmarks"] = None
    # sources are counted over all files: a damaged one must not shift the others
    inside = scanned[(scanned["class_name"] != "") & scanned["source"].isna()]
    scanned.loc[inside.index, "source"] = name_sources(
        inside["path"], inside["class_name"], inside["reason"].isna(), image_set.source,
        inside["folder"],
    )  # fmt: skip
    return scanned


def _tell_recipe(image_set: ImageSetParameters, settings: FaceExtractionParameters) -> str | None:
    """The crop recipe of images that were cropped elsewhere, if the parameters tell one."""
    if image_set.crop_recipe is None:
        return None
    try:
        weights = make_face_detector(settings).weights_sha256
    except UserError as error:
        log.warning("The crop recipe is not kept, so no faces can be found by it: %s", error)
        return None
    return CropRecipe.of(settings, settings.crop, weights).model_dump_json()


def scan_faces(
    training_images: Path, face_index: pd.DataFrame, image_set: ImageSetParameters
) -> pd.DataFrame:
    """Decode and measure each crop of the face index, in a folder of crops.

    Returns:
        As `scan_images`, with crop_recipe, and landmarks: x and y of the five as shares of the
        crop's side, JSON.

    Raises:
        UserError: If the faces have no labels, or are of different crop recipes.
    """
    if face_index["crop_recipe_fingerprint"].nunique() > 1:
        raise UserError(
            "the face index holds crops of different recipes, and a detector would learn the "
            "difference: kedro run --pipelines face_extraction makes one of one recipe"
        )
    options = image_set.layout_options
    classes = list(face_index["class_name"].unique())
    if absent := [name for name in options.leave_out if name not in classes]:
        log.info(
            "layout_options.leave_out: there are no faces of %s; classes: %s",
            ", ".join(absent), ", ".join(classes),
        )  # fmt: skip
    faces = face_index[~face_index["class_name"].isin(options.leave_out)].reset_index(drop=True)
    if faces.empty:
        raise UserError(
            f"parameter 'layout_options.leave_out' leaves no faces: {', '.join(classes)} are there"
        )
    if faces["label"].isna().any():
        file = faces.loc[faces["label"].isna(), "file"].iloc[0]
        raise UserError(
            f"faces of {file} have no label: name the layout of the videos with "
            "data_preparation.layout, and run kedro run --pipelines face_extraction again"
        )
    faces = group_faces(keep_official_subset(faces, options.official_subset), image_set)
    files = [(path, name, None) for path, name in faces[["path", "class_name"]].to_numpy()]
    scanned = pd.DataFrame(list(scan_files(training_images, files, image_set.max_pixels)))
    columns = ["label", "source", "group", "official_subset", "medium", "crop_recipe"]
    scanned[columns] = faces[columns]
    scanned["landmarks"] = _list_landmarks(faces)
    scanned["folder"] = scanned["class_name"]
    # equalised copies are made anew where a crop changes
    if image_set.equalise is None:
        changed = scanned["reason"].isna() & (scanned["sha256"] != faces["sha256"])
        scanned.loc[changed, "reason"] = "changed since its face was extracted"
    return scanned


def _list_landmarks(faces: pd.DataFrame) -> list[str]:
    crop = CropRecipe.model_validate_json(faces["crop_recipe"].iloc[0]).crop
    boxes = faces[["left", "top", "right", "bottom"]].to_numpy()
    listed = []
    for box, points, score in zip(boxes, faces["landmarks"], faces["score"], strict=True):
        face = Face(box, np.reshape(points, (5, 2)), score)
        listed.append(json.dumps(landmarks_in_crop(face, crop).round(4).ravel().tolist()))
    return listed


def list_rejected_images(scanned_images: pd.DataFrame) -> pd.DataFrame:
    """List the files that were found and are not used: path, reason."""
    rejected = scanned_images.loc[scanned_images["reason"].notna(), ["path", "reason"]]
    for path, reason in rejected.head(5).itertuples(index=False):
        log.warning("Rejected %s: %s", path, reason)
    if len(rejected) > 5:
        log.warning("… and %d more, all listed in rejected_images", len(rejected) - 5)
    return rejected.reset_index(drop=True)


def index_images(
    scanned_images: pd.DataFrame, rejected_images: pd.DataFrame, image_set: ImageSetParameters
) -> pd.DataFrame:
    """Make the image index: a row for each image that can be used, columns `INDEX_COLUMNS`.

    Raises:
        UserError: If too many files were rejected, or a class has no image left.
    """
    share = len(rejected_images) / len(scanned_images)
    if share > image_set.max_rejected_share:
        raise UserError(
            f"{len(rejected_images)} of {len(scanned_images)} files ({share:.1%}) cannot be used, "
            f"the first being {rejected_images['path'].iloc[0]} "
            f"({rejected_images['reason'].iloc[0]}). All are listed in rejected_images. Repair or "
            "remove them, or raise max_rejected_share."
        )
    used = scanned_images[scanned_images["reason"].isna()].reset_index(drop=True)
    for name in scanned_images["class_name"].unique():
        if name and not (used["class_name"] == name).any():
            raise UserError(f"class '{name}' has no image that can be read")
    used["group"] = name_groups(
        used["path"], used["source"], used["sha256"], used["class_name"], image_set.group,
        used["folder"], used["group"],
    )  # fmt: skip
    whole_numbers = dict.fromkeys(("label", "width", "height", "bytes"), "int64")
    image_index = used[INDEX_COLUMNS].astype(whole_numbers)
    _log_index(image_index, len(rejected_images))
    return image_index


def _log_index(image_index: pd.DataFrame, rejected: int) -> None:
    counts = image_index["class_name"].value_counts(sort=False)
    log.info(
        "Found %d images (%s) of %d sources in %d groups; %d rejected",
        len(image_index), ", ".join(f"{count} {name}" for name, count in counts.items()),
        image_index["source"].nunique(), image_index["group"].nunique(), rejected,
    )  # fmt: skip
    if copies := int(image_index["sha256"].duplicated().sum()):
        log.warning("%d images are copies of others, byte for byte: they get one subset", copies)
    labels = image_index.groupby("sha256")["label"].transform("nunique")
    torn = image_index.loc[labels > 1, "path"]
    if len(torn):
        log.warning(
            "%d files stand under both labels, the first being %s: one of the two is wrong",
            len(torn), torn.iloc[0],
        )  # fmt: skip


def split_images(image_index: pd.DataFrame, split: SplitParameters) -> pd.DataFrame:
    """Put each image of the index into train, validation or test: columns `SPLIT_COLUMNS`.

    Images without an official subset are left out of an official split; with `leave_out`, those
    that `leave_classes_out` takes out.

    Raises:
        UserError: If all images have one label, a class has too few groups, there is no official
            split, or the class to leave out does not fit.
    """
    if image_index["label"].nunique() == 1:
        only = "fake" if image_index["label"].iloc[0] else "real"
        raise UserError(f"all images are {only}: a detector learns from real and fake ones")
    take = take_official_subsets if split.method == "official" else draw_subsets
    subsets = take(image_index, split)
    if split.left_out:
        subsets = leave_classes_out(image_index, subsets, split.left_out)
    table = image_index.assign(subset=subsets)
    # an index made before landmarks were kept has none
    return table.dropna(subset="subset").reindex(columns=SPLIT_COLUMNS).reset_index(drop=True)


def summarise_split(
    split: pd.DataFrame,
    image_index: pd.DataFrame,
    parameters: SplitParameters,
    image_set: ImageSetParameters,
    shortcut_summary: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Summarise the split: as `describe_split`, and `fold` in a cross-validation.

    `shortcuts` are the warnings of the audit of shortcuts, if it gave any. The ratios of an
    official split are those that it has. With `leave_out`, the summary names the class, and counts
    the images that stand in no subset by class.
    """
    ratios = parameters.shares
    if parameters.method == "official":
        ratios = Ratios(**{name: float((split["subset"] == name).mean()) for name in SUBSETS})
    summary = describe_split(
        split, image_index.merge(split["path"]), method=parameters.method, ratios=ratios,
        seed=parameters.seed, image_set=image_set,
    )  # fmt: skip
    if shortcut_summary and shortcut_summary["warnings"]:
        summary["shortcuts"] = shortcut_summary["warnings"]
    if parameters.fold:
        summary["fold"] = parameters.fold.model_dump()
    if parameters.left_out:
        unused = image_index.loc[~image_index["path"].isin(split["path"]), "class_name"]
        counts = unused.value_counts(sort=False).to_dict()
        summary["leave_out"] = {"class": ", ".join(parameters.left_out), "unused_images": counts}
    _log_split(summary)
    return summary


def _log_split(summary: dict[str, Any]) -> None:
    sizes = {subset: sum(counts.values()) for subset, counts in summary["images"].items()}
    log.info(
        "Split by %s: %s; fingerprint %s",
        summary["method"], ", ".join(f"{size} {subset}" for subset, size in sizes.items()),
        summary["fingerprint"][:12],
    )  # fmt: skip
    if left_out := summary.get("leave_out"):
        log.info(
            "Only test holds fakes of class %s; in no subset are %s", left_out["class"],
            ", ".join(f"{count} {name}" for name, count in left_out["unused_images"].items()),
        )  # fmt: skip
    if summary["method"] == "individual":
        log.warning(
            "The validation score will be too high: the individual method puts images of one group "
            "into several subsets (%d groups), so that neighbours of training images are scored",
            summary["groups_in_more_than_one_subset"],
        )
    if shared := summary.get("shared_source_numbers"):
        log.warning(
            "%d of %d sources whose number occurs in several classes stand in another subset than "
            "a source with the same number. If fakes carry the number of the video that they were "
            "made of, set data_preparation.group.rule=same_number",
            shared["split_between_subsets"], shared["sources"],
        )  # fmt: skip
    if "test" not in sizes:
        log.info("There is no test subset: validation chooses the epoch and gives the score")


def audit_split(
    image_index: pd.DataFrame,
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    training_images: Path,
    leakage: LeakageParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Search a split for leaks: equal files and near-duplicates in different subsets.

    Of the image folder, only pictures with close hashes are read again.

    Returns:
        A row for each pair, the most alike first: kind, path, class_name, group, subset, the same
        of the other image, hash_distance (bits), correlation (of thumbnails). And a summary: split
        fingerprint and method, groups in more than one subset, pairs and images found by kind and
        subsets, what was compared, and the settings.

    Raises:
        UserError: If a group stands in more than one subset of a grouped split, the split is of
            another index, or an image has changed or is missing.
    """
    shared = count_shared_groups_by_subsets(split)
    if split_summary["method"] == "group" and any(shared.values()):
        _refuse_shared_groups(split)
    columns = ["path", "sha256", "perceptual_hash", "contrast"]
    images = split.merge(image_index[columns], on=["path", "sha256"], validate="one_to_one")
    if len(images) < len(split):
        raise UserError(
            f"{len(split) - len(images)} of the {len(split)} images of the split are not in the "
            "image index: they are of different runs. Run kedro run --pipelines data_preparation "
            "again, or pick versions with --load-versions."
        )
    near_duplicates, comparison = find_near_duplicates(images, training_images, leakage)
    found = [each for each in (find_copies(images), near_duplicates) if len(each)]
    leaks = sort_leaks(pd.concat(found) if found else near_duplicates)
    summary = {
        "split_fingerprint": split_summary["fingerprint"],
        "method": split_summary["method"],
        "groups_in_more_than_one_subset": shared,
        "found": count_leaks(leaks),
        "compared": {
            "images": len(images),
            "flat_images_left_out": comparison.flat,
            "candidate_pairs": comparison.candidates,
            "candidate_pairs_left_out": comparison.left_out,
        },
        "settings": leakage.model_dump(),
    }
    _log_leaks(summary["found"], comparison)
    return leaks, summary


def _refuse_shared_groups(split: pd.DataFrame) -> None:
    subsets = split.groupby("group")["subset"].unique()
    shared = subsets[subsets.str.len() > 1]
    raise UserError(
        f"{counted(len(shared), 'group')} of a grouped split stand in more than one subset, the "
        f"first being '{shared.index[0]}' ({', '.join(sorted(shared.iloc[0]))}): the split was "
        "changed after it was made. Run kedro run --pipelines data_preparation again."
    )


def _log_leaks(found: dict[str, dict[str, dict[str, int]]], comparison: Comparison) -> None:
    # the index has warned of files under two labels
    said = [
        f"{counted(counts['pairs'], kind)} of {subsets}"
        for kind, by_subsets in found.items()
        if kind != CONFLICT
        for subsets, counts in by_subsets.items()
    ]
    if not said:
        log.info(
            "No leak between subsets: of %s with close hashes none shows the same picture",
            counted(comparison.candidates, "pair"),
        )
    else:
        advice = ". data_preparation.group.rule=same_number keeps a fake with what it was made of"
        log.warning(
            "Leaks between subsets: %s (leakage_audit lists them, leakage_gallery shows them)%s",
            "; ".join(said), advice if found[CROSS_CLASS] else "",
        )  # fmt: skip
    if comparison.left_out:
        log.warning(
            "%s with close hashes were not compared, so there may be more leaks: raise "
            "leakage.most_candidates, or lower leakage.hash_distance",
            counted(comparison.left_out, "pair"),
        )  # fmt: skip


def draw_leaks(
    leakage_audit: pd.DataFrame, training_images: Path, leakage: LeakageParameters
) -> Figure:
    """Draw the pairs of the audit side by side, the most alike first."""
    size, columns = leakage.gallery_pairs, leakage.gallery_columns
    return draw_pairs(leakage_audit, training_images, size, columns)
