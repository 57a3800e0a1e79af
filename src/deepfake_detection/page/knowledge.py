"""What a detector knows and what it does not, in plain sentences out of its own card."""

from collections.abc import Iterator, Mapping
from typing import Any

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.reports.parts import Statement
from deepfake_detection.reports.words import counted, percent

# The threshold at which an epoch's accuracy is counted
_EVEN = 0.5


def tell_what_it_knows(description: Mapping[str, Any], trained_on: int) -> list[Statement]:
    """What has to be known before a score is read: warnings first, then knowledge, then limits.

    Args:
        description: The detector's own, as `describe()` gives it.
        trained_on: How many images it was trained on.
    """
    split = description["split"]
    return [
        *_about_note(split.get("note")),
        *_about_leaks(split),
        Statement(
            "plain",
            "What this detector knows",
            " ".join([_training(description, trained_on), *_validation(description)]),
        ),
        Statement("plain", "What it does not know", " ".join(_limits(description))),
    ]


def count_fakes(description: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many images of each class folder it was trained on: by label, then by folder.

    Args:
        description: The detector's own.

    Returns:
        `fake` and `real`, each empty where the split does not tell.
    """
    images: Mapping[str, int] = description["split"].get("images", {}).get("train", {})
    return {
        label: {
            folder: count
            for folder, count in images.items()
            if count and description["classes"].get(folder) == label
        }
        for label in ("fake", "real")
    }


def _about_note(note: str | None) -> Iterator[Statement]:
    if note:
        yield Statement(
            "warning",
            "A note on the images it was trained on",
            f"{note.strip()} What it says of any other kind of picture means nothing: where it was "
            "trained on drawings, that is every photograph.",
        )


def _about_leaks(split: Mapping[str, Any]) -> Iterator[Statement]:
    if split.get("method") == "individual" or split.get("groups_in_more_than_one_subset"):
        yield Statement(
            "warning",
            "It looks better than it is",
            "Images that belong together, such as neighbours in one video, stood in training and "
            "in validation. So its validation figure is inflated, and new pictures get worse "
            "scores than it promises.",
        )


def _training(description: Mapping[str, Any], trained_on: int) -> str:
    start = f"It is a {description['backbone']} trained on {counted(trained_on, 'image')}"
    counts = count_fakes(description)
    if not any(counts.values()):
        kinds = [name for name, label in description["classes"].items() if label == "fake"]
        return f"{start}. The kinds of fake among them: {', '.join(kinds)}."
    told = " and ".join(_kinds(label, folders) for label, folders in counts.items() if folders)
    return f"{start}: {told}. It knows no other kind of fake."


def _kinds(label: str, folders: Mapping[str, int]) -> str:
    total = f"{sum(folders.values()):,} {label}"
    if list(folders) == [label]:
        return total
    return f"{total} ({', '.join(f'{count:,} {folder}' for folder, count in folders.items())})"


def _validation(description: Mapping[str, Any]) -> Iterator[str]:
    split = description["split"]
    scored = sum(split.get("images", {}).get("validation", {}).values())
    of_how_many = f" of {counted(scored, 'image')}" if scored else ""
    at = f" at a threshold of {_EVEN}" if description["threshold"] != _EVEN else ""
    yield (
        f"On the validation subset{of_how_many} of its own split it was right in "
        f"{percent(description['best_validation_accuracy'])}{at}."
    )
    chosen = choices_on_validation(description.get("calibration", {}))
    yield f"That subset also chose {chosen}, so expect less elsewhere."
    if split.get("method") == "group" and not split.get("groups_in_more_than_one_subset"):
        yield "The split kept images that belong together in one subset."


def _limits(description: Mapping[str, Any]) -> Iterator[str]:
    crop, resize = (description["preprocessing"][name] for name in ("crop", "resize"))
    yield (
        "Fakes made in other ways, other cameras, other people: how it does on them is unknown "
        "until it is scored there."
    )
    yield (
        f"It looks for no face. It scales a picture until its shorter side has {resize} pixels and "
        f"sees the {crop}×{crop} in the middle, so give it pictures cut to one face; anything else "
        "gets a number too."
    )
    yield (
        "A score is no evidence: it says how much a picture resembles the fakes of its training, "
        "not who made it or how."
    )
