"""How far an axis has to reach, so that what matters fills it."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, MaxNLocator

# An axis of accuracies is at least this long: differences of single images are no cliffs.
_LEAST_SPAN = 0.02
# The first epochs are drawn to the end where they make the axis at most so many times longer.
_LONGEST = 2.5
_MARGIN = 0.05


def finite(values: Iterable[float]) -> np.ndarray:
    """The finite ones among the values."""
    numbers = np.asarray(list(values), dtype=float)
    return numbers[np.isfinite(numbers)]


def accuracy_limits(values: np.ndarray, needed: np.ndarray) -> tuple[float, float]:
    """Lower and upper end of an axis of accuracies.

    Args:
        values: All that is drawn. Low ones may fall off the axis.
        needed: Those that may not.
    """
    if not len(values) or not len(needed):
        return 0.0, 1.0
    high = values.max()
    span = max(high - needed.min(), _LEAST_SPAN)
    low = min(needed.min(), high - span)
    if values.min() >= high - _LONGEST * span:
        low = min(low, values.min())
    elif values.min() < low:
        # some of the climb is seen
        low -= span / 2
    span = high - low
    return float(low - _MARGIN * span), float(min(high + _MARGIN * span, 1 + _MARGIN * span))


def mark_accuracies(axis: Axis, limits: tuple[float, float], most: int = 6) -> None:
    """Ticks at round accuracies between the limits; there is none above 1."""
    low, high = limits
    ticks = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    shown = [tick for tick in ticks if low <= tick <= min(high, 1 + 1e-9)]
    axis.set_major_locator(FixedLocator(shown))
    decimals = max((len(f"{tick:.6f}".rstrip("0").split(".")[1]) for tick in shown), default=2)
    axis.set_major_formatter(f"{{x:.{max(decimals, 2)}f}}")
