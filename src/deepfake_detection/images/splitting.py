"""Split the image index into subsets."""

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.parameters import SplitParameters

# Only a few units that hold several classes each need more than one.
_DRAWS = 100


def draw_subsets(image_index: pd.DataFrame, split: SplitParameters) -> pd.Series:
    """Draw the subset of each image.

    A unit is a group, or an image in the individual method; identical files are one unit, so that
    no training image is scored. Units are shuffled and cut at the ratios, separately for each
    combination of classes that they hold. The ratios of a class whose units hold no other class are
    exact up to its largest unit. Where units hold several classes, each combination may be off by
    a unit; units of one class compensate for it as far as they can. Every class is in every subset.

    The result does not depend on the order of the rows.

    `image_index` has the columns sha256, class_name and group; the result has its index.

    Raises:
        UserError: If a class has fewer units than there are subsets, or units of several classes
            leave a class without images in a subset.
    """
    unit_column = image_index["group"] if split.method == "group" else image_index["sha256"]
    codes, _ = pd.factorize(unit_column, sort=True)
    classes, class_names = pd.factorize(image_index["class_name"], sort=True)
    counts = np.zeros((codes.max() + 1, len(class_names)), dtype=np.int64)
    np.add.at(counts, (codes, classes), 1)

    wanted, ratios = _list_parts(split)
    _check_units(counts, list(class_names), len(wanted), split)
    generator = np.random.default_rng(split.seed)
    for _ in range(_DRAWS):
        subset_of_unit = _cut(counts, ratios, generator)
        gap = _fill_empty(subset_of_unit, counts, len(wanted))
        if gap is None:
            break
    if gap is not None:
        subset, column = gap
        raise UserError(
            f"class '{class_names[column]}' has no images left for {wanted[subset]}: its groups "
            "hold images of other classes too, and there are too few of them. Add images, or "
            "change group in the parameters of data_preparation, or split.ratios."
        )
    return pd.Series(np.array(wanted, dtype=object)[subset_of_unit[codes]], index=image_index.index)


def _list_parts(split: SplitParameters) -> tuple[list[str], np.ndarray]:
    """The subset of each part, and its share. Every fold has the same parts, but another test."""
    if split.fold is None:
        wanted = [name for name in SUBSETS if getattr(split.ratios, name) > 0]
        return wanted, np.array([getattr(split.ratios, name) for name in wanted])
    parts = split.fold.of
    subsets = ["train"] * parts
    subsets[split.fold.number - 1] = "test"
    subsets[split.fold.number % parts] = "validation"
    return subsets, np.full(parts, 1 / parts)


def _check_units(
    counts: np.ndarray, class_names: list[str], parts: int, split: SplitParameters
) -> None:
    units = (counts > 0).sum(axis=0)
    least = max(parts, 2)
    part, ratios = ("subset", "split.ratios") if split.fold is None else ("fold", "split.fold")
    for name, number in zip(class_names, units, strict=True):
        if number < least:
            kind = "group" if split.method == "group" else "different image"
            raise UserError(
                f"class '{name}' has {number} {kind}{'' if number == 1 else 's'}, and the split "
                f"needs {least} at least, one for each {part}. Add images, or change source and "
                f"group in the parameters of data_preparation, or {ratios}."
            )


def _cut(counts: np.ndarray, ratios: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle units and cut each combination of classes at the ratios: subset numbers, [units]."""
    sizes, held = counts.sum(axis=1), counts > 0
    _, combination = np.unique(held, axis=0, return_inverse=True)
    combination = combination.ravel()
    order = generator.permutation(len(sizes))
    # units of one class come last: they compensate for the rounding of the others
    order = order[np.lexsort((combination[order], -held.sum(axis=1)[order]))]
    subsets = np.empty(len(sizes), dtype=np.intp)
    shares = np.cumsum(ratios)[:-1]
    owed = np.zeros((len(shares), counts.shape[1]))  # images missing below each boundary, by class
    starts = np.flatnonzero(np.diff(combination[order], prepend=-1))
    for units in np.split(order, starts[1:]):
        ends = np.cumsum(sizes[units])
        middles = ends - sizes[units] / 2
        # the small shift puts a middle that equals a boundary, up to rounding, always on one side
        boundaries = shares * ends[-1] + 1e-9 * ends[-1]
        classes = np.flatnonzero(held[units[0]])
        if len(classes) == 1:
            boundaries = np.maximum.accumulate(boundaries + owed[:, classes[0]])
        subsets[units] = np.searchsorted(boundaries, middles)
        for boundary, share in enumerate(shares):
            below = counts[units[subsets[units] <= boundary]].sum(axis=0)
            owed[boundary] += share * counts[units].sum(axis=0) - below
    return subsets


def _fill_empty(subsets: np.ndarray, counts: np.ndarray, number: int) -> tuple[int, int] | None:
    """Give each class a unit in each subset where rounding left none; in place.

    The smallest unit of the subset with the most units of the class is moved. The result is a
    subset and class that stay empty, if there are such.
    """
    has = counts > 0
    for _ in range(number * counts.shape[1] + 1):
        held = np.stack([has[subsets == each].sum(axis=0) for each in range(number)])
        empty = np.argwhere(held == 0)
        if len(empty) == 0:
            return None
        subset, column = empty[0]
        # moving the last unit of another class would only leave that class without one
        spare = has[:, column] & ~(has & (held[subsets] == 1)).any(axis=1)
        if not spare.any():
            spare = has[:, column] & (subsets == np.argmax(held[:, column]))
        units = np.flatnonzero(spare)
        best = np.lexsort((counts[units].sum(axis=1), -held[subsets[units], column]))[0]
        subsets[units[best]] = subset
    return int(subset), int(column)
