"""The summary of a split; it is stored in each detector that was trained on it."""

import json
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
    """Describe how a split was made and its result.

    Args:
        split: Columns sha256, class_name, label, source, group, subset.
        image_index: Of the same images: width, height, medium, crop_recipe.
        method: group, individual, official; or all: every image is in one subset.
        ratios: Shares of the subsets.
        seed: Of the draw.
        image_set: Settings of the images; stored as `data_preparation`.
    """
    subsets_of_group = split.groupby("group")["subset"].nunique()
    summary = {
        "method": method,
        "ratios": ratios.model_dump(),
        "seed": seed,
        "images": count_images(split),
        # one that stands in several subsets is counted in each
        "groups": _in_order(split.groupby("subset")["group"].nunique().to_dict()),
        "groups_in_more_than_one_subset": int((subsets_of_group > 1).sum()),
        "fingerprint": fingerprint_of_split(split),
        "note": image_set.note,
        "image_sizes": summarise_sizes(image_index["width"], image_index["height"]),
        "data_preparation": image_set.model_dump(),
        "medium": _common_value(image_index, "medium"),
    }
    if recipe := _common_value(image_index, "crop_recipe"):
        summary["crop_recipe"] = json.loads(recipe)
    if method == "group" and image_set.group.rule == "source":
        shared = _count_shared_source_numbers(split)
        if shared["split_between_subsets"]:
            summary["shared_source_numbers"] = shared
    return summary


def _common_value(image_index: pd.DataFrame, column: str) -> str | None:
    """What a column says of every image, if it says the same."""
    # an index of an older version does not have it
    if column not in image_index or image_index[column].isna().any():
        return None
    found = set(image_index[column])
    return found.pop() if len(found) == 1 else None


def count_images(split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images by subset and class."""
    return _in_order(pd.crosstab(split["subset"], split["class_name"]).to_dict("index"))


def _in_order(counts: dict[Any, Any]) -> dict[str, Any]:
    return {subset: counts[subset] for subset in SUBSETS if subset in counts}


def _count_shared_source_numbers(split: pd.DataFrame) -> dict[str, int]:
    """Sources whose number (or matched name) occurs in several classes; those of several subsets.

    A fake often carries the number of the real video that it was made of. The group rule `source`
    may then put the two into different subsets.
    """
    sources = split[["class_name", "source", "subset"]].drop_duplicates()
    names = zip(sources["class_name"], sources["source"], strict=True)
    numbers = pd.Series([source.removeprefix(f"{name}/") for name, source in names])
    counts = sources.groupby(numbers.to_numpy())[["class_name", "source", "subset"]].nunique()
    shared = counts[counts["class_name"] > 1]
    between = shared[shared["subset"] > 1]
    return {
        "sources": int(shared["source"].sum()),
        "split_between_subsets": int(between["source"].sum()),
    }
