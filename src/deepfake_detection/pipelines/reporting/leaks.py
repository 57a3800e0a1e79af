"""What the leakage audit says of the score."""

from collections.abc import Mapping
from typing import Any

from deepfake_detection.reports.parts import Statement
from deepfake_detection.reports.words import counted

_CROSS_CLASS = "cross-class near-duplicate"
_WORDS = {
    "exact duplicate": "the same file",
    "label conflict": "the same file under two labels",
    "near-duplicate": "nearly the same picture",
    _CROSS_CLASS: "nearly the same picture in another class, as a fake and what it was made of",
}
_AGAIN = "kedro run --pipelines data_preparation makes the audit again."


def weigh_leaks(leakage_summary: Mapping[str, Any], split_summary: Mapping[str, Any]) -> Statement:
    """How many pictures stand, or nearly stand, in two subsets; a warning if there are any.

    Args:
        leakage_summary: split_fingerprint, found ({kind: {"train and test": {pairs, images}}},
            images being those of the later subset), compared, settings.
        split_summary: fingerprint.
    """
    if leakage_summary["split_fingerprint"] != split_summary["fingerprint"]:
        return Statement(
            "warning",
            "The leakage audit is of another split",
            "Whether pictures of this split stand, or nearly stand, in two subsets is not known: "
            f"{_AGAIN}",
        )
    found = {kind: places for kind, places in leakage_summary["found"].items() if places}
    settings = leakage_summary["settings"]
    searched = (
        f"Searched were {counted(leakage_summary['compared']['images'], 'image')}, across groups, "
        f"for equal files and for near-duplicates: perceptual hashes at most "
        f"{counted(settings['hash_distance'], 'bit')} apart, thumbnails that correlate by "
        f"{settings['correlation']:g} or more. Mirrored, cropped or rotated copies are not found."
        f"{_left_out(leakage_summary['compared'])}"
    )
    if not found:
        return Statement("plain", "No picture was found in two subsets", searched)
    heading = (
        "Pictures nearly stand in two subsets, in other classes"
        if set(found) == {_CROSS_CLASS}
        else "Pictures stand, or nearly stand, in two subsets"
    )
    listed = "; ".join(f"{_WORDS.get(kind, kind)}: {_places(found[kind])}" for kind in found)
    return Statement(
        "warning",
        heading,
        f"{listed[0].upper()}{listed[1:]}. What was learned helps to judge such pictures, so their "
        f"scores say less. leakage_audit lists the pairs, leakage_gallery shows them. {searched}",
    )


def _places(places: Mapping[str, Mapping[str, int]]) -> str:
    """`39 images of test in train, 19 of validation in train`."""
    said: list[str] = []
    for name, counts in places.items():
        earlier, _, later = name.partition(" and ")
        images = f"{counts['images']:,}" if said else counted(counts["images"], "image")
        # two labels can also be given to a file within one subset
        said.append(
            f"{images} within {later}" if earlier == later else f"{images} of {later} in {earlier}"
        )
    return ", ".join(said)


def _left_out(compared: Mapping[str, int]) -> str:
    pairs = compared["candidate_pairs_left_out"]
    if not pairs:
        return ""
    were = "was" if pairs == 1 else "were"
    return f" {counted(pairs, 'pair')} with close hashes {were} too many to be compared."
