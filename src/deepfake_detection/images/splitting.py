"""Split the image index into subsets."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.images.sources_and_groups import join_over_identical
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.parameters import Ratios, SplitParameters

log = logging.getLogger(__name__)

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


def take_official_subsets(image_index: pd.DataFrame, split: SplitParameters) -> pd.Series:
    """Take the subset that the data set gives each image; None leaves an image out.

    Without an official validation subset, groups of train become one, in the proportion of the
    ratios of train and validation. Where `allow_shared_groups` is set and groups are so large that
    a class would get less than half of its share, sources are drawn instead.

    `image_index` has the columns sha256, class_name, source, group and official_subset; the result
    has its index.

    Raises:
        UserError: If there is no official split, a group stands in two of its subsets, or train or
            validation has one label only.
    """
    subsets = image_index["official_subset"].astype(object)
    subsets = subsets.where(subsets.notna(), None)
    given = [name for name in SUBSETS if (subsets == name).any()]
    if "train" not in given or len(given) == 1:
        raise UserError(
            "split.method is official, and the data set "
            + (f"gives only {given[0]}" if given else "gives its images no subsets")
            + ". docs/data.md names the lists that each layout reads; or set split.method=group"
        )
    _check_shared_groups(image_index["group"], subsets, split)
    subsets = _leave_out_copies(image_index["sha256"], subsets)
    if left_out := image_index.loc[image_index["official_subset"].isna(), "class_name"].tolist():
        log.warning(
            "%d images have no official subset and are left out of the split (classes %s)",
            len(left_out), ", ".join(dict.fromkeys(left_out)),
        )  # fmt: skip
    if "validation" not in given and split.ratios.validation > 0:
        train = image_index[subsets == "train"]
        subsets[train.index] = _draw_validation(train, split)
    for name in ("train", "validation"):
        classes = image_index.loc[subsets == name, ["class_name", "label"]]
        if classes["label"].nunique() == 1:
            lacking = "real" if classes["label"].iloc[0] else "fake"
            raise UserError(
                f"the official {name} subset holds no {lacking} image, only class "
                f"{', '.join(classes['class_name'].unique())}: add what is missing, or set "
                "split.method=group"
            )
    return subsets


def _check_shared_groups(groups: pd.Series, subsets: pd.Series, split: SplitParameters) -> None:
    found = subsets.groupby(groups).unique().map(lambda names: [n for n in SUBSETS if n in names])
    shared = found[found.str.len() > 1]
    if shared.empty:
        return
    said = (
        f"the official split puts {len(shared)} of {len(found)} groups into more than one subset, "
        f"the first being '{shared.index[0]}' ({', '.join(shared.iloc[0])})"
    )
    if not split.allow_shared_groups:
        raise UserError(
            f"{said}: what they have in common, such as a person, is trained on and scored. "
            "split.allow_shared_groups=true permits it, and split.method=group draws other subsets"
        )
    log.warning("%s, as split.allow_shared_groups permits", said.capitalize())


def _leave_out_copies(sha256s: pd.Series, subsets: pd.Series) -> pd.Series:
    """Keep a file that stands in several subsets in the last of them alone."""
    order = subsets.map(dict(zip(SUBSETS, range(len(SUBSETS)), strict=True)))
    copies = order.notna() & (order < order.groupby(sha256s).transform("max"))
    if copies.any():
        log.warning(
            "%d images are left out of their subset, since the same file stands in a later one",
            copies.sum(),
        )
    return subsets.mask(copies, None)


def _draw_validation(train: pd.DataFrame, split: SplitParameters) -> pd.Series:
    share = split.ratios.validation / (split.ratios.train + split.ratios.validation)
    ratios = Ratios(train=1 - share, validation=share, test=0)
    drawn = split.model_copy(update={"method": "group", "ratios": ratios})
    log.info("The official split has no validation: %.0f %% of train become it", 100 * share)
    try:
        subsets = draw_subsets(train, drawn)
    except UserError:
        if not split.allow_shared_groups:
            raise
    else:
        held = pd.crosstab(train["class_name"], subsets == "validation", normalize="index")[True]
        if held.min() >= share / 2 or not split.allow_shared_groups:
            log.info(
                "Validation holds %s",
                ", ".join(f"{100 * part:.0f} % of {name}" for name, part in held.items()),
            )
            return subsets
    log.warning("Groups of train are too large to divide: validation is drawn by source instead")
    return draw_subsets(
        train.assign(group=join_over_identical(train["source"], train["sha256"])), drawn
    )


def leave_classes_out(
    image_index: pd.DataFrame, subsets: pd.Series, names: Sequence[str]
) -> pd.Series:
    """Take classes of fakes out of train and validation, and all other fakes out of test.

    An image keeps its subset or gets None, so all else is as with no class left out: the real
    images, and the images of the classes in test. A file equal to one of theirs counts as one.

    `image_index` has the columns sha256, class_name and label; `subsets` and the result have its
    index.

    Raises:
        UserError: If there is no such class, it is not of fakes, or a subset would hold one label.
    """
    of_class = image_index["class_name"].isin(names)
    fake = image_index["label"] == 1
    for name in names:
        if not (image_index["class_name"] == name).any():
            hint = suggest(name, image_index.loc[fake, "class_name"].unique())
            raise UserError(f"parameter 'split.leave_out': there is no class '{name}': {hint}")
        if not fake[image_index["class_name"] == name].all():
            raise UserError(f"parameter 'split.leave_out': '{name}' is real; name a class of fakes")
    equal = image_index["sha256"].isin(image_index.loc[of_class, "sha256"])
    kept = subsets.where((of_class | ~fake).where(subsets == "test", ~equal), None)
    for subset in SUBSETS:
        labels = set(image_index.loc[kept == subset, "label"].map({1: "fake", 0: "real"}))
        lacking = {"real", "fake"} - labels
        # there may be no validation at all
        if lacking and (labels or subset != "validation"):
            raise UserError(
                f"parameter 'split.leave_out': without {', '.join(names)}, {subset} holds no "
                f"{' and no '.join(sorted(lacking))} image"
            )
    return kept
