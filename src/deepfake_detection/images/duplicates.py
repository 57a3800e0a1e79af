"""Leakage audit: equal files and near-duplicates in two subsets, equal files with two labels."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import open_indexed_picture
from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.parameters import LeakageParameters

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Whole = np.ndarray[Any, np.dtype[np.int64]]
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

_PIXELS_AT_ONCE = 1 << 22
_HASHES_AT_ONCE = 1 << 15  # they stay in the processor's cache


@dataclass(frozen=True)
class Comparison:
    """What the search for near-duplicates compared."""

    flat: int  # images without contrast; not compared
    candidates: int  # pairs of different subsets and groups with close hashes; compared
    left_out: int  # pairs with close hashes above the limit; not compared


def find_copies(images: pd.DataFrame) -> pd.DataFrame:
    """Find files that are equal byte for byte and stand in two subsets, or under two labels.

    Each copy is paired with the first one only, so the number of pairs grows linearly. `images` has
    the columns path, sha256, class_name, label, group, subset; the result, `LEAK_COLUMNS`.
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
    Pictures of one group are not compared: they are known to be alike.

    Args:
        images: Columns path, sha256, class_name, group, subset, perceptual_hash, contrast.
        folder: The image folder; only candidates are read, each once.
        parameters: Thresholds and limits.

    Returns:
        Columns as `LEAK_COLUMNS`, and what was compared.

    Raises:
        UserError: If a file is missing or has changed.
    """
    # a flat picture correlates with nothing
    shown = images[images["contrast"] >= parameters.least_contrast].reset_index(drop=True)
    (first, second, distance), left_out = find_close_pairs(
        parse_hashes(list(shown["perceptual_hash"])),
        shown["subset"].map(SUBSETS.index).to_numpy(np.int64),
        pd.factorize(shown["group"])[0],
        parameters.hash_distance,
        parameters.most_candidates,
    )
    files = pd.factorize(shown["sha256"])[0]
    # equal files are listed as exact duplicates
    apart = files[first] != files[second]
    first, second, distance = first[apart], second[apart], distance[apart]

    correlation = _correlate_files(shown, folder, first, second, parameters.thumbnail)
    alike = correlation >= parameters.correlation
    found = _pair_up(shown.iloc[first[alike]], shown.iloc[second[alike]])
    of_one_class = found["class_name"] == found["other_class_name"]
    found["kind"] = np.where(of_one_class, NEAR, CROSS_CLASS)
    found["hash_distance"], found["correlation"] = distance[alike], correlation[alike]
    compared = Comparison(len(images) - len(shown), len(first), left_out)
    return found[LEAK_COLUMNS], compared


def _pair_up(images: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Two tables side by side, row by row."""
    left, right = images[_DESCRIBED], others[_DESCRIBED].add_prefix("other_")
    return pd.concat([left.reset_index(drop=True), right.reset_index(drop=True)], axis=1)


# ---------------------------------------------------------------- close hashes


def parse_hashes(hexadecimal: list[str]) -> Hashes:
    """64-bit hashes of 16 hexadecimal digits each, as numbers, [n]."""
    return np.frombuffer(bytes.fromhex("".join(hexadecimal)), dtype=">u8").astype(np.uint64)


def find_close_pairs(
    hashes: Hashes, subsets: Whole, groups: Whole, distance: int, most: int
) -> tuple[tuple[Whole, Whole, Whole], int]:
    """Find pairs of different subsets and groups whose hashes differ in at most `distance` bits.

    Every hash is compared with every one of the other subsets, in blocks. 80,000 hashes against
    20,000 take 10 to 15 s on one core; the time grows with the square of their number. Memory
    is bounded, also where all hashes are close: at most 2 × `most` pairs are held.

    Args:
        hashes: [n].
        subsets: The number of each hash's subset, [n].
        groups: The number of each hash's group, [n].
        distance: Bits, 0 to 63.
        most: How many pairs are kept: the closest. Of equally close ones a random choice, in which
            each hash has nearly the same share of pairs.

    Returns:
        Positions of the pairs' hashes (first of the lower subset) and their distance in bits, the
        closest first; and the number of close pairs that were not kept.
    """
    order = np.random.default_rng(0).permutation(len(hashes))
    held = 0
    kept, close, limit = [np.empty((3, 0), np.int64)], 0, distance + 1
    for pair in combinations(np.unique(subsets), 2):
        few, many = sorted((order[subsets[order] == each] for each in pair), key=len)
        # each window pairs every hash of `few` with another one of `many`
        windows = sliding_window_view(np.tile(hashes[many], 2), len(few))
        their_groups = sliding_window_view(np.tile(groups[many], 2), len(few))
        # a split by group has none, and needs no comparison of them
        shared = np.isin(groups[few], groups[many]).any()
        # the first windows reach all of `many`, so that each has a pair before one has its second
        starts = np.argsort(np.arange(len(many)) % len(few), kind="stable")
        step = max(1, _HASHES_AT_ONCE // len(few))
        for block in np.split(starts, range(step, len(starts), step)):
            bits = np.bitwise_count(windows[block] ^ hashes[few])
            if shared:
                bits[their_groups[block] == groups[few]] = 65
            close += int(np.count_nonzero(bits <= distance))
            row, column = np.nonzero(bits < limit)
            if len(row) == 0:
                continue
            found = [few[column], many[(block[row] + column) % len(many)], bits[row, column]]
            kept.append(np.stack(found))
            held += len(row)
            if held > 2 * most:
                kept, held = [_closest(kept, most)], most
                limit = int(kept[0][2, -1])
    one, other, bits = _closest(kept, most)
    swapped = subsets[one] > subsets[other]
    first, second = np.where(swapped, other, one), np.where(swapped, one, other)
    return (first, second, bits), close - len(bits)


def _closest(parts: list[Whole], most: int) -> Whole:
    pairs = np.concatenate(parts, axis=1)
    return pairs[:, np.argsort(pairs[2], kind="stable")[:most]]


# ---------------------------------------------------------------- thumbnails


def _correlate_files(
    images: pd.DataFrame, folder: Path, first: Whole, second: Whole, side: int
) -> Correlations:
    """Correlations of the thumbnails of pairs, given by their rows in `images`, [pairs]."""
    rows, position = np.unique(np.concatenate([first, second]), return_inverse=True)
    chosen = images.iloc[rows]
    files = zip(chosen["path"], chosen["sha256"], strict=True)
    thumbnails = np.empty((len(rows), side * side), dtype=np.uint8)
    read = partial(_read_thumbnail, folder, side)
    for at, thumbnail in enumerate(
        map_in_processes(read, files, description="Comparing alike images", total=len(rows))
    ):
        thumbnails[at] = thumbnail
    return correlate(thumbnails, position[: len(first)], position[len(first) :])


def _read_thumbnail(folder: Path, side: int, file: tuple[str, str]) -> Thumbnails:
    """Grey pixels of an image file, given by path and SHA-256, at `side` by `side`, [side²]."""
    path, sha256 = file
    grey = open_indexed_picture(folder / path, sha256).convert("L")
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX)).reshape(-1)


def correlate(thumbnails: Thumbnails, first: Whole, second: Whole) -> Correlations:
    """Pearson correlation of pairs of thumbnails, -1 to 1, [pairs]; 0 where one of them is flat.

    `thumbnails` is [n, pixels]; `first` and `second` are the rows of each pair's two, [pairs].
    """
    step = max(1, _PIXELS_AT_ONCE // thumbnails.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(first), step)]
    return np.concatenate(
        [np.empty(0)]
        + [_correlate_rows(thumbnails[first[part]], thumbnails[second[part]]) for part in parts]
    )


def _correlate_rows(a: Thumbnails, b: Thumbnails) -> Correlations:
    # integers, so that the variance of a flat thumbnail is exactly 0
    x, y = a.astype(np.int64), b.astype(np.int64)
    norm = np.sqrt(_covary(x, x).astype(np.float64)) * np.sqrt(_covary(y, y).astype(np.float64))
    correlation = np.divide(_covary(x, y), norm, out=np.zeros(len(norm)), where=norm > 0)
    return np.clip(correlation, -1.0, 1.0)


def _covary(a: Whole, b: Whole) -> Whole:
    """Covariance of rows, times the square of their length, [rows]."""
    return a.shape[1] * np.einsum("np,np->n", a, b) - a.sum(axis=1) * b.sum(axis=1)


# ---------------------------------------------------------------- counts


def sort_leaks(leaks: pd.DataFrame) -> pd.DataFrame:
    """The most alike pairs first."""
    return leaks.sort_values(
        ["correlation", "hash_distance", "kind", "path", "other_path"],
        ascending=[False, True, True, True, True],
    ).reset_index(drop=True)


def count_leaks(leaks: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Count pairs by kind and pair of subsets, and the images of the second subset in them."""
    counts: dict[str, dict[str, dict[str, int]]] = {kind: {} for kind in KINDS}
    subsets = leaks["subset"] + " and " + leaks["other_subset"]
    for (kind, name), paths in leaks["other_path"].groupby([leaks["kind"], subsets], sort=True):
        counts[str(kind)][str(name)] = {"pairs": len(paths), "images": int(paths.nunique())}
    return counts


def count_shared_groups_by_subsets(split: pd.DataFrame) -> dict[str, int]:
    """Count groups in more than one subset, by pair of subsets; one in three counts three times."""
    held = pd.crosstab(split["group"], split["subset"]) > 0
    present = [subset for subset in SUBSETS if subset in held.columns]
    return {
        f"{lower} and {upper}": int((held[lower] & held[upper]).sum())
        for lower, upper in combinations(present, 2)
    }
