"""The reliability diagram."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from deepfake_detection.metrics.metrics import bin_reliability, expected_calibration_error
from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure

_TITLE = "Reliability"
_MARKERS = {"validation": "s"}
# areas of the markers of bins with few and with many images, in points squared
_SMALLEST, _LARGEST = 10.0, 90.0


def draw_reliability(predictions: pd.DataFrame, bins: int, confidence: float) -> Figure:
    """Share of fakes by fake probability for each scored subset, and images in each bin beneath."""
    subsets = scored_subsets(predictions)
    with drawing():
        if not subsets:
            return message_figure("No image was scored.", _TITLE)
        figure = Figure(figsize=(4.7, 5.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        above.plot(
            [0, 1], [0, 1], color=rcParams["axes.edgecolor"], linewidth=1, linestyle=(0, (4, 4)),
            label="perfectly calibrated",
        )  # fmt: skip
        width = 0.8 / bins / len(subsets)
        for number, subset in enumerate(subsets):
            scored = predictions[predictions["subset"] == subset]
            found = bin_reliability(scored, bins, confidence)
            error = expected_calibration_error(
                scored["label"].to_numpy(), scored["fake_probability"].to_numpy(np.float64), bins
            )
            _add_shares(above, found, subset, f"{subset}: expected calibration error {error:.3f}")
            middle = (found["lower"] + found["upper"] - (len(subsets) - 1) * width) / 2
            below.bar(
                middle + number * width, found["images"], width=0.9 * width,
                color=colour_of(subset), linewidth=0,
            )  # fmt: skip
        above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="Share of fakes")
        # the legend stands between title and axes, where no error bar can run through it
        above.set_title(_TITLE, pad=14 + 15 * (1 + len(subsets)))
        above.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.6)
        below.set(xlabel=f"Fake probability, in {bins} bins", ylabel="Images")
        # most images lie in the outer bins; a bar of one image has to be visible beside them
        below.set_yscale("log")
        below.set_ylim(bottom=0.7)
        below.yaxis.set_major_formatter(FuncFormatter(lambda images, _: f"{images:,.0f}"))
        below.yaxis.set_minor_formatter(NullFormatter())
        below.tick_params(axis="y", which="minor", length=0)
        below.grid(visible=False, axis="x")
        return finished(figure)


def _add_shares(axes: Axes, found: pd.DataFrame, subset: str, label: str) -> None:
    """A marker for each bin, the larger the more images it holds, with its interval.

    No line joins them: it would weigh bins of one image like those of a thousand.
    """
    colour, marker = colour_of(subset), _MARKERS.get(subset, "o")
    at = found["mean_probability"]
    axes.vlines(at, found["low"], found["high"], colors=colour, linewidth=1.2, alpha=0.55)
    areas = _SMALLEST + (_LARGEST - _SMALLEST) * np.sqrt(found["images"] / found["images"].max())
    axes.scatter(
        at, found["share_of_fakes"], s=areas, color=colour, marker=marker, linewidths=0, zorder=3,
        clip_on=False,
    )  # fmt: skip
    axes.plot([], [], color=colour, marker=marker, linestyle="none", label=label)
