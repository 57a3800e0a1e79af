"""What figures over epochs share: the best epoch, and the axis."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator


def best_row(history: pd.DataFrame) -> pd.Series | None:
    """The epoch that was kept, by `training.select_by`; None without a validation subset."""
    # histories of older versions were selected by accuracy
    by = "selection" if "selection" in history else "validation_accuracy"
    known = history.dropna(subset=[by])
    return None if known.empty else known.iloc[int(known[by].argmax())]


def number_epochs(axes: Axes, first: int, last: int) -> None:
    """Let the x axis run from the first to the last epoch, with ticks at whole numbers only."""
    # at least half an epoch on both sides, and enough that no marker touches the axis
    margin = max(0.5, (last - first) * 0.03)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(visible=False, axis="x")
