"""Measures of whole pictures and of parts of them, without PyTorch: processes start fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from deepfake_detection.images.image_statistics import measure_statistics
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import UnreadablePictureError, read_picture
from deepfake_detection.parameters import RegionParameters, RegionsParameters

WHOLE = "picture"
_FILES_OF_A_TASK = 32


@dataclass(frozen=True)
class MeasuredPicture:
    """Width and height of an upright picture in pixels, and its measures by region and name."""

    size: tuple[int, int]
    values: dict[tuple[str, str], float]


def measure_pictures(
    folder: Path, paths: Sequence[str], regions: RegionsParameters
) -> list[MeasuredPicture | None]:
    """Measure pictures and their regions, each read once, in as many processes as there are cores.

    In the order of the paths; None for a picture that is missing or unreadable.
    """
    tasks = [
        (folder, paths[at : at + _FILES_OF_A_TASK], regions)
        for at in range(0, len(paths), _FILES_OF_A_TASK)
    ]
    results = map_in_processes(
        _measure_task, tasks, description="Measuring images", total=len(tasks)
    )
    return [measured for of_task in results for measured in of_task]


def _measure_task(
    task: tuple[Path, Sequence[str], RegionsParameters],
) -> list[MeasuredPicture | None]:
    folder, paths, regions = task
    return [_measure(folder / path, regions) for path in paths]


def _measure(path: Path, regions: RegionsParameters) -> MeasuredPicture | None:
    try:
        grey = read_picture(path).convert("L")
    except UnreadablePictureError:
        return None
    parts = {WHOLE: grey, **{name: _cut(grey, region) for name, region in regions}}
    values = {
        (name, measure): cast("float", value)
        for name, part in parts.items()
        for measure, value in measure_statistics(part).items()
    }
    return MeasuredPicture(grey.size, values)


def _cut(grey: Image.Image, region: RegionParameters) -> Image.Image:
    width, height = grey.size
    left, top = int(region.left * width), int(region.top * height)
    right, bottom = round(region.right * width), round(region.bottom * height)
    # of a picture of a few pixels at least one
    return grey.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
