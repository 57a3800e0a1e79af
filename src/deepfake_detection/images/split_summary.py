"""What is said of a split, wherever a detector goes that was trained on it."""

from typing import Any

import pandas as pd

from deepfake_detection.images.fingerprints import fingerprint_of_split
from deepfake_detection.images.input_shift import summarise_sizes
from deepfake_detection.parameters import ImageSetParameters, Ratios

SUBSETS = ("train", "validation", "test")


def describe_split(
    split: pd.DataFrame,
    image_index: pd.DataFrame,
    *,
    method: str,
    ratios: Ratios,
    seed: int,
    image_set: ImageSetParameters,
) -> dict[str, Any]:
    """Say how a split was made and what came out.

    Args:
        split: A row for each image: sha256, class_name, label, group, subset.
        image_index: Of the same images: width, height.
        method: group, individual; or all, where nothing is left for another subset.
        ratios: Shares of the subsets.
        seed: Of the draw.
        image_set: Where the images come from.

    Returns:
        method, ratios, seed, images (by subset and class), groups (by subset),
        groups_in_more_than_one_subset, fingerprint, note, image_sizes (see
        `summarise_sizes`), and the settings of the image set.
    """
    return {
        "method": method,
        "ratios": ratios.model_dump(),
        "seed": seed,
        "images": count_images(split),
        "groups": count_groups(split),
        "groups_in_more_than_one_subset": count_torn_groups(split),
        "fingerprint": fingerprint_of_split(split),
        "note": image_set.note,
        "image_sizes": summarise_sizes(
            image_index["width"].tolist(), image_index["height"].tolist()
        ),
        "data_preparation": image_set.model_dump(),
    }


def count_images(split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images by subset and class."""
    table = pd.crosstab(split["subset"], split["class_name"])
    counts = table.to_dict("index")
    return {
        subset: {str(name): int(count) for name, count in counts[subset].items()}
        for subset in SUBSETS
        if subset in counts
    }


def count_groups(split: pd.DataFrame) -> dict[str, int]:
    """Groups by subset; one that stands in several counts in each."""
    groups = split.groupby("subset")["group"].nunique()
    return {subset: int(groups[subset]) for subset in SUBSETS if subset in groups.index}


def count_torn_groups(split: pd.DataFrame) -> int:
    """Groups that stand in more than one subset."""
    pairs = split[["group", "subset"]].drop_duplicates()
    return int((pairs.groupby("group")["subset"].size() > 1).sum())
