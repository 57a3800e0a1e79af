"""What each distortion looks like, at its strongest, beside what it changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.images.distortions import Distortion
from deepfake_detection.pipelines.reporting.cases import CaseTile, embed_picture
from deepfake_detection.reports.robustness_figure import name_panels
from deepfake_detection.reports.tiles import load_picture
from deepfake_detection.reports.words import rounded_percent

_EDGE = 160
# A picture larger than this is made smaller first: enough that a distortion looks as it did
_MOST_PIXELS = 1024


def show_distortions(
    robustness_table: pd.DataFrame, tiles: Sequence[CaseTile], folder: Path
) -> list[dict[str, str]]:
    """The undistorted picture, then the strongest of each distortion: name, words, image.

    The picture is the first that can be read of the cases, right verdicts before errors. `image` is
    a data URI, and empty where no picture can be read.
    """
    # the last ones are the most certain right verdicts
    paths = [tile.case.path for tile in reversed(tiles) if not tile.problem]
    found = (load_picture(folder, path, _MOST_PIXELS).image for path in paths)
    picture = next((image for image in found if image is not None), None)
    recalls = robustness_table[robustness_table["metric"] == "recall"]
    shown = []
    for _, rows in recalls.groupby(name_panels(recalls), sort=False):
        # from mild to strong
        strongest = rows[rows["strength_name"] == rows["strength_name"].iloc[-1]]
        row = strongest.iloc[0]
        distortion = Distortion(str(row["distortion"]), float(row["strength"]))
        image = ""
        if picture is not None:
            image = embed_picture(distortion.apply(picture, "report"), _EDGE)
        shown.append(
            {"name": str(row["strength_name"]), "words": _say_recalls(strongest), "image": image}
        )
    return shown


def _say_recalls(rows: pd.DataFrame) -> str:
    recalls: dict[Any, float] = rows.set_index("class_name")["value"].dropna().to_dict()
    names = {"fake": "fakes detected", "real": "real accepted"}
    return ", ".join(
        f"{rounded_percent(recalls[label])} {name}"
        for label, name in names.items()
        if label in recalls
    )
