"""Nodes of `training_samples`: what a network sees of some training images."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.parameters import Backbones, ReportingParameters, TrainingParameters
from deepfake_detection.reports.style import colour_of, drawing, finished
from deepfake_detection.reports.tiles import Picture, add_picture, add_words, tiled_figure
from deepfake_detection.reports.words import printable, wrapped
from deepfake_detection.training.batches import BatchLoader, LabelledPixels
from deepfake_detection.training.face_ellipses import find_ellipses
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.training_inputs import EpochInputs

# inches, beside the left edge
_TILE, _GAP, _HEAD, _NAMES = 1.3, 0.06, 0.75, 1.5
_NAME_WIDTH, _NAME_LINES = 22, 4  # characters, lines
_TITLE = "What the network sees"


def draw_training_samples(
    split: pd.DataFrame,
    pixel_cache: PixelCache,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw some training images, each as it is and as augmentation changes it.

    A row is an image; with self-blending the real ones alone, each with its fakes. There are
    `gallery_columns` of each, drawn as in so many epochs.

    Raises:
        UserError: If the split has no training images.
    """
    preprocessing = backbones.preprocessing(model)
    images = split[split["subset"] == "train"]
    if training.self_blending.enabled:
        images = images[images["label"] == 0]
    if images.empty:
        raise UserError("the split has no training images. Set split.ratios.train above 0")
    # as many of each class, spread evenly
    rows = -(-reporting.gallery_size // reporting.gallery_columns)
    shown = pd.concat(
        each.iloc[np.unique(np.linspace(0, len(each) - 1, rows).astype(int))]
        for _, each in images.groupby("class_name", sort=False)
    )
    pixels = pixel_cache.open(split["sha256"].tolist(), preprocessing)
    pictures = LabelledPixels.of(pixels, shown)
    blending = training.self_blending
    faces = find_ellipses(pictures, blending, preprocessing) if blending.enabled else None
    columns = [_as_it_is(pictures)]
    titles = ["as it is"]
    for epoch in range(1, reporting.gallery_columns):
        made = _make(pictures, training, epoch, faces)
        columns += [each[: len(shown)] for each in (made, made[len(shown) :]) if len(each)]
        titles += [f"real, epoch {epoch}", "its fake"] if blending.enabled else [f"epoch {epoch}"]
    return _draw(shown, [_to_pictures(each) for each in columns], titles)


def _as_it_is(pictures: LabelledPixels) -> Tensor:
    ((batch, _),) = BatchLoader(pictures, torch.device("cpu"), resident=False).batches(
        [torch.arange(len(pictures))]
    )
    return batch


def _make(
    pictures: LabelledPixels, training: TrainingParameters, epoch: int, faces: Tensor | None
) -> Tensor:
    batches = [torch.arange(len(pictures))]
    generator = torch.Generator().manual_seed(training.seed + epoch)
    processes = Processes(torch.device("cpu"))
    inputs = EpochInputs(batches, training, epoch, generator, processes, faces)
    made, _ = inputs.make(_as_it_is(pictures), pictures.labels)
    return made


def _to_pictures(batch: Tensor) -> list[Picture]:
    pixels = batch.float().round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return [Picture(Image.fromarray(each)) for each in pixels]


def _draw(shown: pd.DataFrame, columns: list[list[Picture]], titles: list[str]) -> Figure:
    with drawing():
        step = _TILE + _GAP
        figure = tiled_figure(_NAMES + len(columns) * step + _GAP, _HEAD + len(shown) * step + _GAP)
        add_words(
            figure, _GAP, 0.15, _TITLE, weight="bold", fontsize=11.5, color=rcParams["text.color"]
        )
        for at, (column, title) in enumerate(zip(columns, titles, strict=True)):
            left = _NAMES + at * step
            add_words(figure, left, _HEAD - 0.2, title, fontsize=7.5, weight="bold")
            for row, (picture, path) in enumerate(zip(column, shown["path"], strict=True)):
                add_picture(figure, picture, str(path), left, _HEAD + row * step, _TILE)
        for row, (_, image) in enumerate(shown.iterrows()):
            top = _HEAD + row * step + 0.05
            name = str(image["class_name"])
            add_words(
                figure, _GAP, top, printable(name), fontsize=7.5, weight="bold",
                color=colour_of("fake" if image["label"] else "real"),
            )  # fmt: skip
            path = wrapped(printable(Path(str(image["path"])).name), _NAME_WIDTH, _NAME_LINES)
            add_words(figure, _GAP, top + 0.16, path, fontsize=6.5, family="monospace")
        return finished(figure)
