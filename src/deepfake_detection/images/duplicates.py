"""Leaks between subsets: pictures of one subset that stand, or nearly stand, in another too."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.images.close_hashes import (
    Whole,
    find_close_pairs,
    parse_hashes,
)
from deepfake_detection.images.reading import (
    UnreadablePictureError,
    map_in_processes,
    open_picture,
)
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.parameters import LeakageParameters

Thumbnails = np.ndarray[Any, np.dtype[np.uint8]]
Correlations = np.ndarray[Any, np.dtype[np.float64]]

DUPLICATE = "exact duplicate"
CONFLICT = "label conflict"
NEAR = "near-duplicate"
CROSS_CLASS = "cross-class near-duplicate"
KINDS = (DUPLICATE, CONFLICT, NEAR, CROSS_CLASS)

LEAK_COLUMNS = [
    "kind", "path", "class_name", "group", "subset",
    "other_path", "other_class_name", "other_group", "other_subset",
    "hash_distance", "correlation",
]  # fmt: skip
_DESCRIBED = ["path", "class_name", "group", "subset"]

_FILES_OF_A_TASK = 32
_PIXELS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Comparison:
    """What was compared in the search for near-duplicates.

    Attributes:
        flat: Images without contrast, which are compared with none.
        candidates: Pairs of different subsets and groups with close hashes, whose thumbnails were
            compared.
        left_out: Pairs with close hashes that were too many to be compared.
    """

    flat: int
    candidates: int
    left_out: int


def find_copies(images: pd.DataFrame) -> pd.DataFrame:
    """Find files that are equal byte for byte and stand in two subsets, or under two labels.

    Each is paired with the first of its kind, so that a thousand copies are a thousand pairs.

    Args:
        images: A row for each image: path, sha256, class_name, label, group, subset.

    Returns:
        Columns as `LEAK_COLUMNS`.
    """
    repeated = images[images["sha256"].duplicated(keep=False)]
    order = repeated["subset"].map(SUBSETS.index)
    repeated = repeated.assign(order=order).sort_values(["order", "path"], ignore_index=True)
    files, _ = pd.factorize(repeated["sha256"])
    first = np.flatnonzero(~repeated["sha256"].duplicated())
    first_of = repeated.iloc[first[files]].reset_index(drop=True)
    found = [
        _pair_up(first_of[differs], repeated[differs]).assign(
            kind=kind, hash_distance=0, correlation=1.0
        )
        for kind, differs in (
            (DUPLICATE, repeated["subset"] != first_of["subset"]),
            (CONFLICT, repeated["label"] != first_of["label"]),
        )
    ]
    return pd.concat(found, ignore_index=True)[LEAK_COLUMNS]


def find_near_duplicates(
    images: pd.DataFrame, folder: Path, parameters: LeakageParameters
) -> tuple[pd.DataFrame, Comparison]:
    """Find pictures that are nearly the same and stand in different subsets and groups.

    Pairs with close perceptual hashes are candidates; those whose thumbnails correlate are listed.
    What is of one group is not compared: it is known to be alike, a fake and what it was made of
    among it, and whether a group stands in one subset is counted by itself.

    Args:
        images: A row for each image: path, sha256, class_name, group, subset, perceptual_hash,
            contrast.
        folder: The image folder; only candidates are read, each once.
        parameters: How close is close.

    Returns:
        Columns as `LEAK_COLUMNS`, and what was compared.

    Raises:
        UserError: If a file is missing or has changed.
    """
    # a flat picture shows nothing, and correlates with nothing
    shown = images[images["contrast"] >= parameters.least_contrast].reset_index(drop=True)
    pairs = find_close_pairs(
        parse_hashes(list(shown["perceptual_hash"])),
        shown["subset"].map(SUBSETS.index).to_numpy(np.int64),
        parameters.hash_distance,
        parameters.most_candidates,
    )
    groups, files = pd.factorize(shown["group"])[0], pd.factorize(shown["sha256"])[0]
    apart = groups[pairs.first] != groups[pairs.second]
    apart &= files[pairs.first] != files[pairs.second]  # those are exact duplicates
    first, second, distance = pairs.first[apart], pairs.second[apart], pairs.distance[apart]

    correlation = _correlate_files(shown, folder, first, second, parameters.thumbnail)
    alike = correlation >= parameters.correlation
    found = _pair_up(shown.iloc[first[alike]], shown.iloc[second[alike]])
    of_one_class = found["class_name"] == found["other_class_name"]
    found["kind"] = np.where(of_one_class, NEAR, CROSS_CLASS)
    found["hash_distance"], found["correlation"] = distance[alike], correlation[alike]
    compared = Comparison(len(images) - len(shown), len(first), pairs.left_out)
    return found[LEAK_COLUMNS], compared


def _pair_up(images: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Two tables side by side, row by row."""
    left, right = images[_DESCRIBED], others[_DESCRIBED].add_prefix("other_")
    return pd.concat([left.reset_index(drop=True), right.reset_index(drop=True)], axis=1)


# ---------------------------------------------------------------- thumbnails


def _correlate_files(
    images: pd.DataFrame, folder: Path, first: Whole, second: Whole, side: int
) -> Correlations:
    """Correlations of the thumbnails of pairs, given by their rows in `images`, [pairs]."""
    rows, position = np.unique(np.concatenate([first, second]), return_inverse=True)
    chosen = images.iloc[rows]
    files = list(zip(chosen["path"], chosen["sha256"], strict=True))
    thumbnails = read_thumbnails(folder, files, side)
    return correlate(thumbnails, position[: len(first)], position[len(first) :])


def read_thumbnails(folder: Path, files: list[tuple[str, str]], side: int) -> Thumbnails:
    """Grey thumbnails of `side` by `side` pixels of image files, [files, side²].

    Args:
        folder: The image folder.
        files: Path in it and SHA-256 of each.
        side: Pixels.

    Raises:
        UserError: If a file is missing or has changed.
    """
    tasks = [
        (folder, files[at : at + _FILES_OF_A_TASK], side)
        for at in range(0, len(files), _FILES_OF_A_TASK)
    ]
    thumbnails = np.empty((len(files), side * side), dtype=np.uint8)
    problems: list[str] = []
    done = 0
    for read in map_in_processes(
        _thumbnail_task, tasks, description="Comparing alike images", total=len(tasks)
    ):
        for each in read:
            if isinstance(each, str):
                problems.append(each)
            else:
                thumbnails[done] = each
            done += 1
    if problems:
        more = f" (and {len(problems) - 1} more such files)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}. Run kedro run --pipelines data_preparation again.")
    return thumbnails


def _thumbnail_task(task: tuple[Path, list[tuple[str, str]], int]) -> list[Thumbnails | str]:
    folder, files, side = task
    return [_read_thumbnail(folder / path, sha256, side) for path, sha256 in files]


def _read_thumbnail(path: Path, sha256: str, side: int) -> Thumbnails | str:
    """A thumbnail, or what is wrong with the file."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            return f"{path} has changed since it was indexed"
        grey = open_picture(content).convert("L")
    except (OSError, UnreadablePictureError) as error:
        return f"{path} cannot be read any more ({getattr(error, 'strerror', None) or error})"
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX)).reshape(-1)


def correlate(thumbnails: Thumbnails, first: Whole, second: Whole) -> Correlations:
    """Pearson correlation of pairs of thumbnails, -1…1, [pairs].

    It does not change with brightness and contrast. Where a thumbnail is flat it is not defined,
    and 0 is given: nothing says that the two are alike.

    Args:
        thumbnails: [n, pixels].
        first: Rows of the pairs' first thumbnails, [pairs].
        second: Rows of the second, [pairs].
    """
    step = max(1, _PIXELS_AT_ONCE // thumbnails.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(first), step)]
    return np.concatenate(
        [np.empty(0)]
        + [_correlate_rows(thumbnails[first[part]], thumbnails[second[part]]) for part in parts]
    )


def _correlate_rows(a: Thumbnails, b: Thumbnails) -> Correlations:
    # sums of whole numbers, so that a flat one has a spread of exactly 0
    pixels = a.shape[1]
    a, b = a.astype(np.int64), b.astype(np.int64)
    sum_a, sum_b = a.sum(axis=1), b.sum(axis=1)
    product = pixels * np.einsum("np,np->n", a, b) - sum_a * sum_b
    spread_a = pixels * np.einsum("np,np->n", a, a) - sum_a**2
    spread_b = pixels * np.einsum("np,np->n", b, b) - sum_b**2
    norm = np.sqrt(spread_a.astype(np.float64)) * np.sqrt(spread_b.astype(np.float64))
    correlation = np.divide(product, norm, out=np.zeros(len(norm)), where=norm > 0)
    return np.clip(correlation, -1.0, 1.0)


# ---------------------------------------------------------------- what was found


def sort_leaks(leaks: pd.DataFrame) -> pd.DataFrame:
    """The most alike pairs first."""
    return leaks.sort_values(
        ["correlation", "hash_distance", "kind", "path", "other_path"],
        ascending=[False, True, True, True, True],
    ).reset_index(drop=True)


def count_leaks(leaks: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Pairs by kind and subsets, and how many images of the later subset stand in them."""
    counts: dict[str, dict[str, dict[str, int]]] = {kind: {} for kind in KINDS}
    subsets = leaks["subset"] + " and " + leaks["other_subset"]
    for (kind, name), paths in leaks["other_path"].groupby([leaks["kind"], subsets], sort=True):
        counts[str(kind)][str(name)] = {"pairs": len(paths), "images": int(paths.nunique())}
    return counts


def count_torn_groups_by_subsets(split: pd.DataFrame) -> dict[str, int]:
    """Groups that stand in two subsets, by these; one that stands in three counts three times."""
    held = pd.crosstab(split["group"], split["subset"]) > 0
    present = [subset for subset in SUBSETS if subset in held.columns]
    return {
        f"{lower} and {upper}": int((held[lower] & held[upper]).sum())
        for at, lower in enumerate(present)
        for upper in present[at + 1 :]
    }
