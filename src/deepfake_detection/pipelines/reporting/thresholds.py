"""Scores by class: their histogram, and what every threshold would give.

Both are over the logit divided by the temperature, the log odds of the fake probability, since most
scores of a good detector lie very near 0 and 1. Scores beyond ±7 (0.001 and 0.999) count as that.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.special import expit, logit

from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted

_TITLE = "Scores by class"
_END, _BIN, _STEP = 7.0, 0.5, 0.1
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
# ids of the threshold's line and of the plot that it moves in, which the page's script looks for
LINE, PLOT = "threshold", "plot"


def draw_scores(predictions: pd.DataFrame, threshold: float, temperature: float) -> Figure:
    """The histogram of the headline subset: fakes upwards, real images downwards."""
    subset, scored = headline_predictions(predictions)
    with drawing():
        if scored.empty:
            return message_figure("No image was scored.", _TITLE)
        figure = Figure(figsize=(4.7, 3.7))
        axes = figure.add_subplot()
        heights: list[Floats] = []
        edges = np.arange(-_END, _END + _BIN / 2, _BIN)
        for name, label, sign in (("fake", 1, 1), ("real", 0, -1)):
            of_class = scored[scored["label"] == label]
            counts = np.histogram(_place(of_class["logit"], temperature), edges)[0]
            heights.append(sign * counts / max(len(of_class), 1))
            axes.bar(
                edges[:-1], heights[-1], width=_BIN, align="edge",
                color=colour_of(name), edgecolor=rcParams["figure.facecolor"], linewidth=0.5,
                label=counted(len(of_class), f"{name} image"),
            )  # fmt: skip
        axes.axhline(0, color=rcParams["axes.edgecolor"], linewidth=0.8)
        axes.axvline(
            _place_threshold(threshold), color=rcParams["text.color"], linewidth=1.6, gid=LINE,
            label="threshold",
        )  # fmt: skip
        axes.patch.set_gid(PLOT)
        axes.set_xlim(-_END, _END)
        axes.set_ylim(1.1 * np.min([*heights[1], -0.05]), 1.1 * np.max([*heights[0], 0.05]))
        axes.set_xticks(logit(_TICKS), [f"{tick:g}" for tick in _TICKS])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * abs(share):.0f} %"))
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="Fake probability", ylabel="Share of the class")
        axes.set_title(f"{_TITLE}, {subset}", pad=30)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, columnspacing=1.0,
            handlelength=1.0, borderpad=0, borderaxespad=0.6,
        )  # fmt: skip
        return finished(figure)


def list_thresholds(
    predictions: pd.DataFrame, threshold: float, temperature: float
) -> dict[str, Any]:
    """What each threshold gives on the headline subset, from the lowest to the highest.

    Returns:
        fakes, real: images; own: the place of the detector's threshold in steps; steps, each
        [threshold, its place from 0 to 1 across the histogram, fakes and real images called fake].
    """
    _, scored = headline_predictions(predictions)
    own, fakes = _place_threshold(threshold), scored["label"] == 1
    at = np.arange(-_END, _END + _STEP / 2, _STEP)
    at = np.sort(np.append(at[np.abs(at - own) > _STEP / 2], own))
    scores = [np.sort(_place(scored.loc[of, "logit"], temperature)) for of in (fakes, ~fakes)]
    called = [len(each) - np.searchsorted(each, at) for each in scores]
    # exactly as the detector calls them
    place = int(np.argmin(np.abs(at - own)))
    for counts, of in zip(called, (fakes, ~fakes), strict=True):
        counts[place] = int(scored.loc[of, "predicted"].sum())
    shown = expit(at)
    shown[place] = threshold
    steps = [
        [float(f"{value:.4g}"), round(float((where + _END) / (2 * _END)), 4), int(one), int(other)]
        for value, where, one, other in zip(shown, at, *called, strict=True)
    ]
    return {"fakes": len(scores[0]), "real": len(scores[1]), "own": place, "steps": steps}


def _place(logits: pd.Series, temperature: float) -> Floats:
    return np.clip(logits.to_numpy(dtype=np.float64) / temperature, -_END, _END)


def _place_threshold(threshold: float) -> float:
    # one above all scores is above 1
    return float(np.clip(logit(min(max(threshold, 0.0), 1.0)), -_END, _END))
