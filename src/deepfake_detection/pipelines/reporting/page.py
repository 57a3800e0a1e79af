"""The report: one HTML page that needs no other file, no network and no script."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from deepfake_detection.pages.document import render_document
from deepfake_detection.pages.figures import PageFigure, data_uri, page_figure
from deepfake_detection.pages.settings import flatten_settings
from deepfake_detection.pipelines.reporting.figures import (
    confusion_counts,
    draw_accuracy,
    draw_confusion_matrix,
    draw_loss,
    draw_roc,
)
from deepfake_detection.pipelines.reporting.galleries import (
    KINDS,
    FalseCase,
    Gallery,
    collect_gallery,
)
from deepfake_detection.pipelines.reporting.headline import pick_cards, weigh_trust, write_verdict
from deepfake_detection.pipelines.reporting.tables import compose_data, widen_metrics
from deepfake_detection.plotting.curves import best_row
from deepfake_detection.plotting.tiles import Picture, load_picture
from deepfake_detection.plotting.words import counted, percent
from deepfake_detection.scoring.subsets import scored_subsets

_PACKAGE = "deepfake_detection.pipelines.reporting"

# The page weighs less than 5 MB whatever the parameters: half of it is for the pictures of both
# galleries, at the first of these edges in pixels with which they keep within it; and there are
# never more of them than fit at the last.
_PICTURE_BYTES = 2_500_000
_EDGES = (288, 224, 160, 112, 80)
_MOST_TILES = 250
_JPEG_QUALITY = 82

_REJECTED_SHOWN = 20


@dataclass(frozen=True)
class Report:
    """All that the page is made of.

    Attributes:
        description: The detector's own, as `describe()` gives it.
        split_summary: method, ratios, seed, images, groups, groups_in_more_than_one_subset,
            fingerprint; and perhaps a note on the images.
        rejected_images: path, reason.
        history: A row for each epoch.
        predictions: A row for each scored image.
        metric_table: A row for each metric.
        folder: The image folder.
        gallery_size: Pictures in each gallery, at most.
    """

    description: Mapping[str, Any]
    split_summary: Mapping[str, Any]
    rejected_images: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    metric_table: pd.DataFrame
    folder: Path
    gallery_size: int


@dataclass(frozen=True)
class Tile:
    """A false case in the page; `image` is a data URI, or empty where `problem` says why."""

    case: FalseCase
    image: str
    problem: str


def render_page(report: Report) -> str:
    """The whole page.

    What comes from file names, class names or settings is escaped, and the page forbids itself
    to run or to load anything.

    Args:
        report: What to show.

    Returns:
        One HTML document, under 5 MB.
    """
    return render_document(_PACKAGE, "report.html.j2", _contents(report))


def _contents(report: Report) -> dict[str, Any]:
    description = report.description
    galleries = [
        collect_gallery(report.predictions, kind, min(report.gallery_size, _MOST_TILES))
        for kind in KINDS
    ]
    tiles = _fill_tiles(galleries, report.folder)
    statements = weigh_trust(report.predictions, description, report.split_summary)
    # what has to be known of the images before any score is read
    notes = [description["split"].get("note"), report.split_summary.get("note")]
    return {
        "description": description,
        "notes": list(dict.fromkeys(note for note in notes if note)),
        "verdict": write_verdict(report.predictions, description, report.split_summary),
        "cards": pick_cards(report.metric_table, report.predictions),
        "statements": statements,
        "warnings": [each for each in statements if each.tone == "warning"],
        "split": report.split_summary,
        "data": compose_data(report.split_summary),
        "rejected": report.rejected_images.head(_REJECTED_SHOWN).to_dict("records"),
        "rejected_total": len(report.rejected_images),
        "history": _history_rows(report.history),
        "curves": _draw_curves(report.history),
        "matrices": _draw_matrices(report.predictions),
        "roc": _draw_roc(report.predictions, float(description["threshold"])),
        "fitted": description.get("calibration", {}).get("fitted", []),
        "calibration_notes": description.get("calibration", {}).get("notes", []),
        "metrics": widen_metrics(report.metric_table),
        "galleries": list(zip(galleries, tiles, strict=True)),
        "not_shown": [tile for gallery in tiles for tile in gallery if tile.problem],
        "settings": flatten_settings(description["settings"]),
    }


def _history_rows(history: pd.DataFrame) -> list[dict[str, Any]]:
    best = best_row(history)
    best_epoch = None if best is None else best["epoch"]
    return [
        {str(name): value for name, value in row.items()} | {"is_best": row["epoch"] == best_epoch}
        for row in history.to_dict("records")
    ]


def _draw_curves(history: pd.DataFrame) -> list[PageFigure]:
    best = best_row(history)
    epochs = counted(len(history), "epoch")
    told = ""
    if best is not None:
        told = (
            f" At the best epoch, {int(best['epoch'])}, validation loss is "
            f"{best['validation_loss']:.4f} and validation accuracy "
            f"{best['validation_accuracy']:.4f}."
        )
    return [
        page_figure(
            "Loss",
            f"Loss of train and validation over {epochs}.{told}",
            lambda theme: draw_loss(history, theme),
        ),
        page_figure(
            "Accuracy",
            f"Accuracy of train and validation over {epochs}.{told}",
            lambda theme: draw_accuracy(history, theme),
        ),
    ]


def _draw_matrices(predictions: pd.DataFrame) -> list[PageFigure]:
    matrices = []
    for subset in scored_subsets(predictions):
        scored = predictions[predictions["subset"] == subset]
        (passed, false_alarms), (missed, found) = confusion_counts(scored).tolist()
        alt = (
            f"Confusion matrix of {subset}: {passed} real ones passed, "
            f"{counted(false_alarms, 'false alarm')}, {counted(missed, 'missed fake')}, "
            f"{found} fakes found."
        )
        matrices.append(
            page_figure(
                f"Confusion matrix, {subset}",
                alt,
                # the subset is bound now, not when the figure is drawn
                lambda theme, subset=subset: draw_confusion_matrix(  # type: ignore[misc]
                    predictions, [subset], theme
                ),
            )
        )
    return matrices


def _draw_roc(predictions: pd.DataFrame, threshold: float) -> PageFigure:
    points = []
    for subset in scored_subsets(predictions):
        counts = confusion_counts(predictions[predictions["subset"] == subset])
        if counts.sum(axis=1).all():
            false_alarms, found = counts[:, 1] / counts.sum(axis=1)
            points.append(
                f"On {subset} the detector finds {percent(found)} of the fakes at a false alarm "
                f"rate of {percent(false_alarms)}."
            )
    alt = " ".join(["ROC curve of each scored subset.", *points])
    return page_figure("ROC curve", alt, lambda theme: draw_roc(predictions, threshold, theme))


def _fill_tiles(galleries: list[Gallery], folder: Path) -> list[list[Tile]]:
    """Both galleries' pictures, as large as the page's weight admits."""
    pictures = [
        [(case, load_picture(folder, case.path, _EDGES[0])) for case in gallery.cases]
        for gallery in galleries
    ]
    for edge in _EDGES:
        tiles = [[_tile(case, picture, edge) for case, picture in row] for row in pictures]
        if sum(len(tile.image) for row in tiles for tile in row) <= _PICTURE_BYTES:
            break
    return tiles


def _tile(case: FalseCase, picture: Picture, edge: int) -> Tile:
    if picture.image is None:
        return Tile(case, "", picture.problem)
    smaller = picture.image.copy()
    smaller.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return Tile(case, data_uri("image/jpeg", buffer.getvalue()), "")
