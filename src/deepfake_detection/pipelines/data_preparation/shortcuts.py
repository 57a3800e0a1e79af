"""The audit of shortcuts: how well things that have nothing to do with faces tell classes apart.

Each property, and some together, are given to a small classifier whose scores are taken out of
fold, in folds of whole groups. ROC AUC is taken inside each fold, where the scores have one scale,
and averaged with the folds' pairs as weights. So a property that tells nothing has an AUC around
0.5, in both directions; the pooled scores of all folds would have one below.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from deepfake_detection.errors import UserError
from deepfake_detection.images.file_properties import (
    FILE_PROPERTIES,
    PIXEL_STATISTICS,
    read_properties,
)
from deepfake_detection.images.group_sample import draw_groups
from deepfake_detection.metrics.intervals import Floats, area_interval, roc_auc_influence
from deepfake_detection.parameters import ShortcutParameters
from deepfake_detection.reports.shortcut_figure import draw_worst

log = logging.getLogger(__name__)

_FACE_SIZE = "face_size"
_OF_FILE = (*FILE_PROPERTIES, _FACE_SIZE)
_OF_PIXELS = (*PIXEL_STATISTICS, "contrast", "sharpness")
# What says how a file was encoded; bytes depend on the content alone where these are all the same
_ENCODING = ("format", "mode", "size", "tables", "metadata", "icc")
_BY_CONTENT = ("bytes", "bytes_per_pixel")
ALL_OF_FILE, ALL_OF_PIXELS, ALL = (
    "all file properties", "all pixel statistics", "all together",
)  # fmt: skip
# Each fold is scored by what the others taught. Where a property tells nothing, that makes their
# errors go together: with two folds and one direction to learn, the variance is 1 + 2/π times that
# of independent ones. It is taken in any case
_SHARED = 1 + 2 / math.pi
_DRAW = 1
# Images of a category; of fewer, its share of fakes says nothing
_FEWEST_OF_VALUE = 10
_SAME = "the same for all images"
_TOO_FEW = "undefined: a class has one group"
_CONTENT = "all files are encoded alike, so it depends on the content"


@dataclass(frozen=True)
class Shortcut:
    """A property, or several together, and how well they tell fakes from real images.

    `auc` with its interval is None where it is undefined.
    """

    property: str
    kind: Literal["file", "pixels", "both"]
    images: int
    groups: int
    auc: float | None
    low: float | None
    high: float | None
    warns: bool
    note: str | None


def list_file_properties(
    image_index: pd.DataFrame,
    training_images: Path,
    shortcuts: ShortcutParameters,
    face_index: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Read the properties of all images of the index, or of whole groups drawn from them.

    Returns:
        A row for each image: path, class_name, label, group, `FILE_PROPERTIES`, face_size (pixels
        across the face in its source, where a face index is given), `PIXEL_STATISTICS`,
        contrast, sharpness.

    Raises:
        UserError: If an image can no longer be read.
    """
    images = image_index
    if len(images) > shortcuts.most_images:
        # a second number: the split may have drawn its groups by the same seed
        images = draw_groups(images, shortcuts.most_images, [shortcuts.seed, _DRAW])
        log.info(
            "Of %d images, %d are audited for shortcuts, whole groups drawn by class "
            "(shortcuts.most_images)", len(image_index), len(images),
        )  # fmt: skip
    read = read_properties(training_images, images["path"].tolist())
    if lost := sorted(set(images["path"]) - set(read["path"])):
        raise UserError(
            f"{training_images / lost[0]} can no longer be read. "
            "Run kedro run --pipelines data_preparation again."
        )
    known = images[["path", "class_name", "label", "group", "contrast", "sharpness"]]
    table = known.merge(read, on="path", validate="one_to_one")
    if face_index is not None:
        pixels = face_index.set_index("path")["face_pixels"]
        table[_FACE_SIZE] = table["path"].map(pixels).astype(float)
    return table


def audit_shortcuts(
    file_properties: pd.DataFrame, shortcuts: ShortcutParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """How well each property alone, and all together, tell fakes from real images.

    A property of the file warns if its interval, corrected for their number (Bonferroni), is above
    `shortcuts.warn_above`.

    Returns:
        A row for each `Shortcut`, those of files first, the worst first; and a summary: images,
        groups, the worst shortcut of files, all of files, pixels and both together, warnings in
        words, and the settings.
    """
    table, labels = file_properties, file_properties["label"].to_numpy(dtype=np.int64)
    groups = table["group"].to_numpy()
    alike = all(table[name].nunique(dropna=False) == 1 for name in _ENCODING)
    by_content = _BY_CONTENT if alike and (table["format"] == "JPEG").all() else ()
    of_file = [name for name in _OF_FILE if name in table and name not in by_content]
    of_pixels = [*by_content, *(name for name in _OF_PIXELS if name in table)]
    asked: list[tuple[str, Literal["file", "pixels", "both"], list[str]]] = [
        *((name, "file", [name]) for name in of_file),
        (ALL_OF_FILE, "file", of_file),
        *((name, "pixels", [name]) for name in of_pixels),
        (ALL_OF_PIXELS, "pixels", of_pixels),
        (ALL, "both", [*of_file, *of_pixels]),
    ]
    told = [(*each, _vary(table, each[2])) for each in asked]
    tests = max(1, sum(kind == "file" and bool(varied) for _, kind, _, varied in told))
    folds = _deal_folds(labels, groups, shortcuts)
    # threads cost more than they save on so few rows
    with threadpool_limits(1):
        found = [
            _judge(name, kind, table[varied], labels, groups, folds, shortcuts, tests)
            for name, kind, _, varied in told
        ]
    found = [
        each if each.property not in by_content or each.note else _with_note(each) for each in found
    ]
    rows = pd.DataFrame([asdict(each) for each in found])
    order = rows["kind"].map({"file": 0, "pixels": 1, "both": 2})
    rows = rows.assign(order=order, auc_=-rows["auc"].astype(float))
    rows = rows.sort_values(["order", "auc_"], kind="stable", ignore_index=True)
    rows = rows.drop(columns=["order", "auc_"])
    summary = _summarise(found, len(table), len(np.unique(groups)), shortcuts)
    _log_shortcuts(summary)
    return rows, summary


def draw_shortcuts(file_properties: pd.DataFrame, shortcut_audit: pd.DataFrame) -> Figure:
    """Draw how the three worst properties are distributed in both classes."""
    return draw_worst(file_properties, shortcut_audit)


def _with_note(shortcut: Shortcut) -> Shortcut:
    return Shortcut(**(asdict(shortcut) | {"note": _CONTENT}))


def _vary(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if table[name].nunique(dropna=False) > 1]


def _deal_folds(labels: Any, groups: Any, shortcuts: ShortcutParameters) -> list[tuple[Any, Any]]:
    """Rows to learn from and rows to score, for each fold; none where a class has one group."""
    fewest = min((len(np.unique(groups[labels == label])) for label in (0, 1)), default=0)
    number = min(shortcuts.folds, fewest)
    if number < 2:
        return []
    from sklearn.model_selection import StratifiedGroupKFold

    dealer = StratifiedGroupKFold(number, shuffle=True, random_state=shortcuts.seed)
    return list(dealer.split(labels, labels, groups))


def _judge(
    name: str,
    kind: Literal["file", "pixels", "both"],
    columns: pd.DataFrame,
    labels: Any,
    groups: Any,
    folds: Sequence[tuple[Any, Any]],
    shortcuts: ShortcutParameters,
    tests: int,
) -> Shortcut:
    size = len(labels), len(np.unique(groups))
    if columns.empty:
        return Shortcut(name, kind, *size, 0.5, 0.5, 0.5, False, _SAME)
    if not (scored := _score_folds(columns, labels, groups, folds)):
        return Shortcut(name, kind, *size, None, None, None, False, _TOO_FEW)
    auc, influence = scored
    low, high = area_interval(auc, influence, groups, shortcuts.confidence)
    corrected = 1 - (1 - shortcuts.confidence) / tests
    surely = area_interval(auc, influence, groups, corrected)[0]
    warns = kind == "file" and bool(surely > shortcuts.warn_above)
    return Shortcut(name, kind, *size, auc, low, high, warns, None)


def _score_folds(
    columns: pd.DataFrame, labels: Any, groups: Any, folds: Sequence[tuple[Any, Any]]
) -> tuple[float, Floats] | None:
    """ROC AUC out of fold, and the influence of each row on it."""
    influence, total, pairs = np.zeros(len(labels)), 0.0, 0
    for learnt, scored in folds:
        truth = labels[scored]
        of_fold = int(truth.sum()) * int((1 - truth).sum())
        if not of_fold or len(np.unique(labels[learnt])) < 2:
            continue
        scores = _score(columns.iloc[learnt], labels[learnt], columns.iloc[scored])
        total += of_fold * _area(truth, scores)
        influence[scored] = of_fold * _spread(truth, scores, groups[scored])
        pairs += of_fold
    return (total / pairs, math.sqrt(_SHARED) * influence / pairs) if pairs else None


def _area(labels: Any, scores: Floats) -> float:
    """ROC AUC. scikit-learn's checks of its arguments take most of the time of an audit."""
    fakes = labels == 1
    number = int(fakes.sum())
    ranks = float(rankdata(scores)[fakes].sum()) - number * (number + 1) / 2
    return ranks / (number * (len(labels) - number))


def _spread(labels: Any, scores: Floats, groups: Any) -> Floats:
    """Influences on the AUC of a fold, made larger for the means that few groups determine."""
    influence = roc_auc_influence(labels, scores)
    for label in (0, 1):
        of_class = labels == label
        number = len(np.unique(groups[of_class]))
        influence[of_class] *= math.sqrt(number / (number - 1)) if number > 1 else math.sqrt(2)
    return influence


def _score(learnt: pd.DataFrame, labels: Any, scored: pd.DataFrame) -> Floats:
    """Scores of a classifier that learnt from other rows; a category becomes its share of fakes."""
    pairs = []
    for name in learnt:
        column, other = learnt[name], scored[name]
        if not pd.api.types.is_numeric_dtype(column):
            by_value = pd.Series(labels).groupby(column.to_numpy())
            # of a value that few have, its share of fakes would be their own labels
            rates = by_value.mean()[by_value.size() >= _FEWEST_OF_VALUE]
            column, other = (each.map(rates).fillna(labels.mean()) for each in (column, other))
        pairs.append((column.to_numpy(dtype=np.float64), other.to_numpy(dtype=np.float64)))
    own, theirs = (np.stack(each, axis=1) for each in zip(*pairs, strict=True))
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    model = (
        DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
        if len(pairs) == 1
        else HistGradientBoostingClassifier(
            max_iter=30, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=0
        )
    )
    return np.asarray(model.fit(own, labels).predict_proba(theirs)[:, 1])


def _summarise(
    found: Sequence[Shortcut], images: int, groups: int, shortcuts: ShortcutParameters
) -> dict[str, Any]:
    named = {each.property: asdict(each) for each in found}
    single = [
        each for each in found
        if each.kind == "file" and each.property != ALL_OF_FILE and each.note is None
    ]  # fmt: skip
    single.sort(key=lambda each: -(each.auc or 0))
    warning = [_say(each) for each in single if each.warns]
    together = next(each for each in found if each.property == ALL_OF_FILE)
    return {
        "images": images,
        "groups": groups,
        "worst": asdict(single[0]) if single else None,
        "files": named[ALL_OF_FILE],
        "pixels": named[ALL_OF_PIXELS],
        "both": named[ALL],
        "warnings": warning or ([_say(together)] if together.warns else []),
        "settings": shortcuts.model_dump(),
    }


def _say(shortcut: Shortcut) -> str:
    name = shortcut.property.replace("_", " ")
    return f"{name}: AUC {shortcut.auc:.2f} ({shortcut.low:.2f} to {shortcut.high:.2f})"


def _log_shortcuts(summary: dict[str, Any]) -> None:
    pixels, warnings = summary["pixels"], summary["warnings"]
    if pixels["auc"] is None:
        log.info("Shortcuts cannot be looked for: a class has one group")
        return
    log.info(
        "Shortcuts: simple statistics of the pixels tell real from fake with an AUC of %.2f "
        "(%.2f–%.2f), which a detector has to beat; %s",
        pixels["auc"], pixels["low"], pixels["high"],
        "see the warning for files" if warnings else "no property of the files clearly does",
    )  # fmt: skip
    if warnings:
        log.warning(
            "Files tell real from fake without their faces, by %s%s: a detector may learn that. "
            "data_preparation.equalise encodes all classes alike (shortcut_audit lists all)",
            "; ".join(warnings[:3]), f" and {len(warnings) - 3} more" if len(warnings) > 3 else "",
        )  # fmt: skip
