"""The first lines of the page: the verdict, the headline figures, what they may be trusted for."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.subsets import headline_predictions, scored_subsets
from deepfake_detection.pipelines.reporting.figures import confusion_counts
from deepfake_detection.pipelines.reporting.leaks import weigh_leaks
from deepfake_detection.reports.parts import Card, Statement
from deepfake_detection.reports.words import counted, percent


def write_verdict(
    predictions: pd.DataFrame, description: Mapping[str, Any], split_summary: Mapping[str, Any]
) -> list[str]:
    """Up to two sentences: what detector, trained on what, and what became of the scored images.

    Args:
        predictions: A row for each scored image: label, predicted, source, subset.
        description: The detector's own, as `describe()` gives it.
        split_summary: Images by subset and class.
    """
    trained_on = split_summary["images"].get("train", {})
    kinds = ", ".join(f"{count:,} {folder}" for folder, count in trained_on.items() if count)
    lines = [
        f"This {description['backbone']} detector tells real face images from fake ones. It was "
        f"trained on {counted(sum(trained_on.values()), 'image')} ({kinds})."
    ]
    subset, scored = headline_predictions(predictions)
    if scored.empty:
        return [*lines, "It has not been scored: there are no predictions."]
    (passed, false_positives), (missed, found) = confusion_counts(scored).tolist()
    outcomes = []
    if missed + found:
        outcomes.append(f"it finds {found:,} of {missed + found:,} fakes and misses {missed:,}")
    if passed + false_positives:
        outcomes.append(
            f"it passes {passed:,} of {passed + false_positives:,} real images and raises "
            f"{counted(false_positives, 'false positive')}"
        )
    images = counted(len(scored), "image")
    sources = counted(scored["source"].nunique(), "source")
    lines.append(f"On {subset}, {images} of {sources}, {'; '.join(outcomes)}.")
    return lines


def pick_cards(metric_table: pd.DataFrame, predictions: pd.DataFrame) -> list[Card]:
    """The four headline figures of the headline subset, each with what it rests on.

    Args:
        metric_table: metric, subset, level, class_name, value, n and perhaps low, high.
        predictions: A row for each scored image: label, predicted, subset.
    """
    subset, scored = headline_predictions(predictions)
    table = metric_table[metric_table["subset"] == subset]
    (passed, false_positives), (missed, found) = confusion_counts(scored).tolist()
    fakes, real = missed + found, passed + false_positives
    always_one = max(fakes, real) / max(len(scored), 1)
    answer = "fake" if fakes >= real else "real"
    return [
        _card(
            "Fakes found",
            table,
            ("recall", "fake"),
            (f"{counted(missed, 'false negative')} among {fakes:,}",),
            "false negative",
        ),
        _card(
            "Real ones passed",
            table,
            ("recall", "real"),
            (f"{counted(false_positives, 'false positive')} among {real:,}",),
            "false positive",
        ),
        _card(
            "Accuracy",
            table,
            ("accuracy", None),
            (f"always saying “{answer}”: {percent(always_one)}",),
            subset,
        ),
        _card("ROC AUC", table, ("roc_auc", None), ("0.5 is guessing, 1 is perfect",), subset),
    ]


def _card(
    name: str,
    table: pd.DataFrame,
    key: tuple[str, str | None],
    beneath: tuple[str, ...],
    thing: str,
) -> Card:
    row = _find(table, key, "image")
    if row is None or math.isnan(row["value"]):
        why = row["note"] if row is not None and isinstance(row["note"], str) else None
        return Card(name, "\N{EN DASH}", (why or "undefined",), thing)
    written = _plain if key[0] == "roc_auc" else percent
    low, high = row.get("low", math.nan), row.get("high", math.nan)
    interval = () if pd.isna(low) or pd.isna(high) else (f"{written(low)} to {written(high)}",)
    by_source = _find(table, key, "source")
    averaged: tuple[str, ...] = ()
    if by_source is not None and not math.isnan(by_source["value"]):
        averaged = (f"by source: {written(by_source['value'])}",)
    return Card(name, written(row["value"]), (*interval, *beneath, *averaged), thing)


def _plain(value: float) -> str:
    return f"{value:.3f}"


def _find(table: pd.DataFrame, key: tuple[str, str | None], level: str) -> pd.Series | None:
    metric, class_name = key
    of_class = (
        table["class_name"].isna() if class_name is None else table["class_name"] == class_name
    )
    rows = table[(table["metric"] == metric) & (table["level"] == level) & of_class]
    return None if rows.empty else rows.iloc[0]


def weigh_trust(
    predictions: pd.DataFrame,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
) -> list[Statement]:
    """What the score may be trusted for, the warnings first.

    Args:
        predictions: A row for each scored image: source, subset.
        description: The detector's own, with its split's method and fingerprint.
        split_summary: method, groups, groups_in_more_than_one_subset, fingerprint.
        leakage_summary: split_fingerprint, found, compared, settings.
    """
    statements = [
        _about_split(split_summary),
        weigh_leaks(leakage_summary, split_summary),
        _about_choice(predictions, description),
        *_about_other_split(description, split_summary),
        _about_size(predictions),
        Statement(
            "plain",
            "These images, not all images",
            "The score holds for images of the same origin as these. How the detector does on "
            "other cameras, other people and fakes made in other ways has to be scored there.",
        ),
    ]
    return sorted(statements, key=lambda statement: statement.tone != "warning")


def _about_split(split_summary: Mapping[str, Any]) -> Statement:
    shared = int(split_summary["groups_in_more_than_one_subset"])
    groups = f"{counted(shared, 'group')} {'stands' if shared == 1 else 'stand'} in more than one"
    if split_summary["method"] == "individual":
        scored = "validation and test scores are" if _has_test(split_summary) else (
            "validation score is"
        )  # fmt: skip
        return Statement(
            "warning",
            f"The {scored} inflated",
            "The split was made image by image (method individual), so neighbouring images of one "
            f"source stand in training and validation: {groups} subset. The detector is asked "
            "about near-copies of images it has learned, and looks better than it is. Believe a "
            "score only of a split by group.",
        )
    if shared:
        return Statement(
            "warning",
            "Groups stand in more than one subset",
            f"{groups} subset, although the split was made by group. Scores of such images are "
            "inflated.",
        )
    return Statement(
        "plain",
        "Split by group",
        "All images of a group stand in the same subset: 0 groups stand in more than one. So "
        "nothing that was scored is a neighbour of an image that was learned, as far as the groups "
        "hold together what belongs together.",
    )


def _has_test(split_summary: Mapping[str, Any]) -> bool:
    return sum(split_summary["images"].get("test", {}).values()) > 0


def _about_choice(predictions: pd.DataFrame, description: Mapping[str, Any]) -> Statement:
    subsets = scored_subsets(predictions)
    calibration = description.get("calibration", {})
    chosen = choices_on_validation(calibration)
    also = "".join(f", the {name} fitted" for name in calibration.get("fitted", []))
    were = f"{chosen[0].upper()}{chosen[1:]} {'were' if ' and ' in chosen else 'was'}"
    if "test" in subsets:
        return Statement(
            "plain",
            "Test chose nothing",
            f"{were} chosen on validation. The headline figures come from test, which had "
            "no part in any choice.",
        )
    if subsets and "validation" not in subsets:
        return Statement(
            "plain",
            "Scored on other images",
            f"{were} chosen on validation; the headline figures come from {subsets[0]}.",
        )
    return Statement(
        "warning",
        f"Validation also chose {chosen}",
        f"There is no test subset: the epoch with the highest validation accuracy was kept{also}, "
        "and the headline figures are of the same images. Read them as upper ends; a test subset "
        "would give a score on which nothing was chosen.",
    )


def _about_other_split(
    description: Mapping[str, Any], split_summary: Mapping[str, Any]
) -> list[Statement]:
    if description["split"]["fingerprint"] == split_summary["fingerprint"]:
        return []
    return [
        Statement(
            "warning",
            "The split was made anew since",
            "The data shown here is of another split than the one this detector was trained on "
            f"(method {description['split']['method']}). Run the training and the evaluation "
            "again to see both together.",
        )
    ]


def _about_size(predictions: pd.DataFrame) -> Statement:
    subset, scored = headline_predictions(predictions)
    counts = scored["label"].map({0: "real", 1: "fake"}).value_counts()
    by_class = " and ".join(f"{counts.get(name, 0):,} {name}" for name in ("real", "fake"))
    sources = counted(scored["source"].nunique(), "source")
    return Statement(
        "plain",
        f"It rests on {sources}",
        f"The {subset} subset holds {by_class} images of {sources}. Images of one source resemble "
        "each other: the number of sources, not of images, says how much chance is in the score.",
    )
