"""Equalised copies of an image folder."""

import os

import pytest
from kedro.io import DatasetError
from PIL import Image

from deepfake_detection.datasets.equalised_images import EqualisedImagesDataset
from deepfake_detection.images.reading import read_picture

SETTINGS = {"side": 32, "cut": 0.1, "quality": 80, "max_pixels": 10_000}


@pytest.fixture
def folder(tmp_path, photograph, encode, put_files):
    exif = Image.Exif()
    exif[274] = 6  # on its side
    files = {
        "real/0.png": encode(photograph(0, (60, 40))),
        "real/clip/1.jpg": encode(photograph(1, (64, 64)), "JPEG", exif=exif),
        "fake/0.png": encode(photograph(2, (200, 200))),
        "fake/1.png": b"damaged",
        "list.csv": b"path,label\nreal/0.png,real\n",
        ".hidden": b"",
    }
    return put_files(tmp_path / "images", files)


def dataset(tmp_path, folder, **changed):
    images = {
        "type": "deepfake_detection.datasets.image_folder.ImageFolderDataset",
        "filepath": str(folder),
    }
    path = str(tmp_path / "equalised")
    return EqualisedImagesDataset(filepath=path, images=images, settings=SETTINGS | changed)


def test_copies_are_alike_under_the_same_paths(tmp_path, folder):
    made = dataset(tmp_path, folder).load()
    found = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert found == {"real/0.png", "real/clip/1.jpg", "fake/0.png", "fake/1.png", "list.csv"}
    for path in ("real/0.png", "real/clip/1.jpg"):
        with Image.open(made / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
            assert not image.getexif()
            assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    # neither a list nor what is rejected changes
    for path in ("list.csv", "fake/1.png", "fake/0.png"):
        assert (made / path).read_bytes() == (folder / path).read_bytes()


def test_they_are_made_once_and_again_where_a_file_or_a_setting_changes(tmp_path, folder, encode):
    made = dataset(tmp_path, folder).load()
    time = (made / "real/0.png").stat().st_mtime_ns
    assert dataset(tmp_path, folder).load() == made
    assert (made / "real/0.png").stat().st_mtime_ns == time
    assert dataset(tmp_path, folder, quality=70).load() != made
    (folder / "real/0.png").write_bytes(encode(Image.new("RGB", (60, 40), "red")))
    os.utime(folder / "real/0.png", ns=(1, 1))
    changed = dataset(tmp_path, folder).load()
    assert changed != made
    assert read_picture(changed / "real/0.png").getpixel((5, 5))[0] > 240


def test_an_interrupted_making_leaves_nothing_that_is_used(tmp_path, folder, monkeypatch):
    def interrupted(source, beside, *settings):
        (beside / "half").touch()
        raise KeyboardInterrupt

    module = "deepfake_detection.images.equalising.write_equalised"
    with monkeypatch.context() as patched:
        patched.setattr(module, interrupted)
        with pytest.raises(KeyboardInterrupt):
            dataset(tmp_path, folder).load()
    assert list((tmp_path / "equalised").iterdir()) == []
    assert (dataset(tmp_path, folder).load() / "real/0.png").is_file()


def test_a_missing_folder_and_settings_that_are_null_are_named(tmp_path):
    with pytest.raises(DatasetError, match="there is no image folder"):
        dataset(tmp_path, tmp_path / "nowhere").load()
    nothing = EqualisedImagesDataset(filepath="x", images=None, settings=None)
    with pytest.raises(DatasetError, match=r"data_preparation\.equalise"):
        nothing.load()
