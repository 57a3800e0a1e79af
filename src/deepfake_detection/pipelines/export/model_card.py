"""The model card of a detector, in Markdown."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.metrics import COUNTS
from deepfake_detection.metrics.scored import AUC_OF_KIND, MEAN_AUC, MEAN_RECALL, RECALL_OF_KIND
from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.words import counted, name_levels, printable

_NAMES = {
    "roc_auc": "ROC AUC",
    RECALL_OF_KIND: "Recall of",
    AUC_OF_KIND: "ROC AUC of",
    MEAN_RECALL: "Mean recall of all kinds of fake",
    MEAN_AUC: "Mean ROC AUC of all kinds of fake",
    "recall": "Recall of",
    "precision": "Precision of",
    "f1": "F1 of",
}
_CLASSES = {"fake": "fake images", "real": "real images"}
_SUBSETS = ("train", "validation", "test")
_METHODS = {
    "group": "by group (images that belong together are in one subset)",
    "official": "the data set's own",
    "all": "none (all labelled images are training images)",
    "individual": "by image (neighbours of a training image may be in another subset)",
}
# Characters with a meaning in Markdown, or in the HTML, tables or formulas in it. An underscore
# inside a word has none
_MARKUP = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])")
# viewers of Markdown turn bare addresses into links
_ADDRESS = re.compile(r"(?<=\w)://|(?<=www)\.|(?<=\w)@(?=\w)", re.IGNORECASE)


def in_markdown(value: object) -> object:
    r"""Escape text so that Markdown shows it as it is; return anything else unchanged.

    Characters that matter only at the start of a line are not escaped: put words before them.

    >>> print(in_markdown("<b>fake_deepfake|*"))
    \<b\>fake_deepfake\|\*
    """
    if not isinstance(value, str):
        return value
    escaped = _MARKUP.sub(r"\\\g<0>", printable(value))
    return _ADDRESS.sub(lambda found: f"\\{found[0]}", escaped)


def render_model_card(
    card: DetectorCard, metric_table: pd.DataFrame | None, agreement: Agreement
) -> str:
    """Render the model card, with the front matter of the Hugging Face Hub.

    The metrics are those on the detector's own split, or, if it was trained on all images, of the
    run that its settings come from; None if unknown.
    """
    environment = Environment(
        loader=PackageLoader("deepfake_detection.pipelines.export"),
        autoescape=False,  # noqa: S701  (that is for HTML; `in_markdown` escapes every value)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=in_markdown,
    )
    environment.filters["counted"] = counted
    subset = None
    if metric_table is not None:
        scored = list(metric_table["subset"])
        subset = "test" if "test" in scored else scored[0]
        metric_table = metric_table[metric_table["subset"] == subset]
    return environment.get_template("model_card.md.j2").render(
        card=card,
        split=card.split,
        imported_from=card.imported_from,
        chosen_on="validation" if card.imported_from is None else "labelled images from elsewhere",
        recipe_of_crops=card.split.get("crop_recipe"),
        figures_method=card.vouched_by.get("split_method", card.split["method"]),
        method=_METHODS.get(card.split["method"], card.split["method"]),
        composition=_compose(card),
        subsets=_SUBSETS,
        recipe=flatten_settings(card.settings.get("training", {})),
        vouched_by=flatten_settings(card.vouched_by),
        levels=(levels := name_levels(card.split.get("medium"))),
        source_score=SourceScore.of(card.calibration).in_words(levels["image"]),
        chosen=choices_on_validation(card.calibration),
        subset=subset,
        metrics=[] if metric_table is None else list(_describe_metrics(metric_table)),
        agreement=agreement,
        input=INPUT,
        output=OUTPUT,
    )


def _describe_metrics(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    by_metric = table.groupby(["metric", "class_name"], sort=False, dropna=False)
    for (metric, class_name), rows in by_metric:
        if metric in COUNTS:
            continue
        by_level = {row["level"]: row for row in rows.to_dict("records")}
        yield {
            "name": _NAMES.get(str(metric), str(metric).replace("_", " ").capitalize()),
            # a kind of fake by its class folder, else fake or real; NaN for both classes
            "of": (
                class_name
                if metric in (RECALL_OF_KIND, AUC_OF_KIND)
                else _CLASSES.get(str(class_name), "")
            ),
            **{level: _write_figure(by_level.get(level)) for level in ("image", "source")},
        }


def _write_figure(row: Mapping[Hashable, Any] | None) -> str:
    """Write a metric with its interval and the number of images or sources."""
    if row is None:
        return ""
    if math.isnan(row["value"]):
        return "undefined"
    interval = "" if math.isnan(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{interval}, n {row['n']:,.0f}"


def _compose(card: DetectorCard) -> dict[str, Any]:
    """Images by class folder and subset; no subsets if the counts are unknown."""
    images: Mapping[str, Mapping[str, int]] = card.split.get("images", {})
    held = {name: images[name] for name in _SUBSETS if sum(images.get(name, {}).values())}
    rows = [
        (name, label, [counts.get(name, 0) for counts in held.values()])
        for name, label in card.classes.items()
    ]
    totals = [sum(counts.values()) for counts in held.values()]
    return {"subsets": list(held), "rows": rows, "totals": totals}
