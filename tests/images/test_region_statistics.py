"""Measures of pictures and their regions."""

from pathlib import Path

import numpy as np
import pytest
from explanation_samples import make_explanation, put_pictures
from PIL import Image

from deepfake_detection.images import region_statistics as measuring
from deepfake_detection.images.region_statistics import measure_pictures
from deepfake_detection.images.scanning import measure_picture

REGIONS = make_explanation().regions


def test_the_whole_measures_as_the_image_index_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # several tasks, without the seconds in which processes start
    monkeypatch.setattr(measuring, "_FILES_OF_A_TASK", 3)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    paths = [f"real/{number}.png" for number in range(8)]
    put_pictures(tmp_path, paths)
    for path, found in zip(paths, measure_pictures(tmp_path, paths, REGIONS), strict=True):
        index = measure_picture(Image.open(tmp_path / path))
        for measure in ("brightness", "contrast", "sharpness"):
            assert found.values["picture", measure] == index[measure]
        assert found.size == (60, 40)


@pytest.mark.parametrize("turned", [False, True])
def test_regions_are_measured_where_they_are_said_to_be_upright(
    tmp_path: Path, turned: bool
) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:20] = 100  # eyes: all of the second quarter
    pixels[20:, 15:45] = (
        np.tile([[[255] * 3], [[0] * 3]], (15, 1, 1)).reshape(30, 1, 3).swapaxes(0, 1)
    )
    image, options = Image.fromarray(pixels), {}
    if turned:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter to the right
        image, options = image.transpose(Image.Transpose.ROTATE_90), {"exif": exif}
    image.save(tmp_path / "a.png", **options)
    (found,) = measure_pictures(tmp_path, ["a.png"], REGIONS)
    assert found.size == (60, 40)
    eyes = [found.values["eyes", name] for name in ("brightness", "contrast", "sharpness")]
    assert eyes == [pytest.approx(100 / 255), 0, 0]
    assert found.values["mouth", "brightness"] == pytest.approx(0.5)
    assert found.values["mouth", "contrast"] == pytest.approx(0.5)
    assert found.values["mouth", "sharpness"] > found.values["picture", "sharpness"] > 0


def test_what_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = measure_pictures(tmp_path, ["a.png", "missing.png", "broken.png", "b.png"], REGIONS)
    assert [each is None for each in found] == [False, True, True, False]


def test_a_picture_of_one_pixel_has_measures(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["a.png"], (1, 1))
    (found,) = measure_pictures(tmp_path, ["a.png"], REGIONS)
    assert found.values["eyes", "brightness"] == found.values["picture", "brightness"]
    assert found.values["mouth", "sharpness"] == 0
