import hashlib
import io
import os
import re
import subprocess
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import grainy_photograph, make_image_set
from PIL import Image, ImageFilter

from deepfake_detection.errors import UserError
from deepfake_detection.images.scanning import find_files, measure_picture
from deepfake_detection.pipelines.data_preparation.nodes import (
    index_images,
    list_rejected_images,
    scan_images,
)

CLASSES = {"real": "real", "fake": "fake"}


def images_of(max_rejected_share=1.0):
    return make_image_set(CLASSES, max_rejected_share=max_rejected_share, max_pixels=10_000)


@pytest.fixture
def folder(tmp_path, put_files):
    """A folder with empty files of these names."""
    return lambda *names: put_files(tmp_path / "images", dict.fromkeys(names, b""))


def test_files_come_class_by_class_in_natural_order(folder, tmp_path, put_files):
    ordered = ["1.png", "9.png", "10.png", "a/2.png", "a/11.png", "b9/1.png", "b10/1.png"]
    images = folder(*(f"real/{name}" for name in sorted(ordered)), "fake/0.png")
    expected = [("fake/0.png", "fake"), *((f"real/{name}", "real") for name in ordered)]
    assert find_files(images, {"fake": "fake", "real": "real"}) == expected
    # names that are equal in natural order have a fixed order too
    names = ["real/1.png", "real/01.png", "real/001.png", "fake/0.png"]
    one, other = (
        find_files(put_files(tmp_path / str(step), dict.fromkeys(names[::step], b"")), CLASSES)
        for step in (1, -1)
    )
    assert one == other


def test_class_folders_may_be_nested_and_some_left_out(folder):
    images = folder("train/real/0.png", "train/fake/0.png", "train/odd/0.png", "old/deep/0.png")
    classes = {"train/real": "real", "train/fake": "fake", "train/odd": None, "old": None}
    expected = [("train/real/0.png", "train/real"), ("train/fake/0.png", "train/fake")]
    assert find_files(images, classes) == expected
    assert find_files(images, {**classes, "never_there": None}) == expected
    del classes["train/odd"]
    with pytest.raises(UserError, match="'train/odd'"):
        find_files(images, classes)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["real/0.png"], r"'fake' .*'real'.*'classes'"),
        (["0.png"], "'real'"),
        (["real/0.png", "fake/.hidden"], "'fake'"),
        (["real/0.png", "fake/a/Thumbs.db"], "'fake'"),
        (["real/0.png", "fake/0.png", "more/0.png"], r"'more'.*'classes'.*null"),
        (["real/0.png", "fake"], "'fake'"),
    ],
)
def test_a_layout_that_differs_from_the_parameters_is_an_error(folder, names, named):
    with pytest.raises(UserError, match=rf"^.*{named}.*$"):  # in one line
        find_files(folder(*names), CLASSES)


def test_system_files_are_passed_over_and_loose_files_are_not(folder):
    images = folder(
        "real/0.png", "fake/0.png", ".DS_Store", "real/._0.png", "real/.ipynb_checkpoints/0.png",
        "fake/Thumbs.db", "fake/desktop.ini", ".git/config", "notes.txt",
    )  # fmt: skip
    found = [("real/0.png", "real"), ("fake/0.png", "fake"), ("notes.txt", "")]
    assert find_files(images, CLASSES) == found
    # a class folder is read even if it is hidden
    assert (".git/config", ".git") in find_files(images, {**CLASSES, ".git": "fake"})


def test_links_to_folders_and_files_are_followed(folder, tmp_path, put_files):
    images = folder("real/0.png", "fake/0.png")
    elsewhere = put_files(tmp_path / "elsewhere", {"5.png": b"", "deep/6.png": b""})
    (images / "real/linked").symlink_to(elsewhere)
    (images / "real/1.png").symlink_to(elsewhere / "5.png")
    (images / "real/linked/again").symlink_to(images / "real")  # leads back up
    found = [path for path, name in find_files(images, CLASSES) if name == "real"]
    assert found == ["real/0.png", "real/1.png", "real/linked/5.png", "real/linked/deep/6.png"]


def test_a_folder_that_cannot_be_read_is_a_row_and_depth_has_no_limit(folder, monkeypatch):
    images = folder("fake/0.png", "real/0.png", "real/closed/1.png")
    deep = images / "real"
    for _ in range(1200):
        deep /= "d"
        deep.mkdir()
    (deep / "2.png").touch()
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    try:
        found = [path for path, name in find_files(images, CLASSES) if name == "real"]
        rejected = list_rejected_images(scan_images(images, images_of(), None))
    finally:
        monkeypatch.undo()
        subprocess.run(["rm", "-r", deep.parents[1198]], check=True)  # too deep for Python's rmtree
    assert found == ["real/0.png", "real/closed", f"real/{'d/' * 1200}2.png"]
    assert set(rejected["path"]) == {"fake/0.png", *found}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, photograph, encode, put_files):
    """One scan of a folder with images of many types, and with files of every kind of damage."""
    images = {f"real/{i}.png": encode(photograph(i)) for i in range(30)}
    images |= {f"fake/{i}.jpg": encode(photograph(100 + i), "JPEG") for i in range(30)}
    turned = Image.Exif()
    turned[0x0112] = 6
    images |= {
        "real/3.png": encode(photograph(3, (32, 24)), exif=turned),
        "fake/7.jpg": images["fake/1.jpg"],
        "real/4.png": b"",
        "real/notes.txt": b"not a picture",
        "fake/2.jpg": images["fake/2.jpg"][:-30],
        "fake/3.jpg": encode(Image.new("1", (101, 100)), "PNG"),
        "loose.png": encode(photograph()),
        "fake/big.jpg": b"",
    }
    folder = put_files(tmp_path_factory.mktemp("scanned"), images)
    os.truncate(folder / "fake/big.jpg", 700_000_000)  # takes no space
    (folder / "fake/4.jpg").unlink()
    (folder / "fake/4.jpg").symlink_to(folder / "gone.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fake/pipe")
    with suppress(OSError):  # a file system that takes only UTF-8 has no such files
        (folder / os.fsdecode(b"fake/\xff.jpg")).write_bytes(images["fake/0.jpg"])
    table = scan_images(folder, images_of(), None)
    table.attrs["files"] = images
    return table


def test_each_unusable_file_is_listed_with_its_reason(scanned):
    rejected = list_rejected_images(scanned)
    assert list(rejected.columns) == ["path", "reason"]
    reasons = dict(zip(rejected["path"], rejected["reason"], strict=True))
    expected = {
        "real/4.png", "real/notes.txt", "fake/2.jpg", "fake/3.jpg", "fake/4.jpg", "fake/pipe",
        "fake/?.jpg", "loose.png", "fake/big.jpg",
    }  # fmt: skip
    assert expected - {"fake/pipe", "fake/?.jpg"} <= set(reasons) <= expected
    assert len(set(reasons.values())) == len(reasons)
    assert "700,000,000" in reasons["fake/big.jpg"]
    assert "101×100" in reasons["fake/3.jpg"]
    assert "max_pixels" in reasons["fake/3.jpg"]


def test_the_index_describes_each_image(scanned):
    files = scanned.attrs["files"]
    index = index_images(scanned, list_rejected_images(scanned), images_of())
    assert list(index.columns) == [
        "path", "sha256", "class_name", "label", "source", "group", "width", "height", "bytes",
        "perceptual_hash", "brightness", "contrast", "sharpness", "official_subset", "medium",
        "crop_recipe", "landmarks",
    ]  # fmt: skip
    of_faces = ["official_subset", "medium", "crop_recipe", "landmarks"]
    assert index[of_faces].isna().all(axis=None)
    assert index.drop(columns=of_faces).notna().all(axis=None)
    assert index["path"].is_unique
    # no file is dropped silently
    rejected = list_rejected_images(scanned)
    assert len(index) + len(rejected) == len(scanned)
    assert set(files) <= {*index["path"], *rejected["path"]}
    for row in index.itertuples():
        assert row.sha256 == hashlib.sha256(files[row.path]).hexdigest()
        assert row.bytes == len(files[row.path])
        name, number = row.path.split("/")[0], int(re.search(r"\d+", row.path)[0])
        assert (row.class_name, row.label) == (name, int(name == "fake"))
        assert row.source == f"{name}/{number // 5}"
        assert (row.width, row.height) == ((24, 32) if row.path == "real/3.png" else (32, 32))
        assert re.fullmatch("[0-9a-f]{16}", row.perceptual_hash)
    assert {str(index[name].dtype) for name in ("label", "width", "height", "bytes")} == {"int64"}


def test_files_of_one_picture_under_both_labels_are_warned_of(scanned, caplog):
    both = scanned.set_index("path")
    both.loc["real/0.png", "sha256"] = both.loc["fake/0.jpg", "sha256"]
    both = both.reset_index()
    groups = index_images(both, list_rejected_images(both), images_of()).set_index("path")["group"]
    assert "2 files" in caplog.text
    assert "real/0.png" in caplog.text
    # copies join the groups of their sources
    assert groups["fake/0.jpg"] == groups["real/0.png"]
    assert groups["fake/7.jpg"] == groups["fake/1.jpg"] == groups["fake/8.jpg"]
    assert groups["fake/10.jpg"] != groups["fake/7.jpg"]


def test_rejected_files_stop_a_run_only_above_the_limit(scanned):
    rejected = list_rejected_images(scanned)  # there before the run stops, since it is an input
    share = len(rejected) / len(scanned)
    assert len(index_images(scanned, rejected, images_of(share)))
    with pytest.raises(UserError) as caught:
        index_images(scanned, rejected, images_of(share - 1e-9))
    for said in (
        f"{len(rejected)} of {len(scanned)}", f"{share:.1%}", "rejected_images",
        f"{rejected['path'][0]} ({rejected['reason'][0]})", "max_rejected_share",
    ):  # fmt: skip
        assert said in str(caught.value)


def test_a_class_without_a_readable_image_is_an_error(scanned):
    broken = scanned.copy()
    broken.loc[broken["class_name"] == "fake", "reason"] = "empty file"
    with pytest.raises(UserError, match="'fake'"):
        index_images(broken, list_rejected_images(broken), images_of())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 255), st.integers(0, 255))
def test_brightness_and_contrast_are_mean_and_spread_of_luma(one, other):
    halves = np.full((16, 16), one, dtype=np.uint8)
    halves[:, 8:] = other
    measures = measure_picture(Image.fromarray(halves).convert("RGB"))
    assert measures["brightness"] == pytest.approx((one + other) / 510)
    assert measures["contrast"] == pytest.approx(abs(one - other) / 510)


def test_a_picture_without_edges_has_no_sharpness():
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 4, (32, 1))
    flat = [Image.new("RGB", size) for size in ((1, 1), (2, 50), (50, 2))]
    for picture in (Image.fromarray(ramp).convert("RGB"), *flat):
        assert measure_picture(picture)["sharpness"] == 0


def test_sharpness_falls_with_every_blur():
    image = grainy_photograph(0, (64, 64), grain=12)
    blurred = [image.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 0.5, 1, 2, 4)]
    sharpness = [measure_picture(each)["sharpness"] for each in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 10 * sharpness[-1]


def hash_of(image):
    return imagehash.hex_to_hash(str(measure_picture(image)["perceptual_hash"]))


def test_perceptual_hashes_are_near_for_alike_pictures_only(encode):
    colours = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)
    images = [Image.fromarray(each).resize((96, 96), Image.Resampling.BICUBIC) for each in colours]
    hashes = [hash_of(image) for image in images]
    for image, own in zip(images, hashes, strict=True):
        for side in (150, 64):
            assert hash_of(image.resize((side, side), Image.Resampling.BICUBIC)) - own <= 2
        with Image.open(io.BytesIO(encode(image, "JPEG", quality=60))) as compressed:
            assert hash_of(compressed) - own <= 6
    assert min(a - b for a, b in combinations(hashes, 2)) > 12
