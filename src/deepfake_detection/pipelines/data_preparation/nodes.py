"""Nodes of `data_preparation`: from a folder of images to the image index and the split."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.detector.fingerprints import fingerprint_of_split
from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ImageSetParameters, SplitParameters
from deepfake_detection.pipelines.data_preparation.origins import name_groups, name_sources
from deepfake_detection.pipelines.data_preparation.scanning import as_rows, find_files, scan_files
from deepfake_detection.pipelines.data_preparation.splitting import (
    count_groups,
    count_images,
    count_torn_groups,
    draw_subsets,
)

log = logging.getLogger(__name__)

INDEX_COLUMNS = [
    "path", "sha256", "class_name", "label", "source", "group", "width", "height", "bytes",
    "perceptual_hash", "brightness", "contrast", "sharpness",
]  # fmt: skip
SPLIT_COLUMNS = ["path", "sha256", "class_name", "label", "source", "group", "subset"]


def scan_images(training_images: Path, image_set: ImageSetParameters) -> pd.DataFrame:
    """Find every file of an image folder, and decode and measure each once.

    Args:
        training_images: The image folder.
        image_set: Class folders, the rule for sources, limits.

    Returns:
        A row for each file: path, class_name, reason (why it is not used, or None), source, and the
        measures of `ScannedFile`.

    Raises:
        UserError: If class folders and parameters don't agree.
    """
    files = find_files(training_images, image_set.classes)
    scanned = pd.DataFrame(as_rows(scan_files(training_images, files, image_set.max_pixels)))
    # sources are counted over all files that were found: a damaged one must not shift the rest
    inside = scanned[scanned["class_name"] != ""]
    scanned["source"] = name_sources(
        inside["path"], inside["class_name"], inside["reason"].isna(), image_set.source
    )
    return scanned


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
    """Make the image index: a row for each image that can be used.

    Args:
        scanned_images: What `scan_images` gave.
        rejected_images: What is not used; saved before this node runs.
        image_set: Labels, the rule for groups, the share that may be rejected.

    Raises:
        UserError: If too many files were rejected, or a class has no image left.
    """
    share = len(rejected_images) / len(scanned_images)
    if share > image_set.max_rejected_share:
        raise UserError(
            f"{len(rejected_images)} of {len(scanned_images)} files ({share:.1%}) cannot be used, "
            f"the first being {rejected_images['path'].iloc[0]} "
            f"({rejected_images['reason'].iloc[0]}). All are listed in rejected_images. Mend or "
            "remove them, or raise max_rejected_share."
        )
    used = scanned_images[scanned_images["reason"].isna()].reset_index(drop=True)
    for name, label in image_set.classes.items():
        if label is not None and not (used["class_name"] == name).any():
            raise UserError(f"class folder '{name}' has no image that can be read")
    labels = {name: int(label == "fake") for name, label in image_set.classes.items()}
    used["label"] = used["class_name"].map(labels).astype("int64")
    used["group"] = name_groups(
        used["path"], used["source"], used["sha256"], used["class_name"], image_set.group
    )
    image_index = used[INDEX_COLUMNS].astype(
        {"width": "int64", "height": "int64", "bytes": "int64"}
    )
    _log_index(image_index, len(rejected_images))
    return image_index


def _log_index(image_index: pd.DataFrame, rejected: int) -> None:
    counts = image_index["class_name"].value_counts(sort=False)
    log.info(
        "Found %d images (%s) of %d sources in %d groups; %d rejected",
        len(image_index), ", ".join(f"{count} {name}" for name, count in counts.items()),
        image_index["source"].nunique(), image_index["group"].nunique(), rejected,
    )  # fmt: skip
    copies = int(image_index["sha256"].duplicated().sum())
    if copies:
        log.warning("%d images are copies of others, byte for byte: they share a subset", copies)
    labels = image_index.groupby("sha256")["label"].nunique()
    if (labels > 1).any():
        torn = image_index[image_index["sha256"].isin(labels[labels > 1].index)]["path"]
        log.warning(
            "%d files stand under both labels, the first being %s: one of the two is wrong",
            len(torn), torn.iloc[0],
        )  # fmt: skip


def split_images(image_index: pd.DataFrame, split: SplitParameters) -> pd.DataFrame:
    """Put each image of the index into train, validation or test.

    Returns:
        A row for each image: path, sha256, class_name, label, source, group, subset.

    Raises:
        UserError: If a class has too few groups.
    """
    return image_index.assign(subset=draw_subsets(image_index, split))[SPLIT_COLUMNS]


def summarise_split(
    split: pd.DataFrame, parameters: SplitParameters, image_set: ImageSetParameters
) -> dict[str, Any]:
    """Say how a split was made and what came out.

    Returns:
        method, ratios, seed, images (by subset and class), groups (by subset),
        groups_in_more_than_one_subset, fingerprint, note, and the settings of the image set.
    """
    summary = {
        "method": parameters.method,
        "ratios": parameters.ratios.model_dump(),
        "seed": parameters.seed,
        "images": count_images(split),
        "groups": count_groups(split),
        "groups_in_more_than_one_subset": count_torn_groups(split),
        "fingerprint": fingerprint_of_split(split),
        "note": image_set.note,
        "data_preparation": image_set.model_dump(),
    }
    _log_split(summary)
    return summary


def _log_split(summary: dict[str, Any]) -> None:
    sizes = {subset: sum(counts.values()) for subset, counts in summary["images"].items()}
    log.info(
        "Split by %s: %s; fingerprint %s",
        summary["method"], ", ".join(f"{size} {subset}" for subset, size in sizes.items()),
        summary["fingerprint"][:12],
    )  # fmt: skip
    torn = summary["groups_in_more_than_one_subset"]
    if summary["method"] == "individual":
        log.warning(
            "The validation score will be inflated: the individual method puts images of one group "
            "into several subsets (%d groups), so that neighbours of training images are scored",
            torn,
        )  # fmt: skip
    if "test" not in sizes:
        log.info("There is no test subset: validation will choose the epoch and be the score too")
