"""The order of subsets: the headline subset first."""

from collections.abc import Iterable

import pandas as pd

_FROM_LAST_TO_FIRST = ("test", "validation", "train")


def in_reading_order(subsets: Iterable[str]) -> list[str]:
    """Each subset once: test before validation before train, since nothing was chosen on test.

    Subsets of other names follow, by name.
    """
    present = set(subsets)
    known = [subset for subset in _FROM_LAST_TO_FIRST if subset in present]
    return known + sorted(present.difference(known))


def scored_subsets(predictions: pd.DataFrame) -> list[str]:
    """The subsets that have predictions, the headline subset first."""
    return in_reading_order(predictions["subset"].astype(str))


def headline_predictions(predictions: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Name and rows of the headline subset; `("validation", no rows)` where nothing was scored."""
    subset = next(iter(scored_subsets(predictions)), "validation")
    return subset, predictions[predictions["subset"] == subset]
