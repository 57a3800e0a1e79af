"""Reliability: how far fake probabilities can be taken at their word.

After Murphy and Winkler 1977, with the bins of the expected calibration error (Naeini et al. 2015).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from deepfake_detection.metrics.intervals import interval, share_influence
from deepfake_detection.metrics.metrics import expected_calibration_error, place_in_bins
from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.reports.style import Theme, colour_of, drawing, finished, message_figure

_TITLE = "Reliability"
_MARKS = {"validation": "s"}
# areas of the marks of bins with few and with many images, in points squared
_SMALLEST, _LARGEST = 10.0, 90.0


def bin_reliability(scored: pd.DataFrame, bins: int, confidence: float) -> pd.DataFrame:
    """Mean fake probability and share of fakes in each bin that holds an image.

    Args:
        scored: The images of one subset: label, fake_probability, group.
        bins: Of equal width over the fake probability.
        confidence: Of the intervals, such as 0.95.

    Returns:
        A row for each bin with images: lower and upper (its edges), images, mean_probability,
        share_of_fakes, low and high (its interval between groups; not a number where there is only
        one group), all but images in [0, 1].
    """
    places = place_in_bins(scored["fake_probability"].to_numpy(dtype=np.float64), bins)
    rows = []
    for place, part in scored.groupby(places):
        fakes = part["label"].to_numpy(dtype=np.float64)
        influence = share_influence(fakes, np.ones(len(fakes)))
        ends = interval(float(fakes.mean()), influence, part["group"].to_numpy(), confidence)
        edges = (int(str(place)) / bins, (int(str(place)) + 1) / bins)
        rows.append(
            (*edges, len(part), float(part["fake_probability"].mean()), float(fakes.mean()), *ends)
        )
    names = ["lower", "upper", "images", "mean_probability", "share_of_fakes", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def calibration_error(scored: pd.DataFrame, bins: int) -> float:
    """Expected calibration error of a subset's images, in [0, 1].

    Args:
        scored: The images of one subset, at least one: label, fake_probability.
        bins: Of equal width over the fake probability.
    """
    probabilities = scored["fake_probability"].to_numpy(dtype=np.float64)
    return expected_calibration_error(scored["label"].to_numpy(), probabilities, bins)


def draw_reliability(
    predictions: pd.DataFrame, bins: int, confidence: float, theme: Theme = "light"
) -> Figure:
    """Share of fakes by fake probability for each scored subset, and images in each bin beneath.

    Args:
        predictions: A row for each scored image: label, fake_probability, group, subset.
        bins: Of equal width over the fake probability.
        confidence: Of the intervals, such as 0.95.
        theme: For a light or a dark background.
    """
    subsets = scored_subsets(predictions)
    with drawing(theme):
        if not subsets:
            return message_figure("No image was scored.", _TITLE)
        figure = Figure(figsize=(4.7, 5.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        above.plot(
            [0, 1], [0, 1], color=rcParams["axes.edgecolor"], linewidth=1, linestyle=(0, (4, 4)),
            label="as probable as said",
        )  # fmt: skip
        place = _places_beside(len(subsets), 1 / bins)
        for number, subset in enumerate(subsets):
            scored = predictions[predictions["subset"] == subset]
            found = bin_reliability(scored, bins, confidence)
            error = calibration_error(scored, bins)
            _add_shares(above, found, subset, f"{subset}: expected calibration error {error:.3f}")
            middle, width = place(number)
            at = (found["lower"] + found["upper"]) / 2 + middle
            below.bar(at, found["images"], width=width, color=colour_of(subset), linewidth=0)
        above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="Share of fakes")
        # between title and axes, where no error bar can run through it
        above.set_title(_TITLE, pad=14 + 15 * (1 + len(subsets)))
        above.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.6)
        below.set(xlabel=f"Fake probability, in {bins} bins", ylabel="Images")
        # most images lie in the outer bins; a bar of one image has to be seen beside them
        below.set_yscale("log")
        below.set_ylim(bottom=0.7)
        below.yaxis.set_major_formatter(FuncFormatter(lambda images, _: f"{images:,.0f}"))
        below.yaxis.set_minor_formatter(NullFormatter())
        below.tick_params(axis="y", which="minor", length=0)
        below.grid(visible=False, axis="x")
        return finished(figure)


def _places_beside(subsets: int, bin_width: float) -> Callable[[int], tuple[float, float]]:
    """Where in a bin each subset's bar stands: distance from the middle, and width."""
    width = 0.8 * bin_width / subsets
    return lambda number: ((number - (subsets - 1) / 2) * width, 0.9 * width)


def _add_shares(axes: Axes, found: pd.DataFrame, subset: str, label: str) -> None:
    """A mark for each bin, the larger the more images it holds, with its interval.

    No line joins them: it would run through bins of one image as through those of a thousand.
    """
    colour, shares = colour_of(subset), found["share_of_fakes"]
    at = found["mean_probability"]
    axes.vlines(at, found["low"], found["high"], colors=colour, linewidth=1.2, alpha=0.55)
    largest = max(found["images"].max(), 1)
    areas = _SMALLEST + (_LARGEST - _SMALLEST) * np.sqrt(found["images"] / largest)
    axes.scatter(
        at, shares, s=areas, color=colour, marker=_MARKS.get(subset, "o"), linewidths=0, zorder=3,
        clip_on=False,
    )  # fmt: skip
    axes.plot([], [], color=colour, marker=_MARKS.get(subset, "o"), linestyle="none", label=label)
