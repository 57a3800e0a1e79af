"""What a user has to know about a detector before believing its scores, from its card."""

from collections.abc import Iterator, Mapping
from typing import Any

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.reports.parts import Statement
from deepfake_detection.reports.words import counted, percent


def describe_detector(
    detector: Detector, test_scores: Mapping[str, Any] | None = None
) -> list[Statement]:
    """List what is known about a detector: warnings first, then its training.

    `test_scores` are the metrics of its run's test images; None if they are not at hand.
    """
    card = detector.card
    if card.imported_from is not None:
        return list(_describe_imported(detector))
    training = [_describe_images(card, len(detector.trained_on))]
    if test_scores:
        training.append(_describe_test(test_scores["accuracy"]))
    else:
        training += ["Its test score is unknown here.", *_describe_validation(card)]
    statements = [Statement("plain", "Training and test", " ".join(training))]
    if _is_inflated(card):
        text = (
            "Related images, such as neighbouring frames of a video, were both in training and in "
            "validation. The validation accuracy is too high, and new images are scored worse."
        )
        statements.insert(0, Statement("warning", "Inflated validation accuracy", text))
    if note := card.split.get("note"):
        text = (
            f"{note.strip()} Scores of any other kind of image mean nothing. A detector trained on "
            "drawings says nothing about photographs."
        )
        statements.insert(0, Statement("warning", "Note on the training images", text))
    return statements


def _describe_imported(detector: Detector) -> Iterator[Statement]:
    card = detector.card
    text = (
        f"The weights of this {card.backbone} come from elsewhere ({card.imported_from}). Any "
        "image may be one that it was trained on, and its score then says nothing about new "
        f"images. Its kinds of fake, as told at the import: {', '.join(card.known_fakes)}."
    )
    yield Statement("warning", "Its training images are unknown", text)
    chosen = choices_on_validation(card.calibration)
    if chosen:
        text = f"{counted(len(detector.validated_on), 'image')} chose {chosen}."
    else:
        text = "It is not calibrated: read its probabilities as scores."
    yield Statement("plain", "Calibration", text)


def _is_inflated(card: DetectorCard) -> bool:
    method = card.vouched_by.get("split_method", card.split.get("method"))
    return method == "individual" or bool(card.split.get("groups_in_more_than_one_subset"))


def _describe_images(card: DetectorCard, trained_on: int) -> str:
    start = f"A {card.backbone} trained on {counted(trained_on, 'image')}"
    counts: Mapping[str, int] = card.split.get("images", {}).get("train", {})
    folders = [f"{n:,} {name} ({card.classes.get(name)})" for name, n in counts.items() if n]
    if not folders:
        return f"{start}. Its kinds of fake: {', '.join(card.known_fakes)}."
    return f"{start}: {', '.join(folders)}. It knows no other kind of fake."


def _describe_test(accuracy: Mapping[str, Any]) -> str:
    low, high = accuracy["low"], accuracy["high"]
    # there is none where all images are of one group
    interval = "" if low is None else f" (95 % interval: {percent(low)} to {percent(high)})"
    return (
        f"On {counted(accuracy['n'], 'test image')}, which chose nothing, its accuracy is "
        f"{percent(accuracy['value'])}{interval}. Other images may be scored worse."
    )


def _describe_validation(card: DetectorCard) -> Iterator[str]:
    if card.best_validation_accuracy is None:
        yield "No image was left for validation, so it has no validation accuracy of its own."
        of_run = card.vouched_by.get("best_validation_accuracy")
        if of_run is not None:
            yield (
                "Its settings come from a run whose detector, trained on "
                f"{counted(card.vouched_by['images'], 'image')}, had a validation accuracy of "
                f"{percent(of_run)}. Validation also chose its epoch, so expect less on new images."
            )
        return
    validation = sum(card.split.get("images", {}).get("validation", {}).values())
    on = f" on {counted(validation, 'image')}" if validation else ""
    # the threshold of an epoch's accuracy
    at = " at a threshold of 0.5" if card.threshold != 0.5 else ""
    yield f"Its validation accuracy{on} is {percent(card.best_validation_accuracy)}{at}."
    chosen = choices_on_validation(card.calibration)
    yield f"Validation also chose {chosen}, so expect less on new images."
    if card.split.get("method") in ("group", "official") and not _is_inflated(card):
        yield "The split kept related images in one subset."
