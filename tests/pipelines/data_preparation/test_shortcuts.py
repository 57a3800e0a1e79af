"""The audit finds planted shortcuts, calls few that are none, and equalising removes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from picture_samples import grainy_photograph, make_image_set
from PIL import ImageOps

from deepfake_detection.datasets.equalised_images import EqualisedImagesDataset
from deepfake_detection.errors import UserError
from deepfake_detection.images.file_properties import FILE_PROPERTIES, PIXEL_STATISTICS
from deepfake_detection.parameters import ShortcutParameters, SplitParameters
from deepfake_detection.pipelines.data_preparation.nodes import (
    index_images,
    list_rejected_images,
    scan_images,
    split_images,
)
from deepfake_detection.pipelines.data_preparation.shortcuts import (
    ALL_OF_FILE,
    ALL_OF_PIXELS,
    audit_shortcuts,
    draw_shortcuts,
    list_file_properties,
)

CONF = Path(__file__).parents[3] / "conf/base/parameters_data_preparation.yml"
DEFAULTS = yaml.safe_load(CONF.read_text())["shortcuts"]
SPLIT = SplitParameters.model_validate(yaml.safe_load(CONF.read_text())["split"])
SOURCES, OF_SOURCE, SIZE = 24, 2, (120, 120)


def settings(**changed):
    return ShortcutParameters.model_validate(DEFAULTS | changed)


def put_set(folder, save):
    """Photographs of both classes, alike but for what `save(image, path, fake, number)` does."""
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for number in range(SOURCES * OF_SOURCE):
            image = grainy_photograph(1000 * (label == "fake") + number, SIZE, grain=14)
            save(image, folder / label / f"{number}.jpg", label == "fake", number)
    return folder


def index_of(folder):
    source = {"rule": "consecutive", "size": OF_SOURCE, "pattern": None}
    image_set = make_image_set({"real": "real", "fake": "fake"})
    image_set = type(image_set).model_validate(image_set.model_dump() | {"source": source})
    scanned = scan_images(folder, image_set, None)
    return index_images(scanned, list_rejected_images(scanned), image_set)


def audit(folder, **changed):
    index = index_of(folder)
    properties = list_file_properties(index, folder, settings(**changed))
    table, summary = audit_shortcuts(properties, settings(**changed))
    return table.set_index("property"), summary, properties


def save_alike(image, path, fake, number):
    image.save(path)


def save_qualities(image, path, fake, number):
    image.save(path, quality=75 if fake else 95)


def save_smaller(image, path, fake, number):
    image.resize((118, 118) if fake else SIZE).save(path, quality=90)


def save_framed(image, path, fake, number):
    if fake:
        image = ImageOps.expand(image.resize((112, 112)), 4, (128, 128, 128))
    image.save(path, quality=90)


PLANTED = {
    "quality": (save_qualities, {"quality", "tables", "bytes", "bytes_per_pixel"}),
    # what is resized has less grain, and a frame none: their bytes tell too
    "size": (save_smaller, {"size", "bytes", "bytes_per_pixel"}),
    "border": (save_framed, {"border", "bytes", "bytes_per_pixel"}),
}


def test_pictures_without_a_shortcut_are_quiet(tmp_path, caplog):
    folder = put_set(tmp_path / "plain", save_alike)
    table, summary, properties = audit(folder)
    assert not summary["warnings"]
    assert not table["warns"].any()
    assert "WARNING" not in caplog.text
    for name in ("format", "size", "tables", "quality"):
        row = table.loc[name]
        assert (row["auc"], row["low"], row["high"]) == (0.5, 0.5, 0.5)
        assert "the same" in row["note"]
    # all are encoded alike: their bytes are a measure of the pixels
    assert set(table.loc[["bytes", "bytes_per_pixel"], "kind"]) == {"pixels"}
    assert list(properties["quality"].unique()) == [75.0]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_shortcut_is_named_and_equalising_removes_it(tmp_path, planted, caplog):
    save, told = PLANTED[planted]
    folder = put_set(tmp_path / "planted", save)
    table, summary, properties = audit(folder)
    row = table.loc[planted]
    assert row["warns"]
    assert row["kind"] == "file"
    assert row["low"] <= 1.0 <= row["high"]
    assert row["low"] > 0.8
    assert set(table.index[table["warns"]]) - {ALL_OF_FILE} <= told
    assert summary["worst"]["property"] == planted
    assert any(planted in text for text in summary["warnings"])
    (line,) = [each for each in caplog.messages if "data_preparation.equalise" in each]
    assert "AUC 1.00" in line
    assert draw_shortcuts(properties, table.reset_index()).axes[0].axison

    equalised = EqualisedImagesDataset(
        filepath=str(tmp_path / "equalised"),
        images={
            "type": "deepfake_detection.datasets.image_folder.ImageFolderDataset",
            "filepath": str(folder),
        },
        settings={"side": 96, "cut": 0.05, "quality": 90, "max_pixels": 10**6},
    ).load()
    after, summary, _ = audit(equalised)
    assert not summary["warnings"]
    files = after[after["kind"] == "file"]
    assert (files["low"] <= 0.5).all()
    assert (files["high"] >= 0.5).all()
    # what remains in the pixels is told
    assert after.loc[ALL_OF_PIXELS, "auc"] == pytest.approx(summary["pixels"]["auc"])
    assert after.loc["bytes", "kind"] == "pixels"


def test_an_interval_holds_the_truth_of_a_partial_shortcut(tmp_path):
    """Seven of ten fakes are of another quality: an AUC of 0.85."""

    def save(image, path, fake, number):
        image.save(path, quality=75 if fake and number // OF_SOURCE % 10 < 7 else 95)

    table, _, _ = audit(put_set(tmp_path / "partial", save))
    share = np.mean([number % 10 < 7 for number in range(SOURCES)])
    truth = 0.5 + share / 2
    row = table.loc["tables"]
    assert row["low"] <= truth <= row["high"]
    assert row["auc"] == pytest.approx(truth, abs=0.03)


def random_properties(seed, groups=30, of_group=3):
    """Properties that belong to groups, whose labels are dealt at random."""
    generator = np.random.default_rng(seed)
    label = np.repeat(generator.permutation(np.arange(groups) % 2), of_group)

    def category(*values):
        return np.repeat(generator.choice(values, groups), of_group)

    def number():
        of_groups = np.repeat(generator.normal(size=groups), of_group)
        return of_groups + 0.3 * generator.normal(size=len(label))

    table = pd.DataFrame({name: number() for name in (*FILE_PROPERTIES, *PIXEL_STATISTICS)})
    return table.assign(
        contrast=number(), sharpness=number(), format=category("JPEG", "PNG"), mode="RGB",
        tables=category(*"abcdef"), metadata=category("none", "271 272"), icc="none",
        quality=category(75.0, 80.0, 90.0, 95.0), size=category(1e4, 2e4, 3e4), proportions=1.0,
        path=[f"{number}.jpg" for number in range(len(label))], label=label,
        group=np.repeat(np.arange(groups), of_group).astype(str),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("audits", "folds"), [(40, 2), pytest.param(400, 5, marks=pytest.mark.slow)]
)
def test_few_audits_warn_where_labels_are_dealt_to_groups_at_random(audits, folds):
    # at 0.5 the interval alone decides
    parameters = settings(warn_above=0.5, folds=folds)
    warned, missed, told = 0, 0, 0
    for seed in range(audits):
        table, summary = audit_shortcuts(random_properties(seed), parameters)
        warned += bool(summary["warnings"])
        varied = table[table["note"].isna()]
        missed += ((varied["low"] > 0.5) | (varied["high"] < 0.5)).sum()
        told += len(varied)
    assert warned <= 0.05 * audits
    # 95 % intervals; those of one audit go together
    assert missed / told < 0.08


def test_a_class_of_one_group_has_no_audit():
    one = random_properties(0).assign(label=lambda rows: (rows["group"] == "3").astype(int))
    table, summary = audit_shortcuts(one, settings())
    varied = table[table["note"] != "the same for all images"]
    assert varied["auc"].isna().all()
    assert not summary["warnings"]


def test_a_large_set_is_sampled_by_whole_groups_and_a_lost_file_is_named(tmp_path):
    folder = put_set(tmp_path / "large", save_alike)
    index = index_of(folder)
    drawn = list_file_properties(index, folder, settings(most_images=20))
    assert 0 < len(drawn) <= 20
    assert set(drawn["label"]) == {0, 1}
    assert (drawn.groupby("group").size() == OF_SOURCE).all()
    # not those that a split with the same seed draws first
    split = split_images(index, SPLIT)
    assert set(split.loc[split["subset"] == "validation", "path"]) & set(drawn["path"])
    (folder / "real/0.jpg").unlink()
    with pytest.raises(UserError, match=r"0\.jpg"):
        list_file_properties(index, folder, settings())


def test_the_size_of_faces_in_their_sources_is_a_property_of_files():
    rows = random_properties(1).assign(face_size=lambda rows: 50.0 + 30 * rows["label"])
    table, summary = audit_shortcuts(rows, settings())
    assert summary["worst"]["property"] == "face_size"
    assert table.set_index("property").loc["face_size", "warns"]
