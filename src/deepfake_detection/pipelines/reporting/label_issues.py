"""Doubted labels as the page shows them: candidates for mislabelled images."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepfake_detection.pipelines.reporting.embedding import embed_picture
from deepfake_detection.reports.tiles import load_picture

# small: what is to be seen is whether the label can be right
_EDGE = 160
_MOST_SHOWN = 24
_CLASSES = {0: "real", 1: "fake"}


@dataclass(frozen=True)
class Doubt:
    """An image whose label the predictions doubt.

    `image` is a data URI, or empty where `problem` says why; probabilities are of the label that
    the image has, and of its source's images on average.
    """

    path: str
    subset: str
    class_name: str
    labelled: str
    source: str
    label_probability: float
    source_label_probability: float
    image: str
    problem: str


def show_doubts(label_issues: pd.DataFrame, folder: Path, most: int) -> list[Doubt]:
    """The first of the doubted labels with their pictures.

    Args:
        label_issues: subset, path, class_name, label, source, label_probability,
            source_label_probability, the most doubted first.
        folder: The image folder.
        most: How many, at most; a page never holds more than 24.
    """
    shown = []
    for _, row in label_issues.head(min(most, _MOST_SHOWN)).iterrows():
        path = str(row["path"])
        picture = load_picture(folder, path, _EDGE)
        shown.append(
            Doubt(
                path=path,
                subset=str(row["subset"]),
                class_name=str(row["class_name"]),
                labelled=_CLASSES[int(row["label"])],
                source=str(row["source"]),
                label_probability=float(row["label_probability"]),
                source_label_probability=float(row["source_label_probability"]),
                image="" if picture.image is None else embed_picture(picture.image, _EDGE),
                problem=picture.problem,
            )
        )
    return shown
