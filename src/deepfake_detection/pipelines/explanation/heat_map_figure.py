"""The figure of heat maps: each explained picture beside the same with its heat map."""

from pathlib import Path

from matplotlib import rcParams
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from deepfake_detection.metrics.cases import KINDS, ExplainedCase, Kind
from deepfake_detection.models.heat_maps import COLOUR_MAP, overlay
from deepfake_detection.reports.style import drawing, finished, message_figure
from deepfake_detection.reports.tiles import (
    CAPTION,
    Picture,
    add_caption,
    add_picture,
    add_words,
    load_picture,
    tiled_figure,
)
from deepfake_detection.reports.words import folded

_TITLE = "Heat maps of verdicts"
_ROWS: dict[Kind, str] = {
    "false negative": "False negatives: evidence for real",
    "false positive": "False positives: evidence for fake",
    "certain fake": "Most certain fakes: evidence for fake",
    "certain real": "Most certain real images: evidence for real",
}

# Sizes of the figure, in inches.
_TILE = 1.3
_BETWEEN = 0.06  # a picture and its heat map
_GAP = 0.28
_PAIR = 2 * _TILE + _BETWEEN
_ROW = 0.3 + _TILE + CAPTION
_HEAD = 0.95
_TILE_PIXELS = 300
_BAR = 1.6  # length of the colour bar


def draw_cases(cases: list[ExplainedCase], folder: Path, columns: int) -> Figure:
    """A row for each kind of case: picture and heat map side by side, words beneath.

    At most `columns` cases of a kind. A missing or unreadable picture is named on a grey tile,
    without a heat map; a grey tile says why another has none.
    """
    with drawing():
        if not cases:
            return message_figure("No image was scored.", _TITLE)
        width = _GAP + max(2, min(columns, len(cases))) * (_PAIR + _GAP)
        figure = tiled_figure(width, _HEAD + len(KINDS) * _ROW)
        _add_head(figure)
        for row, kind in enumerate(KINDS):
            top = _HEAD + row * _ROW
            of_kind = [case for case in cases if case.kind == kind]
            title = {"weight": "bold", "fontsize": 9.5, "color": rcParams["text.color"]}
            add_words(figure, _GAP, top, _ROWS[kind], **title)
            if not of_kind:
                add_words(figure, _GAP, top + 0.3, "There are none.")
            for place, case in enumerate(of_kind[:columns]):
                _add_case(figure, case, folder, _GAP + place * (_PAIR + _GAP), top + 0.3)
        return finished(figure)


def _add_head(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    title = {"weight": "bold", "fontsize": 11.5, "color": rcParams["text.color"]}
    add_words(figure, _GAP, 0.2, _TITLE, **title)
    add_words(figure, _GAP, 0.53, "little evidence")
    left = _GAP + 1.05
    axes = figure.add_axes((left / width, 1 - 0.66 / height, _BAR / width, 0.13 / height))
    figure.colorbar(ScalarMappable(cmap=COLOUR_MAP), cax=axes, orientation="horizontal", ticks=[])
    add_words(figure, left + _BAR + 0.1, 0.53, "most evidence")


def _add_case(figure: Figure, case: ExplainedCase, folder: Path, left: float, top: float) -> None:
    picture = load_picture(folder, case.path, _TILE_PIXELS)
    add_picture(figure, picture, case.path, left, top, _TILE)
    beside = left + _TILE + _BETWEEN
    if picture.image is not None and case.heat is not None:
        laid = Picture(overlay(picture.image, case.heat, case.box))
        axes = add_picture(figure, laid, case.path, beside, top, _TILE)
        if not case.heat.any():
            axes.text(
                0.5, 0.05, "no evidence", transform=axes.transAxes, ha="center",
                fontsize=6.8, color="white", bbox={"facecolor": "black", "linewidth": 0},
            )  # fmt: skip
    elif picture.image is not None:
        missing = Picture(None, f"no heat map:\n{folded(case.problem, 22, 4)}")
        add_picture(figure, missing, case.path, beside, top, _TILE)
    beneath = top + _TILE + 0.07
    add_caption(figure, case.path, case.source, case.fake_probability, left, beneath)
