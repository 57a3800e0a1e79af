"""Cutting the image index into subsets."""

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import SplitParameters

SUBSETS = ("train", "validation", "test")


def draw_subsets(image_index: pd.DataFrame, split: SplitParameters) -> pd.Series:
    """Draw the subset of each image.

    What is drawn is a unit: a group, or with the individual method an image (identical files are
    one unit, so that no picture is scored that was trained on). Units are shuffled and cut at the
    ratios, separately for each combination of classes that they hold. So each class has its ratios,
    up to one unit, as long as a unit's classes are alike within a combination.

    Args:
        image_index: Columns sha256, class_name, group.
        split: Method, ratios, seed.

    Returns:
        Of `train`, `validation`, `test`, with the index of `image_index`.

    Raises:
        UserError: If a class has fewer units than there are subsets.
    """
    unit_column = image_index["group"] if split.method == "group" else image_index["sha256"]
    codes, _ = pd.factorize(unit_column, sort=True)
    classes, class_names = pd.factorize(image_index["class_name"], sort=True)
    counts = np.zeros((codes.max() + 1, len(class_names)), dtype=np.int64)
    np.add.at(counts, (codes, classes), 1)

    wanted = [name for name in SUBSETS if getattr(split.ratios, name) > 0]
    ratios = np.array([getattr(split.ratios, name) for name in wanted])
    _check_units(counts, list(class_names), len(wanted), split.method)
    subset_of_unit = _cut(counts, ratios, np.random.default_rng(split.seed))
    _fill_empty(subset_of_unit, counts, len(wanted))
    return pd.Series(np.array(wanted, dtype=object)[subset_of_unit[codes]], index=image_index.index)


def _check_units(counts: np.ndarray, class_names: list[str], subsets: int, method: str) -> None:
    units = (counts > 0).sum(axis=0)
    least = max(subsets, 2)
    for name, number in zip(class_names, units, strict=True):
        if number < least:
            kind = "groups" if method == "group" else "different images"
            raise UserError(
                f"class '{name}' has {number} {kind}, and the split needs {least} at least, one for "
                "each subset. Add images, or change source and group in the parameters of "
                "data_preparation, or split.ratios."
            )


def _cut(counts: np.ndarray, ratios: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle units and cut each combination of classes at the ratios: subset numbers, [units]."""
    sizes = counts.sum(axis=1)
    _, combination = np.unique(counts > 0, axis=0, return_inverse=True)
    order = generator.permutation(len(sizes))
    order = order[np.argsort(combination.ravel()[order], kind="stable")]
    subsets = np.empty(len(sizes), dtype=np.intp)
    starts = np.flatnonzero(np.diff(combination.ravel()[order], prepend=-1))
    for units in np.split(order, starts[1:]):
        ends = np.cumsum(sizes[units])
        middles = ends - sizes[units] / 2
        # the small shift keeps a middle that lies on a boundary, up to rounding, on one side of it
        boundaries = np.cumsum(ratios)[:-1] * ends[-1] + 1e-9 * ends[-1]
        subsets[units] = np.searchsorted(boundaries, middles)
    return subsets


def _fill_empty(subsets: np.ndarray, counts: np.ndarray, number: int) -> None:
    """Give each class a unit in each subset, where rounding left none; in place.

    The smallest unit is taken out of the subset that has most of the class and can spare it.
    """
    for _ in range(number * counts.shape[1]):
        held = np.stack([(counts[subsets == each] > 0).sum(axis=0) for each in range(number)])
        empty = np.argwhere(held == 0)
        if len(empty) == 0:
            return
        subset, column = empty[0]
        donor = int(np.argmax(held[:, column]))
        units = np.flatnonzero((subsets == donor) & (counts[:, column] > 0))
        # a unit that is the last of another class in its subset would only move the hole
        spare = [u for u in units if (held[donor, counts[u] > 0] > 1).all()]
        candidates = np.array(spare if spare else units)
        subsets[candidates[np.argmin(counts[candidates].sum(axis=1))]] = subset


def count_images(split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images by subset and class."""
    table = pd.crosstab(split["subset"], split["class_name"])
    return {
        subset: {str(name): int(count) for name, count in table.loc[subset].items()}
        for subset in SUBSETS
        if subset in table.index
    }


def count_groups(split: pd.DataFrame) -> dict[str, int]:
    """Groups by subset; one that stands in several counts in each."""
    groups = split.groupby("subset")["group"].nunique()
    return {subset: int(groups[subset]) for subset in SUBSETS if subset in groups.index}


def count_torn_groups(split: pd.DataFrame) -> int:
    """Groups that stand in more than one subset."""
    pairs = split[["group", "subset"]].drop_duplicates()
    return int((pairs.groupby("group")["subset"].size() > 1).sum())
