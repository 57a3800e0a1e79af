"""Pictures on the page: errors by group with their heat maps, and possible label errors."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from deepfake_detection.metrics.cases import FALSE_KINDS, ExplainedCase, Kind, label_of
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.models.heat_maps import heat_layer
from deepfake_detection.pipelines.reporting.galleries import collect_gallery
from deepfake_detection.reports.embedded_figures import data_uri
from deepfake_detection.reports.tiles import load_picture

# Half of the 5 MB that a page may weigh is for the pictures: they have the largest of these edges
# (pixels) with which they stay within it, and no kind has more of them than fit with the smallest.
_PICTURE_BYTES = 2_200_000
_EDGES = (288, 224, 160, 112, 80)
_MOST_OF_A_KIND = 100
# small: it is enough to judge a label
_ISSUE_EDGE = 160
_MOST_ISSUES = 24
# Pictures of the first screen: so many errors and so many right verdicts
_FIRST = 3

_JPEG_QUALITY = 82
# A heat map is no finer than the network's last grid (7×7 to 8×8 for photographs): so few pixels
# each way lose nothing of it.
_HEAT_PIXELS = 24
_SCALE_STEPS = 32

# What became of the picture, in the words of a caption
_RIGHT_KINDS: tuple[Kind, ...] = ("certain fake", "certain real")
OUTCOMES: dict[Kind, str] = {
    "false negative": "fake, called real", "false positive": "real, called fake",
    "certain fake": "fake, detected", "certain real": "real, accepted",
}  # fmt: skip


@dataclass(frozen=True)
class CaseTile:
    """A case in the page: images are data URIs, empty where a `problem` says why."""

    case: ExplainedCase
    image: str
    heat: str
    problem: str  # missing, unreadable, or empty
    ratio: float  # width by height
    number: int  # in the page, from 1

    @property
    def place(self) -> str:
        """Where the heat map lies on the picture, as CSS: on what the network saw of it."""
        left, top, right, bottom = (100 * share for share in self.case.box)
        return (
            f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        )


@dataclass(frozen=True)
class CaseGroup:
    """Errors of one kind in one group of images; without a name, those of several groups."""

    name: str
    errors: int
    images: int  # of their class in these groups
    tiles: list[CaseTile]


def show_cases(
    explained: Sequence[ExplainedCase], predictions: pd.DataFrame, folder: Path, most: int
) -> dict[str, Any]:
    """The pictures of the first screen and the gallery of cases, as their templates take them."""
    tiles = fill_tiles(choose_cases(explained, predictions, most), folder)
    words = {kind: collect_gallery(predictions, kind, most).in_words() for kind in FALSE_KINDS}
    of_group = {path: str(group) for path, group in predictions[["path", "group"]].to_numpy()}
    return {
        "tiles": tiles,
        "first": choose_first(tiles, of_group),
        "kinds": {
            kind: (words[kind], group_errors(tiles, predictions, kind, of_group))
            for kind in FALSE_KINDS
        },
        "right": [tile for tile in tiles if tile.case.kind in _RIGHT_KINDS],
        "outcomes": OUTCOMES,
        "not_shown": [tile for tile in tiles if tile.problem],
        "has_heat": any(tile.heat for tile in tiles),
        "heat_scale": embed_heat_scale(),
    }


def choose_cases(
    cases: Sequence[ExplainedCase], predictions: pd.DataFrame, most: int
) -> list[ExplainedCase]:
    """The errors, explained or not, the most confident first; then the explained right verdicts."""
    shown = min(most, _MOST_OF_A_KIND)
    explained = {case.path: case for case in cases}
    chosen = [
        explained.get(path) or ExplainedCase(path, kind, class_name, source, probability, heat=None)
        for kind in FALSE_KINDS
        for path, class_name, source, probability in collect_gallery(
            predictions, kind, shown
        ).cases.itertuples(index=False, name=None)
    ]
    right = [[case for case in cases if case.kind == kind] for kind in _RIGHT_KINDS]
    return chosen + [case for of_kind in right for case in of_kind[:shown]]


def choose_first(tiles: Sequence[CaseTile], of_group: dict[str, str]) -> list[CaseTile]:
    """Three errors and three right verdicts, more of one where the other has fewer.

    They are of both classes in turn, and of unlike groups as far as there are such.
    """
    errors = list(_take_turns(tiles, of_group, FALSE_KINDS))
    right = list(_take_turns(tiles, of_group, _RIGHT_KINDS))
    hits = right[: max(_FIRST, 2 * _FIRST - len(errors))]
    return errors[: 2 * _FIRST - len(hits)] + hits


def _take_turns(
    tiles: Sequence[CaseTile], of_group: dict[str, str], kinds: Sequence[Kind]
) -> Iterator[CaseTile]:
    queues = []
    for kind in kinds:
        of_kind = [tile for tile in tiles if tile.case.kind == kind and not tile.problem]
        # the first of each group before any second one
        seen: dict[str, int] = {}
        turns = []
        for tile in of_kind:
            group = of_group[tile.case.path]
            seen[group] = seen.get(group, 0) + 1
            turns.append(seen[group])
        queues.append([of_kind[at] for at in np.argsort(turns, kind="stable")])
    for turn in zip_longest(*queues):
        yield from filter(None, turn)


def group_errors(
    tiles: Sequence[CaseTile], predictions: pd.DataFrame, kind: Kind, of_group: dict[str, str]
) -> list[CaseGroup]:
    """The errors of a kind by their groups, those with the most first, single ones together."""
    _, scored = headline_predictions(predictions)
    of_class = scored[scored["label"] == label_of(kind)].astype({"group": str})
    wrong = of_class["group"][of_class["predicted"] != of_class["label"]].value_counts()
    images = of_class["group"].value_counts()
    held: dict[str, list[CaseTile]] = {}
    for tile in tiles:
        if tile.case.kind == kind:
            held.setdefault(of_group[tile.case.path], []).append(tile)
    groups = [
        CaseGroup(name, int(wrong[name]), int(images[name]), of_name)
        for name, of_name in held.items()
    ]
    groups.sort(key=lambda group: -group.errors)
    single = [group for group in groups if group.errors == 1]
    if len(single) < 2:
        return groups
    several = CaseGroup(
        "", len(single), sum(group.images for group in single),
        [tile for group in single for tile in group.tiles],
    )  # fmt: skip
    return [group for group in groups if group.errors > 1] + [several]


def fill_tiles(chosen: Sequence[ExplainedCase], folder: Path) -> list[CaseTile]:
    """The cases with their pictures, as large as the page's weight admits."""
    pictures = [load_picture(folder, case.path, _EDGES[0]) for case in chosen]
    for edge in _EDGES:
        tiles, weight = [], 0
        for number, (case, picture) in enumerate(zip(chosen, pictures, strict=True), 1):
            if picture.image is None:
                tiles.append(CaseTile(case, "", "", picture.problem, 1.0, number))
                continue
            image = embed_picture(picture.image, edge)
            ratio = picture.image.width / picture.image.height
            tiles.append(CaseTile(case, image, embed_heat(case), "", ratio, number))
            weight += len(image)
            if weight > _PICTURE_BYTES and edge != _EDGES[-1]:
                break
        else:
            break
    return tiles


def show_label_issues(label_issues: pd.DataFrame, folder: Path, most: int) -> list[dict[str, Any]]:
    """The first of the possible label errors, each with `labelled`, `image` and `problem`.

    The table has the least probable label first; a page never holds more than 24. `image` is a data
    URI, or empty where `problem` says why.
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


def embed_picture(image: Image.Image, edge: int) -> str:
    """An RGB picture as the data URI of a JPEG image, its longer edge at most `edge` pixels."""
    smaller = image.copy()
    smaller.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return data_uri("image/jpeg", buffer.getvalue())


def embed_heat(case: ExplainedCase) -> str:
    """A case's heat map as the data URI of a PNG image to lay over its picture; "" without one."""
    if case.heat is None:
        return ""
    side = min(_HEAT_PIXELS, case.heat.shape[0])
    return _embed_layer(heat_layer(np.asarray(case.heat, dtype=np.float32), (side, side)))


def embed_heat_scale() -> str:
    """The colours of heat maps, from no heat on the left to the most on the right."""
    steps = np.linspace(0, 1, _SCALE_STEPS, dtype=np.float32)[None]
    return _embed_layer(heat_layer(steps, (_SCALE_STEPS, 1)))


def _embed_layer(layer: Image.Image) -> str:
    buffer = io.BytesIO()
    layer.save(buffer, "PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())
