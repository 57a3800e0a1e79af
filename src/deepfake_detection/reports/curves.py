"""What figures over epochs have in common."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator


def best_row(history: pd.DataFrame) -> pd.Series | None:
    """The row of the best epoch: the first with the highest validation accuracy.

    None where no epoch has a validation accuracy.
    """
    known = history.dropna(subset=["validation_accuracy"])
    return None if known.empty else known.iloc[int(known["validation_accuracy"].argmax())]


def number_epochs(axes: Axes, first: int, last: int) -> None:
    """Let the x axis run from the first to the last epoch, with ticks at whole numbers only."""
    # a single epoch needs room around it; many must not stand on the axis
    beside = max(0.5, (last - first) * 0.03)
    axes.set_xlim(first - beside, last + beside)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(visible=False, axis="x")
