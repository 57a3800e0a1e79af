"""Pictures on the page: explained cases with their heat maps, and possible label errors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.metrics.cases import FALSE_KINDS, ExplainedCase, Kind
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.pipelines.reporting.embedding import (
    embed_heat,
    embed_heat_scale,
    embed_picture,
)
from deepfake_detection.pipelines.reporting.galleries import collect_gallery
from deepfake_detection.reports.tiles import load_picture

# Half of the 5 MB that a page may weigh is for the pictures: they have the largest of these edges
# (pixels) with which they stay within it, and no kind has more of them than fit with the smallest.
_PICTURE_BYTES = 2_200_000
_EDGES = (288, 224, 160, 112, 80)
_MOST_OF_A_KIND = 100
# small: it is enough to judge a label
_ISSUE_EDGE = 160
_MOST_ISSUES = 24

# label and name of the right verdicts of a kind
_RIGHT: dict[Kind, tuple[int, str]] = {
    "certain fake": (1, "fakes detected"),
    "certain real": (0, "real images accepted"),
}


@dataclass(frozen=True)
class CaseTile:
    """A case in the page.

    Attributes:
        case: What was scored.
        image: The picture's data URI; empty where `problem` says why.
        heat: That of its heat map; empty where `case.problem` says why.
        problem: `missing` or `unreadable`, or empty.
        ratio: The picture's width by its height.
    """

    case: ExplainedCase
    image: str
    heat: str
    problem: str
    ratio: float

    @property
    def place(self) -> str:
        """Where the heat map lies on the picture, as CSS: on what the network saw of it."""
        left, top, right, bottom = (100 * share for share in self.case.box)
        return (
            f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        )


def show_cases(
    explained: Sequence[ExplainedCase], predictions: pd.DataFrame, folder: Path, most: int
) -> dict[str, Any]:
    """The gallery of cases, as its template takes it.

    Args:
        explained: Cases with heat maps.
        predictions: A row for each scored image.
        folder: The image folder.
        most: Cases of a kind, at most.
    """
    chosen = choose_cases(explained, predictions, most)
    tiles = fill_tiles(chosen, folder)
    return {
        "tiles": tiles,
        "kinds": describe_kinds(chosen, predictions),
        "case_classes": list(dict.fromkeys(case.class_name for case in chosen)),
        "not_shown": [tile for tile in tiles if tile.problem],
        "has_heat": any(tile.heat for tile in tiles),
        "heat_scale": embed_heat_scale(),
    }


def choose_cases(
    cases: Sequence[ExplainedCase], predictions: pd.DataFrame, most: int
) -> list[ExplainedCase]:
    """The errors, explained or not, the most confident first; then the explained right verdicts.

    Args:
        cases: Those that were explained.
        predictions: A row for each scored image.
        most: Of a kind, at most.
    """
    shown = min(most, _MOST_OF_A_KIND)
    explained = {case.path: case for case in cases}
    chosen = [
        explained.get(case["path"]) or ExplainedCase(kind=kind, heat=None, **case)
        for kind in FALSE_KINDS
        for case in collect_gallery(predictions, kind, shown).cases.to_dict("records")
    ]
    right = [[case for case in cases if case.kind == kind] for kind in _RIGHT]
    return chosen + [case for of_kind in right for case in of_kind[:shown]]


def describe_kinds(
    chosen: Sequence[ExplainedCase], predictions: pd.DataFrame
) -> dict[Kind, tuple[int, str]]:
    """For each kind, how many cases are shown, and of how many, in words."""
    shown = Counter(case.kind for case in chosen)
    described = {
        kind: (shown[kind], collect_gallery(predictions, kind, shown[kind]).in_words())
        for kind in FALSE_KINDS
    }
    subset, scored = headline_predictions(predictions)
    for kind, (label, name) in _RIGHT.items():
        right = int(((scored["label"] == label) & (scored["predicted"] == label)).sum())
        if count := shown[kind]:
            words = f"{count:,} of the {right:,} {name} of {subset}, among the most certain."
            described[kind] = (count, words)
    return described


def fill_tiles(chosen: Sequence[ExplainedCase], folder: Path) -> list[CaseTile]:
    """The cases with their pictures, as large as the page's weight admits.

    Args:
        chosen: The cases on the page.
        folder: The image folder.
    """
    pictures = [load_picture(folder, case.path, _EDGES[0]) for case in chosen]
    for edge in _EDGES:
        tiles, weight = [], 0
        for case, picture in zip(chosen, pictures, strict=True):
            if picture.image is None:
                tiles.append(CaseTile(case, "", "", picture.problem, 1.0))
                continue
            image, ratio = embed_picture(picture.image, edge), picture.image.width
            tiles.append(CaseTile(case, image, embed_heat(case), "", ratio / picture.image.height))
            weight += len(image)
            if weight > _PICTURE_BYTES and edge != _EDGES[-1]:
                break
        else:
            break
    return tiles


def show_label_issues(label_issues: pd.DataFrame, folder: Path, most: int) -> list[dict[str, Any]]:
    """The first of the possible label errors, each with `labelled`, `image` and `problem`.

    `image` is a data URI, or empty where `problem` says why.

    Args:
        label_issues: subset, path, label, source, label_probability, source_label_probability, the
            least probable label first.
        folder: The image folder.
        most: How many, at most; a page never holds more than 24.
    """
    shown = []
    for row in label_issues.head(min(most, _MOST_ISSUES)).to_dict("records"):
        picture = load_picture(folder, str(row["path"]), _ISSUE_EDGE)
        image = "" if picture.image is None else embed_picture(picture.image, _ISSUE_EDGE)
        labelled = "fake" if row["label"] == 1 else "real"
        shown.append(
            {str(name): value for name, value in row.items()}
            | {"labelled": labelled, "image": image, "problem": picture.problem}
        )
    return shown
