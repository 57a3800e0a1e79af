"""The model card: what has to be known of a detector before it is used."""

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.metrics import COUNTS
from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.markdown import Markdown, in_markdown
from deepfake_detection.pipelines.export.onnx_model import INPUT, OUTPUT
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.words import counted

_NAMES = {
    "roc_auc": "ROC AUC",
    "recall_of_kind": "Share found of",
    "recall": "Recall of",
    "precision": "Precision of",
    "f1": "F1 of",
}
_SUBSETS = ("train", "validation", "test")
_METHODS = {
    "group": (
        "by group: all pictures of a group (one source, or several that belong together) stand in "
        "one subset"
    ),
    "all": "not at all: every labelled picture trained it",
    "individual": "picture by picture: neighbours of a training picture may be in another subset",
}


def render_model_card(
    card: DetectorCard, metric_table: pd.DataFrame | None, agreement: Agreement
) -> str:
    """The model card in Markdown, with the front matter of the Hugging Face Hub.

    Args:
        card: What the detector says of itself.
        metric_table: Of its own split, or of that of the run that vouches for it: metric, subset,
            level, class_name, value, low, high, n; None where it is not known.
        agreement: Of its ONNX model with it.
    """
    environment = Environment(
        loader=PackageLoader("deepfake_detection.pipelines.export"),
        autoescape=False,  # noqa: S701  (for HTML; `in_markdown` escapes every value)
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
    """The rows of the subset on which nothing was chosen, or else of the first there is."""
    subsets = list(metric_table["subset"])
    chosen = "test" if "test" in subsets else subsets[0]
    return metric_table[metric_table["subset"] == chosen]


def _describe_metrics(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """A row for each metric, with what it is by image and by source."""
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
    return class_name if kind else {"fake": "fakes", "real": "real ones"}[class_name]


def _write_figure(row: Mapping[Hashable, Any] | None) -> str:
    """A metric with its interval, and how many images or sources it rests on."""
    if row is None:
        return ""
    if math.isnan(row["value"]):
        return "undefined"
    interval = "" if math.isnan(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{interval}, n {row['n']:,.0f}"


def _compose(card: DetectorCard) -> dict[str, Any]:
    """Pictures by class folder and subset; no rows where the card does not say."""
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
    """Threshold and temperature: name, value, and what set it."""
    fitted = card.calibration.get("fitted", [])
    rules = card.settings.get("calibration", {})
    described = []
    for name in ("threshold", "temperature"):
        rule = str(rules.get(name, {}).get("rule", "fixed")).replace("_", " ")
        by = f"chosen on validation ({rule})" if name in fitted else "set by a parameter"
        described.append((name.capitalize(), float(getattr(card, name)), by))
    return described
