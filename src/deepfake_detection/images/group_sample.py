"""A sample of a table of images that keeps groups whole."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def draw_groups(scored: pd.DataFrame, most_images: int, seed: int | Sequence[int]) -> pd.DataFrame:
    """Draw whole groups, separately for each combination of classes that they hold.

    Each combination gets its share of `most_images`, rounded down to whole groups, but at least
    one, which may exceed it. The order of the rows (class_name, group and others) does not change
    what is drawn; the rows drawn keep theirs.
    """
    groups = scored.groupby("group")["class_name"].agg(
        classes=lambda names: tuple(sorted(set(names))), images="size"
    )
    # groupby sorts by name
    shuffled = groups.iloc[np.random.default_rng(seed).permutation(len(groups))]
    share = most_images / len(scored)
    drawn: list[object] = []
    for _, alike in shuffled.groupby("classes"):
        taken = alike["images"].cumsum() <= share * alike["images"].sum()
        drawn.extend(alike.index[: max(1, int(taken.sum()))])
    return scored[scored["group"].isin(drawn)].reset_index(drop=True)
