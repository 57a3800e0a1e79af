"""Figure of the properties that tell the classes apart best."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import printable, shortened

_TITLE = "Shortcuts"
_PANELS, _BINS = 3, 30
_MOST_VALUES, _LONGEST_VALUE = 6, 24
_LABELS = {0: "real", 1: "fake"}
_UNITS = {
    "size": "pixels", "proportions": "width / height", "bytes_per_pixel": "bytes",
    "quality": "1 to 100", "border": "pixels at all edges", "face_size": "pixels across",
    "red": "mean, of 255", "green": "mean, of 255", "blue": "mean, of 255",
    "noise": "deviation, of 255", "contrast": "deviation of luma, of 1",
    "sharpness": "variance of the Laplacian", "blockiness": "logarithm",
}  # fmt: skip


def draw_worst(properties: pd.DataFrame, audit: pd.DataFrame) -> Figure:
    """Draw a panel for each of the three worst single properties: shares of real and fake images.

    Args:
        properties: A row for each image: label, and a column for each property.
        audit: A row for each property: property, kind, auc.
    """
    single = audit[audit["property"].isin(properties.columns)].dropna(subset="auc")
    varied = [properties[name].nunique(dropna=False) > 1 for name in single["property"]]
    worst = single[varied].sort_values("auc", ascending=False, kind="stable").head(_PANELS)
    with drawing():
        if worst.empty:
            return message_figure("No property differs between images.", _TITLE)
        figure = Figure(figsize=(3.6 * len(worst) + 0.4, 3.2))
        panels = figure.subplots(1, len(worst), squeeze=False)[0]
        for axes, row in zip(panels, worst.to_dict("records"), strict=True):
            values = properties[row["property"]]
            draw = _draw_numbers if pd.api.types.is_numeric_dtype(values) else _draw_categories
            draw(axes, values, properties["label"])
            name = str(row["property"]).replace("_", " ").capitalize()
            axes.set_xlabel(_UNITS.get(row["property"], ""))
            axes.set_title(f"{name} ({row['kind']}):\nAUC {row['auc']:.2f}")
        panels[0].set_ylabel("Share of images")
        panels[0].legend()
        return finished(figure)


def _draw_numbers(axes: Axes, values: pd.Series, labels: pd.Series) -> None:
    known = values.dropna()
    edges = np.histogram_bin_edges(known, bins=_BINS) if len(known) else np.array([0.0, 1.0])
    for label, name in _LABELS.items():
        of_label = values[(labels == label) & values.notna()]
        weights = np.full(len(of_label), 1 / max(1, int((labels == label).sum())))
        axes.hist(
            of_label, bins=list(edges), weights=weights, histtype="stepfilled", alpha=0.55,
            color=colour_of(name), edgecolor=colour_of(name), label=name,
        )  # fmt: skip


def _draw_categories(axes: Axes, values: pd.Series, labels: pd.Series) -> None:
    frequent = values.value_counts().index[:_MOST_VALUES]
    for label, name in _LABELS.items():
        shares = values[labels == label].value_counts(normalize=True).reindex(frequent).fillna(0)
        places = np.arange(len(frequent)) + (label - 0.5) * 0.4
        axes.bar(places, shares, width=0.4, color=colour_of(name), label=name)
    names = [shortened(printable(str(value)), _LONGEST_VALUE) for value in frequent]
    axes.set_xticks(range(len(frequent)), names, rotation=20, ha="right", fontsize=7)
