"""The headline figures: what became of the images of the headline subset."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.pipelines.reporting.figures import confusion_counts
from deepfake_detection.reports.parts import Card
from deepfake_detection.reports.words import counted, percent, rounded, rounded_percent


def count_outcomes(predictions: pd.DataFrame) -> dict[str, Any]:
    """Images of the headline subset: accepted are real images called real, detected fakes."""
    subset, scored = headline_predictions(predictions)
    counts = confusion_counts(scored)
    real, fakes = counts.sum(axis=1).tolist()
    return {
        "subset": subset, "images": len(scored), "sources": scored["source"].nunique(),
        "groups": scored["group"].nunique(),
        "real": real, "accepted": int(counts[0, 0]), "fakes": fakes, "detected": int(counts[1, 1]),
    }  # fmt: skip


def say_verdict(outcomes: Mapping[str, Any], image: str) -> str:
    """The outcomes in one line; pages call an image `image`."""
    told = []
    if outcomes["fakes"]:
        told.append(f"Detects {outcomes['detected']:,} of {counted(outcomes['fakes'], 'fake')}")
    if outcomes["real"]:
        told.append(
            f"accepts {outcomes['accepted']:,} of {counted(outcomes['real'], f'real {image}')}"
        )
    words = ", ".join(told) or "not scored"
    return words[:1].upper() + words[1:]


def pick_cards(
    metric_table: pd.DataFrame,
    predictions: pd.DataFrame,
    confidence: float,
    source: str,
    baseline: float | None,
) -> list[Card]:
    """The four headline figures of the headline subset; pages call a source `source`.

    `baseline` is the ROC AUC of simple statistics of the pixels, which a detector has to beat.
    """
    counts = count_outcomes(predictions)
    subset, fakes, real = counts["subset"], counts["fakes"], counts["real"]
    missed, false_positives = fakes - counts["detected"], real - counts["accepted"]
    table = metric_table[metric_table["subset"] == subset]
    constant = "fake" if fakes >= real else "real"
    share = percent(max(fakes, real) / max(counts["images"], 1))
    to_beat = "0.5 is guessing"
    if baseline is not None:
        to_beat = f"simple statistics of the pixels: {baseline:.2f}"
    figures = (
        ("Recall (fakes detected)", "recall", "fake", "false negative",
         f"{counted(missed, 'false negative')} among {fakes:,}"),
        ("Specificity (real correctly accepted)", "recall", "real", "false positive",
         f"{counted(false_positives, 'false positive')} among {real:,}"),
        ("Accuracy", "accuracy", None, subset, f"always saying “{constant}”: {share}"),
        ("ROC AUC", "roc_auc", None, subset, to_beat),
    )  # fmt: skip
    return [
        _card(name, table, (metric, class_name), thing, beneath, confidence, source)
        for name, metric, class_name, thing, beneath in figures
    ]


def _card(
    name: str,
    table: pd.DataFrame,
    key: tuple[str, str | None],
    thing: str,
    beneath: str,
    confidence: float,
    source: str,
) -> Card:
    row = _find(table, key, "image")
    if row is None or pd.isna(row["value"]):
        reason = row["note"] if row is not None and isinstance(row["note"], str) else "undefined"
        return Card(name, "\N{EN DASH}", (reason,), thing)
    low, high = row.get("low", math.nan), row.get("high", math.nan)
    write = rounded if key[0] == "roc_auc" else rounded_percent
    written = partial(write, width=high - low)
    lines = [beneath]
    if not pd.isna(high - low):
        lines.insert(0, f"{100 * confidence:g} % CI {written(low)} to {written(high)}")
    by_source = _find(table, key, "source")
    if by_source is not None and not pd.isna(by_source["value"]):
        lines.append(f"by {source}: {written(by_source['value'])}")
    return Card(name, written(row["value"]), tuple(lines), thing)


def _find(table: pd.DataFrame, key: tuple[str, str | None], level: str) -> pd.Series | None:
    metric, class_name = key
    classes = table["class_name"]
    of_class = classes.isna() if class_name is None else classes == class_name
    rows = table[(table["metric"] == metric) & (table["level"] == level) & of_class]
    return None if rows.empty else rows.iloc[0]
