"""The page of `generalisation`: what detectors lose on sets from elsewhere."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    EvaluationParameters,
    GeneralisationParameters,
    PublishedResults,
)
from deepfake_detection.pipelines.generalisation.figure import draw_generalisation
from deepfake_detection.pipelines.generalisation.labelled_sets import count_lost
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.embedded_figures import embed_figure
from deepfake_detection.reports.parts import Card, Cell, Statement, Table
from deepfake_detection.reports.words import (
    counted,
    listed,
    probability,
    rounded,
    rounded_percent,
)

_CHANCE = 0.5
_LEVELS = {"frame": "image", "video": "source"}
_MATRIX = (
    ("ROC AUC", "by image", ("image", "roc_auc", None)),
    ("ROC AUC", "by source", ("source", "roc_auc", None)),
    ("Accuracy", "at its threshold", ("image", "accuracy", None)),
    ("Recall of fakes", "", ("image", "recall", "fake")),
    ("Recall of real ones", "", ("image", "recall", "real")),
    ("Average precision", "", ("image", "average_precision", None)),
    ("Equal error rate", "", ("image", "equal_error_rate", None)),
)


def report_generalisation(
    generalisation_table: pd.DataFrame,
    set_differences: pd.DataFrame,
    lost_of_sets: pd.DataFrame,
    detectors: dict[str, Detector],
    generalisation: GeneralisationParameters,
    published_results: PublishedResults,
    evaluation: EvaluationParameters,
) -> tuple[str, Figure]:
    """Write the page of the pipeline, and draw its figure."""
    figure = draw_generalisation(generalisation_table)
    areas = generalisation_table.query("level == 'image' and metric == 'roc_auc'")
    detectors = {name: each for name, each in detectors.items() if name in set(areas["detector"])}
    kinds = _tabulate_kinds(generalisation_table)
    pairs = _tabulate_pairs(set_differences)
    published = list(_tabulate_published(generalisation_table, generalisation, published_results))
    sections = {
        "sets": "Sets",
        "kinds": "Kinds of fake" if kinds.rows else "",
        "pairs": "Comparison" if pairs.rows else "",
        "published": "Published figures" if published else "",
        "lost": "Lost images",
        "detectors": "Detectors",
    }
    contents = {
        "eyebrow": "Deepfake detection: sets from elsewhere",
        "heading": "Does it hold elsewhere?",
        "notes": _notes(detectors, generalisation),
        "verdict": [_say(str(name), rows) for name, rows in areas.groupby("detector", sort=False)],
        "statements": list(_warn(areas, lost_of_sets, detectors)),
        "cards": _cards(areas, lost_of_sets, rounded_percent(evaluation.confidence)),
        "confidence": rounded_percent(evaluation.confidence),
        "sections": {name: title for name, title in sections.items() if title},
        "figure": embed_figure(
            "generalisation_figure", "ROC AUC of each detector on each set, with intervals", figure
        ),
        "matrix": _tabulate_sets(generalisation_table),
        "kinds": kinds,
        "pairs": pairs,
        "published": published,
        "lost": _tabulate_lost(lost_of_sets, generalisation_table),
        "detectors": _describe(detectors),
    }
    package = "deepfake_detection.pipelines.generalisation"
    return render_document(package, "generalisation.html.j2", contents), figure


def _number(row: Mapping[Any, Any] | None) -> Cell:
    """A value with its interval."""
    if row is None or pd.isna(row["value"]):
        return Cell("–")
    if pd.isna(row["low"]):
        return Cell(f"{row['value']:.2f}")
    width = row["high"] - row["low"]
    low, high = (rounded(row[end], width) for end in ("low", "high"))
    return Cell(rounded(row["value"], width), f"{low} to {high}")


def _signed(value: float, low: float, high: float) -> Cell:
    if pd.isna(value):
        return Cell("–")
    ends = "" if pd.isna(low) else f"{_sign(low)} to {_sign(high)}"
    return Cell(_sign(value), ends)


def _sign(value: float) -> str:
    """A difference with its sign; none for what rounds to 0."""
    return f"{round(value, 2) or 0:{'+' if round(value, 2) else ''}.2f}".replace("-", "−")


def _rows(table: pd.DataFrame) -> Iterator[tuple[str, str, dict[Any, dict[Any, Any]]]]:
    """Each detector and set, with its metrics by level, metric and class."""
    for (set_name, name), rows in table.groupby(["set", "detector"], sort=False):
        by_metric = {}
        for row in rows.to_dict("records"):
            kind = None if pd.isna(row["class_name"]) else row["class_name"]
            by_metric[row["level"], row["metric"], kind] = row
        yield str(set_name), str(name), by_metric


def _say(name: str, areas: pd.DataFrame) -> str:
    """The verdict on one detector."""
    known = areas[areas["value"].notna()]
    if known.empty:
        return f"{name}: no ROC AUC ({areas['note'].iloc[0]})."
    own = known["own_value"].iloc[0]
    at_home = (
        f"ROC AUC {own:.2f} on its own {known['own_subset'].iloc[0]} set"
        if pd.notna(own)
        else "its scores on its own set are not known"
    )
    *_, worst = known.nlargest(len(known), "value").to_dict("records")
    best, *_ = known.nlargest(1, "value").to_dict("records")
    elsewhere = f"{worst['value']:.2f} on {worst['set']}"
    if len(known) > 1:
        elsewhere += f" to {best['value']:.2f} on {best['set']}"
    return f"{name}: {at_home}; elsewhere {elsewhere}."


def _warn(
    areas: pd.DataFrame, lost: pd.DataFrame, detectors: Mapping[str, Detector]
) -> Iterator[Statement]:
    for name, rows in areas.groupby("detector", sort=False):
        if guesses := list(rows.loc[(rows["low"] <= _CHANCE) & (rows["high"] >= _CHANCE), "set"]):
            yield Statement(
                "warning", f"{name} may be guessing on {listed(guesses)}",
                "The interval of its ROC AUC holds 0.5, the figure of chance.", "sets",
            )  # fmt: skip
        if reversed_on := list(rows.loc[rows["high"] < _CHANCE, "set"]):
            yield Statement(
                "warning", f"{name} is worse than chance on {listed(reversed_on)}",
                "Its ROC AUC is clearly below 0.5: are real and fake swapped, in its scores or in "
                "the labels?", "sets",
            )  # fmt: skip
    if left_out := list(dict.fromkeys(lost.loc[lost["path"] == "", "set"])):
        yield Statement(
            "warning", f"Left out: {listed(left_out)}", "See Lost images for the reasons.",
            "lost",
        )  # fmt: skip
    if unknown := [name for name, each in detectors.items() if each.card.imported_from]:
        yield Statement(
            "warning", f"What {listed(unknown)} trained on is unknown",
            "Images of these sets may have been among its training images, which would make its "
            "scores too good.", "detectors",
        )  # fmt: skip


def _cards(areas: pd.DataFrame, lost: pd.DataFrame, confidence: str) -> list[Card]:
    cards = []
    known = areas[areas["value"].notna()]
    for title, rows in (
        ("Lowest ROC AUC", known.nsmallest(1, "value")),
        ("Highest ROC AUC", known.nlargest(1, "value") if len(known) > 1 else known.head(0)),
    ):
        for row in rows.to_dict("records"):
            shown = _number(row)
            ends = f"{confidence} CI {shown.beneath}" if shown.beneath else "no interval"
            cards.append(
                Card(title, shown.value, (f"{row['detector']} on {row['set']}", ends), "ROC AUC")
            )
    for row in areas[areas["drop"].notna()].nsmallest(1, "drop").to_dict("records"):
        shown = _signed(row["drop"], row["drop_low"], row["drop_high"])
        beneath = (f"{row['detector']} on {row['set']}", f"{confidence} CI {shown.beneath}")
        cards.append(Card("Largest loss of ROC AUC", shown.value, beneath))
    lost_images = lost[lost["path"] != ""].drop_duplicates(["set", "path", "frame"])
    cards.append(Card("Files and frames lost", f"{len(lost_images):,}", ("in all sets",)))
    return cards


def _tabulate_sets(table: pd.DataFrame) -> Table:
    head: list[Cell | str] = ["Set", "Detector", "Images"]
    head += [Cell(name, beneath) for name, beneath, _ in _MATRIX]
    head.insert(4, Cell("Against its own set", "ROC AUC by image"))
    rows = []
    for set_name, name, metrics in _rows(table):
        area = metrics["image", "roc_auc", None]
        sources = metrics["source", "accuracy", None]["n"]
        cells: list[Cell | str] = [
            set_name, name,
            Cell(f"{metrics['image', 'accuracy', None]['n']:,}", counted(int(sources), "source")),
        ]  # fmt: skip
        cells += [_number(metrics.get(key)) for _, _, key in _MATRIX]
        cells.insert(4, _signed(area["drop"], area["drop_low"], area["drop_high"]))
        rows.append(cells)
    return Table("Detectors on sets", head, rows, "numbers study")


def _tabulate_kinds(table: pd.DataFrame) -> Table:
    rows: list[list[Cell | str]] = []
    for set_name, name, metrics in _rows(table):
        kinds = [key[2] for key in metrics if key[:2] == ("image", "recall_of_kind")]
        if len(kinds) < 2:
            continue
        for kind in kinds:
            recall = metrics.get(("image", "recall_of_kind", kind))
            area = metrics.get(("image", "roc_auc_of_kind", kind))
            count = f"{recall['n']:,}" if recall else "–"
            rows.append([f"{set_name}: {kind}", name, count, _number(recall), _number(area)])
    head: list[Cell | str] = ["Kind of fake", "Detector", "Images", "Recall", "ROC AUC"]
    return Table("Kinds of fake", head, rows, "numbers study")


def _tabulate_pairs(differences: pd.DataFrame) -> Table:
    rows: list[list[Cell | str]] = []
    if len(differences):
        shown = differences[
            differences["metric"].isin(["roc_auc", "accuracy"]) & (differences["level"] == "image")
        ]
        for row in shown.to_dict("records"):
            p_value = "–" if math.isnan(row["p_holm"]) else probability(row["p_holm"])
            name = {"roc_auc": "ROC AUC", "accuracy": "Accuracy"}[row["metric"]]
            rows.append(
                [
                    row["set"], f"{row['detector']} − {row['other_detector']}", name,
                    _signed(row["difference"], row["low"], row["high"]), p_value,
                ]
            )  # fmt: skip
    head: list[Cell | str] = ["Set", "Pair", "Metric", "Difference", Cell("p", "Holm, all pairs")]
    return Table("Paired differences", head, rows, "numbers study")


def _tabulate_published(
    table: pd.DataFrame, generalisation: GeneralisationParameters, published: PublishedResults
) -> Iterator[Table]:
    for set_name, labelled in generalisation.sets.items():
        figures = [each for each in published.figures if each.tested_on == labelled.published_as]
        ours = [(name, metrics) for of_set, name, metrics in _rows(table) if of_set == set_name]
        if not (figures and ours):
            continue
        rows: list[list[Cell | str]] = [
            [
                Cell(each.detector, f"trained on {each.trained_on}"), each.level,
                f"{each.value:.3f}",
                {True: "yes", False: "no", None: "not known"}[each.picked_on_test],
                Cell(each.source, "second-hand" if each.second_hand else ""),
            ]
            for each in figures
        ]  # fmt: skip
        rows += [
            [name, level, _number(metrics.get((of_level, "roc_auc", None))), "no", "this run"]
            for name, metrics in ours
            for level, of_level in _LEVELS.items()
        ]
        head: list[Cell | str] = ["Detector", "Level", "ROC AUC", "Picked on this set", "Source"]
        yield Table(f"{labelled.published_as} ({set_name})", head, rows, "numbers study")


def _tabulate_lost(lost: pd.DataFrame, table: pd.DataFrame) -> Table:
    rows: list[list[Cell | str]] = []
    for name in dict.fromkeys([*table["set"], *lost["set"]]):
        of_set = lost[lost["set"] == name].drop_duplicates(["path", "frame", "reason"])
        if of_set.empty:
            rows.append([name, "nothing", "", ""])
        for reason, files, frames in count_lost(of_set):
            whole = len(of_set[(of_set["reason"] == reason) & (of_set["path"] == "")])
            what = "the whole set" if whole else f"{files:,}"
            rows.append([name, what, f"{frames:,}", reason])
    head: list[Cell | str] = ["Set", "Files", "Single frames", "Reason"]
    return Table("Lost", head, rows, "study")


def _notes(
    detectors: Mapping[str, Detector], generalisation: GeneralisationParameters
) -> list[str]:
    told = [each.card.split["note"] for each in detectors.values() if not each.card.imported_from]
    notes: list[str | None] = [*told, *(each.note for each in generalisation.sets.values())]
    if generalisation.trained_on:
        notes.insert(0, f"The protocol is for detectors trained on {generalisation.trained_on}.")
    return list(dict.fromkeys(note for note in notes if note))


def _describe(detectors: Mapping[str, Detector]) -> dict[str, list[tuple[str, str]]]:
    """What is known of each detector, as `setting_blocks` shows it."""
    described = {}
    for name, detector in detectors.items():
        card = detector.card
        described[name] = [
            ("network", card.backbone),
            ("run", card.run_fingerprint[:12]),
            ("trained on", card.describe_known_fakes()),
            ("split", str(card.split["method"])),
            ("threshold", f"{card.threshold:.4g}" if card.has_scale else "none: no known scale"),
            ("crops", "as face_extraction cut them" if detector.crop_recipe else "not known"),
        ]
    return described
