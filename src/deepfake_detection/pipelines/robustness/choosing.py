"""Which of the scored images are distorted."""

import logging

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import RobustnessParameters

log = logging.getLogger(__name__)


def choose_images(predictions: pd.DataFrame, robustness: RobustnessParameters) -> pd.DataFrame:
    """The images of the subset that is asked for, or whole groups drawn from them.

    Args:
        predictions: Columns subset, class_name, group and others.
        robustness: `subset`, `most_images` and `seed`.

    Returns:
        Their rows, in the order of `predictions`.

    Raises:
        UserError: If that subset was not scored.
    """
    scored_ones = set(predictions["subset"])
    wanted = robustness.subset
    if wanted == "auto":
        wanted = "test" if "test" in scored_ones else "validation"
    if wanted not in scored_ones:
        raise UserError(
            f"parameter 'robustness.subset': the predictions hold no image of {wanted}, only of "
            f"{', '.join(sorted(scored_ones)) or 'nothing'}. Set split.ratios.{wanted} above 0 and "
            "train again, or ask for another subset."
        )
    scored = predictions[predictions["subset"] == wanted].reset_index(drop=True)
    most = robustness.most_images
    if most is None or len(scored) <= most:
        return scored
    drawn = draw_groups(scored, most, robustness.seed)
    log.info(
        "Of %d images of %s %d are distorted, whole groups drawn by class (robustness.most_images)",
        len(scored), wanted, len(drawn),
    )  # fmt: skip
    return drawn


def draw_groups(scored: pd.DataFrame, most_images: int, seed: int) -> pd.DataFrame:
    """Draw whole groups, separately for each combination of classes that they hold.

    Each combination gets its share of `most_images`, rounded down to whole groups, but at least
    one. The order of the rows does not matter.

    Args:
        scored: Columns class_name, group and others.
        most_images: Drawn at most, where that leaves a group of each combination.
        seed: Of the draw.

    Returns:
        The rows of the groups that were drawn, in their order.
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
