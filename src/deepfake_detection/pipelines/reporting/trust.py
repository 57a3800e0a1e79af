"""How far to trust the score: the split, the leakage audit, the selection, the size."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.subsets import headline_predictions, scored_subsets
from deepfake_detection.reports.parts import Statement
from deepfake_detection.reports.words import counted

_CROSS_CLASS = "cross-class near-duplicate"
_LEAKS = {
    "exact duplicate": "the same file",
    "label conflict": "the same file under two labels",
    "near-duplicate": "nearly the same picture",
    _CROSS_CLASS: "nearly the same picture in another class, such as a fake and its original",
}


def weigh_trust(
    predictions: pd.DataFrame,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
) -> list[Statement]:
    """What limits or supports the trust in the score, the warnings first.

    Args:
        predictions: A row for each scored image: label, source, subset.
        description: The detector's own, with its split's method and fingerprint.
        split_summary: method, images, groups_in_more_than_one_subset, fingerprint.
        leakage_summary: split_fingerprint, found, compared, settings.
    """
    statements = [
        _weigh_split(split_summary),
        weigh_leaks(leakage_summary, split_summary),
        _weigh_selection(predictions, description),
        *_weigh_other_split(description, split_summary),
        _weigh_size(predictions),
        Statement(
            "plain",
            "It holds for images like these",
            "Images from other cameras, of other people, or faked by other methods may give "
            "another score. Score them to find out.",
        ),
    ]
    return sorted(statements, key=lambda statement: statement.tone != "warning")


def _weigh_split(split_summary: Mapping[str, Any]) -> Statement:
    shared = int(split_summary["groups_in_more_than_one_subset"])
    are = f"{counted(shared, 'group')} {'is' if shared == 1 else 'are'} in more than one subset"
    if split_summary["method"] == "individual":
        has_test = sum(split_summary["images"].get("test", {}).values()) > 0
        scored = "validation and test scores are" if has_test else "validation score is"
        return Statement(
            "warning",
            f"The {scored} inflated",
            "The split was made image by image (method individual), so images of one source are in "
            f"training and in validation: {are}. The detector is scored on near-copies of its "
            "training images. Only a split by group gives a score to trust.",
        )
    if shared:
        return Statement(
            "warning",
            "Groups are in more than one subset",
            f"{are}, although the split was made by group. Scores of their images are inflated.",
        )
    return Statement(
        "plain",
        "Split by group",
        "All images of a group are in the same subset, so no scored image belongs to a group that "
        "was trained on.",
    )


def _weigh_selection(predictions: pd.DataFrame, description: Mapping[str, Any]) -> Statement:
    subsets = scored_subsets(predictions)
    calibration = description.get("calibration", {})
    chosen = choices_on_validation(calibration)
    were = f"{chosen[0].upper()}{chosen[1:]} {'were' if ' and ' in chosen else 'was'}"
    if "test" in subsets:
        return Statement(
            "plain",
            "The test set was not used for selection",
            f"{were} chosen on validation; the headline figures come from test.",
        )
    if subsets and "validation" not in subsets:
        return Statement(
            "plain",
            "Scored on other images",
            f"{were} chosen on validation; the headline figures come from {subsets[0]}.",
        )
    also = "".join(f", the {name} fitted" for name in calibration.get("fitted", []))
    return Statement(
        "warning",
        f"Validation also chose {chosen}",
        f"There is no test subset: the epoch with the highest validation accuracy was kept{also}, "
        "and the headline figures come from the same images. They are optimistic; a test subset "
        "gives an unbiased score.",
    )


def _weigh_other_split(
    description: Mapping[str, Any], split_summary: Mapping[str, Any]
) -> list[Statement]:
    if description["split"]["fingerprint"] == split_summary["fingerprint"]:
        return []
    return [
        Statement(
            "warning",
            "The split has changed since the training",
            "The data shown here is of another split than the one this detector was trained on "
            f"(method {description['split']['method']}). Run training and evaluation again.",
        )
    ]


def _weigh_size(predictions: pd.DataFrame) -> Statement:
    subset, scored = headline_predictions(predictions)
    fakes = int((scored["label"] == 1).sum())
    sources = counted(scored["source"].nunique(), "source")
    return Statement(
        "plain",
        f"It rests on {sources}",
        f"The {subset} subset holds {len(scored) - fakes:,} real and {fakes:,} fake images of "
        f"{sources}. Images of one source are alike, so the number of sources determines how "
        "uncertain the score is.",
    )


def weigh_leaks(leakage_summary: Mapping[str, Any], split_summary: Mapping[str, Any]) -> Statement:
    """How many pictures have a copy or near-copy in another subset; a warning if there are any.

    Args:
        leakage_summary: split_fingerprint, found ({kind: {"train and test": {pairs, images}}},
            images being those of the later subset), compared, settings.
        split_summary: fingerprint.
    """
    if leakage_summary["split_fingerprint"] != split_summary["fingerprint"]:
        return Statement(
            "warning",
            "The leakage audit is of another split",
            "It is unknown whether pictures of this split have copies in another subset: "
            "kedro run --pipelines data_preparation repeats the audit.",
        )
    found = {kind: places for kind, places in leakage_summary["found"].items() if places}
    settings, compared = leakage_summary["settings"], leakage_summary["compared"]
    searched = (
        f"{counted(compared['images'], 'image')} of different groups were compared: equal files, "
        "and near-duplicates (perceptual hashes at most "
        f"{counted(settings['hash_distance'], 'bit')} apart, correlation of the thumbnails at least "
        f"{settings['correlation']:g}). Mirrored, cropped or rotated copies are not found."
    )
    if left_out := compared["candidate_pairs_left_out"]:
        searched += f" {counted(left_out, 'pair')} with close hashes were not compared: too many."
    if not found:
        return Statement("plain", "No copies across subsets were found", searched)
    across = "Near-copies across subsets, in other classes"
    listed = "; ".join(f"{_LEAKS.get(kind, kind)}: {_list(found[kind])}" for kind in found)
    return Statement(
        "warning",
        across if set(found) == {_CROSS_CLASS} else "Copies across subsets were found",
        f"{listed[0].upper()}{listed[1:]}. The detector has seen such pictures in training, so "
        "their scores say less. leakage_audit lists the pairs, leakage_gallery shows them. "
        f"{searched}",
    )


def _list(places: Mapping[str, Mapping[str, int]]) -> str:
    """`39 images of test in train, 19 images of validation in train`."""
    said = []
    for name, counts in places.items():
        earlier, _, later = name.partition(" and ")
        images = counted(counts["images"], "image")
        # two labels can also be given to a file within one subset
        said.append(
            f"{images} within {later}" if earlier == later else f"{images} of {later} in {earlier}"
        )
    return ", ".join(said)
