"""The figure of the robustness sweep."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted, folded

# Title, and unit of the strengths, of each panel. Darker and brighter are two directions.
_PANELS = {
    "jpeg": ("JPEG compression", "quality"),
    "blur": ("Gaussian blur", "standard deviation (pixels)"),
    "scaling": ("Scaling down and up", "factor"),
    "noise": ("Gaussian noise", "standard deviation (of 255)"),
    "darker": ("Darker", "factor of brightness"),
    "brighter": ("Brighter", "factor of brightness"),
}
_LINES = {"roc_auc": ("ROC AUC", "o", "-"), "accuracy": ("accuracy", "s", (0, (4, 2)))}
_GUESSING = 0.5
_COLUMNS, _WIDTH, _ROW_HEIGHT, _AROUND = 3, 9.2, 2.35, 1.25
_NARROWEST = 5.4
_NOTE_CHARACTERS, _NOTE_LINES = 130, 4
_MOST_LABELS = 6


def draw_robustness(robustness_table: pd.DataFrame, note: str | None) -> Figure:
    """ROC AUC and accuracy against the strength of each distortion, with their intervals.

    A panel starts at the undistorted pictures (distortion `none`) and goes on from mild to strong,
    at equal distances. The note on the images is shown beneath.
    """
    plain = robustness_table[robustness_table["distortion"] == "none"]
    direction = np.where(robustness_table["strength"] < 1, "darker", "brighter")
    panel = robustness_table["distortion"]
    panel = panel.where(panel != "brightness", direction)
    panels = [name for name in _PANELS if (panel == name).any()]
    with drawing():
        if not panels:
            return message_figure("No distortion was asked for.", "Robustness")
        columns = min(_COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        width = max(_WIDTH * columns / _COLUMNS, _NARROWEST)
        figure = Figure(figsize=(width, _ROW_HEIGHT * rows + _AROUND))
        places = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, name in zip(places, panels, strict=False):
            _fill_panel(axes, name, plain, robustness_table[panel == name])
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        drawn = robustness_table[robustness_table["metric"].isin(_LINES)]
        # room for guessing and for all intervals
        least = float(np.nanmin([_GUESSING, *drawn["value"], *drawn["low"]]))
        places[0].set_ylim(max(0.0, np.floor((least - 0.04) * 10) / 10) - 0.02, 1.02)
        handles, names = places[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        _add_notes(figure, plain, note, int(_NOTE_CHARACTERS * width / _WIDTH))
        return finished(figure)


def _fill_panel(axes: Axes, name: str, plain: pd.DataFrame, distorted: pd.DataFrame) -> None:
    title, unit = _PANELS[name]
    strengths = [f"{strength:g}" for strength in distorted["strength"].unique()]
    places = np.arange(len(strengths) + 1)
    for metric, (label, marker, line) in _LINES.items():
        rows = pd.concat([each[each["metric"] == metric] for each in (plain, distorted)])
        if rows["value"].isna().all():
            continue
        colour = colour_of(label)
        axes.fill_between(places, rows["low"], rows["high"], color=colour, alpha=0.14, linewidth=0)
        for end in ("low", "high"):
            axes.plot(places, rows[end], color=colour, alpha=0.45, linewidth=0.8, linestyle=line)
        axes.plot(
            places, rows["value"], color=colour, marker=marker, linestyle=line, label=label,
            zorder=3, clip_on=False,
        )  # fmt: skip
    axes.axhline(
        _GUESSING, color=rcParams["axes.edgecolor"], linewidth=1, linestyle=(0, (1, 2)),
        label="guessing (ROC AUC 0.5)", zorder=1,
    )  # fmt: skip
    step = -(-len(strengths) // _MOST_LABELS)
    # counted from the strongest, which always has its label
    shown = ["" if at % step else text for at, text in enumerate(strengths[::-1])][::-1]
    axes.set_xticks(places, ["none", *shown])
    axes.set_xlim(-0.15, places[-1] + 0.15)
    axes.grid(visible=False, axis="x")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit)


def _add_notes(figure: Figure, plain: pd.DataFrame, note: str | None, characters: int) -> None:
    """What was scored, and what it must be read with, beneath the panels."""
    accuracy = plain[plain["metric"] == "accuracy"].iloc[0]
    images = f"{counted(accuracy['n'], 'image')} of {accuracy['subset']}"
    lines = [f"{images}; bands are confidence intervals between groups."]
    if isinstance(accuracy["note"], str):
        lines[0] += f" {accuracy['note'][:1].upper()}{accuracy['note'][1:]}."
    area = plain[plain["metric"] == "roc_auc"].iloc[0]
    if pd.isna(area["value"]):
        lines.append(f"ROC AUC is undefined: {area['note']}.")
    lines += [note] if note else []
    figure.supxlabel(
        "\n".join(folded(line, characters, _NOTE_LINES) for line in lines),
        fontsize=8.5, color=rcParams["axes.labelcolor"], x=0.01, ha="left", multialignment="left",
    )  # fmt: skip
