"""Properties of files and pixels are those that pictures were made with."""

import io

import numpy as np
import pytest
from picture_samples import grainy_photograph
from PIL import Image, ImageOps

from deepfake_detection.images.file_properties import (
    estimate_quality,
    measure_blockiness,
    measure_noise,
    read_properties,
)


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "JPEG"} | options)
    return buffer.getvalue()


def again(content):
    return Image.open(io.BytesIO(content))


def luma(image):
    return np.asarray(image.convert("L"), dtype=np.float32)


def read(folder, put_files, **contents):
    put_files(folder, contents)
    return read_properties(folder, list(contents)).set_index("path")


def test_quality_is_that_which_a_file_was_saved_with():
    image = grainy_photograph(0)
    for quality in range(1, 101):
        table = again(saved(image, quality=quality)).quantization[0]
        found = estimate_quality(np.array(table))
        # tables of the lowest qualities are equal
        assert again(saved(image, quality=found)).quantization[0] == table


def test_what_a_file_says_of_itself(tmp_path, put_files):
    image = grainy_photograph(1, (60, 40))
    exif = Image.Exif()
    exif[271] = "a camera"
    rows = read(
        tmp_path, put_files,
        plain=saved(image, quality=80), tagged=saved(image, quality=80, exif=exif, dpi=(72, 72)),
        progressive=saved(image, quality=80, progressive=True),
        png=saved(image, format="PNG", icc_profile=b"a profile"),
        grey=saved(image.convert("L"), format="PNG"), broken=b"no picture",
    )  # fmt: skip
    assert "broken" not in rows.index
    assert list(rows["format"]) == ["JPEG", "JPEG", "JPEG", "PNG", "PNG"]
    assert list(rows["mode"]) == ["RGB"] * 4 + ["L"]
    assert rows["quality"].tolist()[:3] == [80.0] * 3
    assert rows["quality"].isna().tolist()[3:] == [True, True]
    assert (rows["size"] == 2400).all()
    assert (rows["proportions"] == 1.5).all()
    assert "271" in rows.loc["tagged", "metadata"]
    assert "dpi" in rows.loc["tagged", "metadata"]
    assert rows.loc["plain", "tables"] != rows.loc["progressive", "tables"]
    assert rows.loc["plain", "metadata"] == rows.loc["progressive", "metadata"]
    assert rows.loc["png", "icc"] != rows.loc["grey", "icc"] == "none"


@pytest.mark.parametrize("width", [0, 3, 10])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_border_has_its_width(tmp_path, put_files, width, kind):
    framed = ImageOps.expand(grainy_photograph(2, (100, 90), grain=20), width, (90, 120, 100))
    rows = read(tmp_path, put_files, framed=saved(framed, format=kind, quality=90))
    # JPEG blurs the inner edge
    assert rows.loc["framed", "border"] == pytest.approx(4 * width, abs=4)


def test_noise_is_its_deviation():
    for deviation in (2, 8):
        found = measure_noise(luma(grainy_photograph(3, (200, 200), grain=deviation)))
        assert found == pytest.approx(deviation, rel=0.1)


def test_a_second_compression_and_an_earlier_one_of_a_png_are_seen(tmp_path, put_files):
    contents, png = {}, {}
    for number in range(6):
        image = grainy_photograph(number, (256, 256), grain=14)
        contents[f"once {number}"] = saved(image, quality=90)
        contents[f"twice {number}"] = saved(again(saved(image, quality=60)), quality=90)
        png[number] = (
            measure_blockiness(luma(image)),
            measure_blockiness(luma(again(saved(image, quality=40)))),
        )
    found = read(tmp_path, put_files, **contents)["double_compression"]
    once, twice = (found[found.index.str.startswith(name)] for name in ("once", "twice"))
    assert once.max() < twice.min()
    assert all(never < before for never, before in png.values())
