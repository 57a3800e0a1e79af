"""From rows of predictions to explained cases."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import UnreadablePictureError, read_picture
from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.heat_maps import HeatMaps
from deepfake_detection.parameters import PreprocessingParameters

_COLUMNS = ["path", "kind", "class_name", "source", "fake_probability"]


@dataclass(frozen=True)
class _Seen:
    """What the network sees of a picture, and where that lies in it."""

    pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
    box: tuple[float, float, float, float]


def explain_rows(
    rows: pd.DataFrame, folder: Path, detector: Detector, heat_maps: HeatMaps, batch_size: int
) -> list[ExplainedCase]:
    """Explain the pictures of some rows: a heat map of what contributed to each verdict.

    Args:
        rows: path, kind, class_name, source, fake_probability, predicted. The verdict is the stored
            one, not that of the pass that explains.
        folder: The image folder.
        detector: The one that scored them.
        heat_maps: Its heat maps.
        batch_size: Pictures explained at once.
    """
    read = [_read(folder / path, detector.preprocessing) for path in rows["path"]]
    pixels = [each.pixels for each in read if isinstance(each, _Seen)]
    readable = [isinstance(each, _Seen) for each in read]
    verdicts = rows["predicted"].to_numpy()[readable]
    heats = iter(())
    if pixels:
        heats = iter(heat_maps.explain(np.stack(pixels), verdicts, batch_size=batch_size))
    cases = []
    values = rows[_COLUMNS].itertuples(index=False, name=None)
    for (path, kind, class_name, source, probability), each in zip(values, read, strict=True):
        case = ExplainedCase(path, kind, class_name, source, probability, heat=None)
        if isinstance(each, _Seen):
            cases.append(replace(case, heat=next(heats), box=each.box))
        else:
            cases.append(replace(case, problem=each))
    return cases


def _read(path: Path, preprocessing: PreprocessingParameters) -> _Seen | str:
    """What the network sees of a picture, or why it cannot be read."""
    if not path.exists():
        return "missing"
    try:
        image = read_picture(path)
    except UnreadablePictureError as error:
        return f"unreadable: {error}"
    return _Seen(crop_pixels(image, preprocessing), seen_box(image.size, preprocessing))
