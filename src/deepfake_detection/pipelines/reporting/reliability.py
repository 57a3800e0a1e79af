"""The reliability diagram."""

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from deepfake_detection.metrics.metrics import bin_reliability
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure

_TITLE = "Reliability"


def draw_reliability(predictions: pd.DataFrame, confidence: float) -> Figure:
    """Share of fakes by mean fake probability of the headline subset, in bins of equally many."""
    subset, scored = headline_predictions(predictions)
    with drawing():
        if scored.empty:
            return message_figure("No image was scored.", _TITLE)
        figure = Figure(figsize=(4.7, 4.8))
        axes = figure.add_subplot()
        axes.plot(
            [0, 1], [0, 1], color=rcParams["axes.edgecolor"], linewidth=1, linestyle=(0, (4, 4)),
            label="perfectly calibrated",
        )  # fmt: skip
        found, colour = bin_reliability(scored, confidence), colour_of(subset)
        at = found["mean_probability"]
        axes.vlines(at, found["low"], found["high"], colors=colour, linewidth=1.4)
        # no line joins them: between two bins there may be no score
        axes.plot(
            at, found["share_of_fakes"], color=colour, marker="o", markersize=7, linestyle="none",
            label=f"{len(found)} bins of about {len(scored) // len(found):,} images", zorder=3,
            clip_on=False,
        )  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="Mean fake probability", ylabel="Share of fakes")
        axes.set_title(f"{_TITLE}, {subset}", pad=30)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, borderaxespad=0.6
        )
        return finished(figure)
