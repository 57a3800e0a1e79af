"""The figure of the robustness sweep: what each distortion changes, image by image."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted, folded

# Title, and unit of the strengths, of each panel. Darker and brighter are two directions.
_PANELS = {
    "jpeg": ("JPEG compression", "quality"),
    "blur": ("Gaussian blur", "sigma (pixels)"),
    "scaling": ("Scaling down and up", "factor"),
    "noise": ("Gaussian noise", "deviation (of 255)"),
    "darker": ("Darker", "factor of brightness"),
    "brighter": ("Brighter", "factor of brightness"),
}
# By class: name, marker, and distance from the strength's place
_LINES = {"fake": ("recall of fakes", "o", -0.08), "real": ("specificity", "s", 0.08)}
_COLUMNS, _WIDTH, _ROW_HEIGHT, _AROUND = 2, 5.2, 2.0, 1.2
_NOTE_CHARACTERS, _NOTE_LINES = 74, 6
_MOST_LABELS = 6
_MARGIN = 0.06


def name_panels(robustness_table: pd.DataFrame) -> pd.Series:
    """The panel of each row: its distortion, brightness as `darker` and `brighter`."""
    direction = np.where(robustness_table["strength"] < 1, "darker", "brighter")
    panel = robustness_table["distortion"]
    return panel.where(panel != "brightness", direction)


def draw_robustness(robustness_table: pd.DataFrame, note: str | None) -> Figure:
    """Change of recall and specificity from the undistorted pictures, with intervals.

    In each panel strengths go from mild to strong, at equal distances; 0 is no change. The note on
    the images is shown beneath.
    """
    panel = name_panels(robustness_table)
    panels = [name for name in _PANELS if (panel == name).any()]
    with drawing():
        if not panels:
            return message_figure("No distortion was asked for.", "Robustness")
        rows = -(-len(panels) // _COLUMNS)
        figure = Figure(figsize=(_WIDTH, _ROW_HEIGHT * rows + _AROUND))
        places = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).ravel()
        for axes, name in zip(places, panels, strict=False):
            _fill_panel(axes, name, robustness_table[panel == name])
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        of_class = robustness_table[robustness_table["metric"] == "recall"]
        changes = of_class[["difference", "difference_low", "difference_high"]].to_numpy(np.float64)
        ends = np.nanmin([*changes.ravel(), -0.1]), np.nanmax([*changes.ravel(), 0.1])
        places[0].set_ylim(ends[0] - _MARGIN, ends[1] + _MARGIN)
        places[0].yaxis.set_major_formatter(FuncFormatter(_say_points))
        figure.supylabel(
            "Change (percentage points)", fontsize=rcParams["axes.labelsize"],
            color=rcParams["axes.labelcolor"],
        )  # fmt: skip
        handles, names = places[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        _add_notes(figure, robustness_table, note)
        return finished(figure)


def _say_points(share: float, _: int) -> str:
    points = round(100 * share)
    return f"{points:+d}" if points else "0"


def _fill_panel(axes: Axes, name: str, distorted: pd.DataFrame) -> None:
    title, unit = _PANELS[name]
    strengths = [f"{strength:g}" for strength in distorted["strength"].unique()]
    recalls = distorted[distorted["metric"] == "recall"]
    axes.axhline(0, color=rcParams["text.color"], linewidth=1, zorder=1)
    for class_name, (label, marker, aside) in _LINES.items():
        rows = recalls[recalls["class_name"] == class_name]
        if rows["difference"].isna().all():
            continue
        at, colour = np.arange(len(rows)) + aside, colour_of(class_name)
        axes.vlines(
            at, rows["difference_low"], rows["difference_high"], colors=colour, linewidth=1.4
        )
        axes.plot(
            at, rows["difference"], color=colour, marker=marker, linewidth=1.2, label=label,
            zorder=3,
        )  # fmt: skip
    step = -(-len(strengths) // _MOST_LABELS)
    # counted from the strongest, which always has its label
    shown = ["" if at % step else text for at, text in enumerate(strengths[::-1])][::-1]
    axes.set_xticks(np.arange(len(strengths)), shown)
    axes.set_xlim(-0.5, len(strengths) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit)


def _add_notes(figure: Figure, table: pd.DataFrame, note: str | None) -> None:
    """What was scored, and what it must be read with, beneath the panels."""
    plain = table[table["distortion"] == "none"]
    accuracy = plain[plain["metric"] == "accuracy"].iloc[0]
    images = f"{counted(accuracy['n'], 'image')} of {accuracy['subset']}"
    lines = [f"{images}, paired; bars are intervals between groups."]
    if isinstance(accuracy["note"], str):
        lines[0] += f" {accuracy['note'][:1].upper()}{accuracy['note'][1:]}."
    missing = plain[(plain["metric"] == "recall") & plain["value"].isna()]
    lines += [f"{row['class_name'].capitalize()}: {row['note']}." for _, row in missing.iterrows()]
    lines += [note] if note else []
    figure.supxlabel(
        "\n".join(folded(line, _NOTE_CHARACTERS, _NOTE_LINES) for line in lines),
        fontsize=8.5, color=rcParams["axes.labelcolor"], x=0.01, ha="left", multialignment="left",
    )  # fmt: skip
