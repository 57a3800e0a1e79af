"""The model card of a detector, in Markdown."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.metrics import COUNTS
from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.words import counted, printable

_NAMES = {
    "roc_auc": "ROC AUC",
    "recall_of_kind": "Recall of",
    "recall": "Recall of",
    "precision": "Precision of",
    "f1": "F1 of",
}
_SUBSETS = ("train", "validation", "test")
_METHODS = {
    "group": "by group (images that belong together are in one subset)",
    "all": "none (all labelled images are training images)",
    "individual": "by image (neighbours of a training image may be in another subset)",
}
# Characters with a meaning in Markdown, or in the HTML, tables or formulas in it. An underscore
# inside a word has none
_MARKUP = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])")
# viewers of Markdown turn bare addresses into links
_ADDRESS = re.compile(r"(?<=\w)://|(?<=www)\.|(?<=\w)@(?=\w)", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def in_markdown(value: object) -> object:
    r"""Escape text so that Markdown shows it as it is; return anything else unchanged.

    Characters that matter only at the start of a line are not escaped: put words before them.

    >>> print(in_markdown("<b>fake_deepfake|*"))
    \<b\>fake_deepfake\|\*
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    escaped = _MARKUP.sub(r"\\\g<0>", printable(value))
    return _ADDRESS.sub(lambda found: f"\\{found[0]}", escaped)


def render_model_card(
    card: DetectorCard, metric_table: pd.DataFrame | None, agreement: Agreement
) -> str:
    """Render the model card, with the front matter of the Hugging Face Hub.

    Args:
        card: Of the detector.
        metric_table: Metrics on its own split, or, if it was trained on all images, of the run that
            its settings come from; None if unknown.
        agreement: Of its ONNX model with it.
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
    table = None if metric_table is None else _headline(metric_table)
    return environment.get_template("model_card.md.j2").render(
        card=card,
        split=card.split,
        figures_method=card.vouched_by.get("split_method", card.split["method"]),
        known_fakes=card.known_fakes,
        method=_METHODS.get(card.split["method"], card.split["method"]),
        composition=_compose(card),
        subsets=_SUBSETS,
        recipe=list(_list_settings(card.settings.get("training", {}))),
        calibration=_describe_calibration(card),
        vouched_by=list(_list_settings(card.vouched_by)),
        chosen=choices_on_validation(card.calibration),
        subset=None if table is None else table["subset"].iloc[0],
        metrics=[] if table is None else list(_describe_metrics(table)),
        agreement=agreement,
        input=Markdown(INPUT),
        output=Markdown(OUTPUT),
    )


def _headline(metric_table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test subset, or of the first subset if there is no test."""
    subsets = list(metric_table["subset"])
    chosen = "test" if "test" in subsets else subsets[0]
    return metric_table[metric_table["subset"] == chosen]


def _describe_metrics(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Yield a row for each metric, with its values by image and by source."""
    keys = ["metric", "class_name"]
    for (metric, class_name), rows in table.groupby(keys, sort=False, dropna=False):
        if metric in COUNTS:
            continue
        by_level = {row["level"]: row for row in rows.to_dict("records")}
        yield {
            "name": _NAMES.get(str(metric), str(metric).replace("_", " ").capitalize()),
            "of": _name_class(class_name, kind=metric == "recall_of_kind"),
            **{level: _write_figure(by_level.get(level)) for level in ("image", "source")},
        }


def _name_class(class_name: Any, *, kind: bool) -> str:
    if not isinstance(class_name, str):
        return ""
    return class_name if kind else {"fake": "fake images", "real": "real images"}[class_name]


def _write_figure(row: Mapping[Hashable, Any] | None) -> str:
    """Write a metric with its interval and the number of images or sources."""
    if row is None:
        return ""
    if math.isnan(row["value"]):
        return "undefined"
    interval = "" if math.isnan(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{interval}, n {row['n']:,.0f}"


def _compose(card: DetectorCard) -> dict[str, Any]:
    """Count images by class folder and subset; no rows if the counts are unknown."""
    images: Mapping[str, Mapping[str, int]] = card.split.get("images", {})
    subsets = [name for name in _SUBSETS if sum(images.get(name, {}).values())]
    rows = [
        (name, label, [images[subset].get(name, 0) for subset in subsets])
        for name, label in card.classes.items()
    ]
    totals = [sum(images[subset].values()) for subset in subsets]
    return {"subsets": subsets, "rows": rows, "totals": totals}


def _list_settings(settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for block, rows in flatten_settings(settings).items():
        for name, value in rows:
            yield f"{block}.{name}" if block else name, value


def _describe_calibration(card: DetectorCard) -> list[tuple[str, float, str]]:
    """List name, value and origin of threshold and temperature."""
    fitted = card.calibration.get("fitted", [])
    rules = card.settings.get("calibration", {})
    described = []
    for name in ("threshold", "temperature"):
        rule = str(rules.get(name, {}).get("rule", "fixed")).replace("_", " ")
        by = f"chosen on validation ({rule})" if name in fitted else "set by a parameter"
        described.append((name.capitalize(), float(getattr(card, name)), by))
    return described
