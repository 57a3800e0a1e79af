"""The page's gallery: explained cases with their pictures and heat maps, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepfake_detection.metrics.cases import ExplainedCase, Kind
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.pipelines.reporting.embedding import embed_heat, embed_picture
from deepfake_detection.pipelines.reporting.galleries import KINDS, collect_gallery
from deepfake_detection.reports.tiles import Picture, load_picture

# Half of the 5 MB that a page may weigh is for the pictures, at the first of these edges in pixels
# with which they keep within it; and there are never more of them than fit at the last.
_PICTURE_BYTES = 2_200_000
_EDGES = (288, 224, 160, 112, 80)
_MOST_OF_A_KIND = 100

# label of the right verdicts of a kind, and what they are called
_RIGHT: dict[Kind, tuple[int, str]] = {
    "certain fake": (1, "fakes found"),
    "certain real": (0, "real ones passed"),
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
        """Where the heat map lies on the picture, as CSS: what the network saw of it."""
        left, top, right, bottom = (100 * share for share in self.case.box)
        return (
            f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        )


@dataclass(frozen=True)
class KindOfCase:
    """The cases of one kind: how many are shown, and of how many."""

    kind: Kind
    shown: int
    told: str


def choose_cases(
    cases: Sequence[ExplainedCase], predictions: pd.DataFrame, most: int
) -> list[ExplainedCase]:
    """The false cases, explained or not, the most confident first; then the explained right ones.

    Args:
        cases: Those that were explained.
        predictions: A row for each scored image.
        most: Of a kind, at most.
    """
    shown = min(most, _MOST_OF_A_KIND)
    explained = {case.path: case for case in cases}
    chosen = [
        explained.get(each.path)
        or ExplainedCase(each.path, kind, each.class_name, each.source, each.fake_probability, None)
        for kind in KINDS
        for each in collect_gallery(predictions, kind, shown).cases
    ]
    return chosen + [case for kind in _RIGHT for case in _of_kind(cases, kind)[:shown]]


def tell_kinds(chosen: Sequence[ExplainedCase], predictions: pd.DataFrame) -> list[KindOfCase]:
    """What there is to say of each kind: how many cases of it there are, and how many are shown.

    Args:
        chosen: The cases on the page.
        predictions: A row for each scored image.
    """
    told = []
    for kind in KINDS:
        shown = len(_of_kind(chosen, kind))
        told.append(KindOfCase(kind, shown, collect_gallery(predictions, kind, shown).in_words()))
    subset, scored = headline_predictions(predictions)
    for right_kind, (label, name) in _RIGHT.items():
        right = int(((scored["label"] == label) & (scored["predicted"] == label)).sum())
        if shown := len(_of_kind(chosen, right_kind)):
            words = f"{shown:,} of the {right:,} {name} of {subset}, among the most certain."
            told.append(KindOfCase(right_kind, shown, words))
    return told


def fill_tiles(chosen: Sequence[ExplainedCase], folder: Path) -> list[CaseTile]:
    """The cases with their pictures, as large as the page's weight admits.

    Args:
        chosen: The cases on the page.
        folder: The image folder.
    """
    pictures = [load_picture(folder, case.path, _EDGES[0]) for case in chosen]
    *larger, least = _EDGES
    fitting = (images for edge in larger if (images := _embed_within(pictures, edge)) is not None)
    images = next(fitting, None) or [_embed(picture, least) for picture in pictures]
    return [
        _tile(case, picture, image)
        for case, picture, image in zip(chosen, pictures, images, strict=True)
    ]


def _embed_within(pictures: Sequence[Picture], edge: int) -> list[str] | None:
    """All pictures with this edge; None as soon as they weigh too much."""
    images, weight = [], 0
    for picture in pictures:
        images.append(_embed(picture, edge))
        weight += len(images[-1])
        if weight > _PICTURE_BYTES:
            return None
    return images


def _embed(picture: Picture, edge: int) -> str:
    return "" if picture.image is None else embed_picture(picture.image, edge)


def _tile(case: ExplainedCase, picture: Picture, image: str) -> CaseTile:
    if picture.image is None:
        return CaseTile(case, "", "", picture.problem, 1.0)
    return CaseTile(case, image, embed_heat(case), "", picture.image.width / picture.image.height)


def _of_kind(cases: Sequence[ExplainedCase], kind: Kind) -> list[ExplainedCase]:
    return [case for case in cases if case.kind == kind]
