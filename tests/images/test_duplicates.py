import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog
from matplotlib.text import Text
from PIL import Image, ImageEnhance

from deepfake_detection.datasets.forging import write_faces
from deepfake_detection.errors import UserError
from deepfake_detection.images.duplicates import correlate
from deepfake_detection.parameters import ImageSetParameters, LeakageParameters
from deepfake_detection.pipelines.data_preparation.leakage_gallery import choose_pairs, draw_pairs
from deepfake_detection.pipelines.data_preparation.nodes import audit_split, draw_leaks, scan_images

CONF = Path(__file__).parents[2] / "conf/base"
CLASSES = {"real": "real", "fake_deepfake": "fake", "fake_face2face": "fake"}
DEFAULTS = yaml.safe_load((CONF / "parameters_data_preparation.yml").read_text())["leakage"]


def looking_for(**changed: object) -> LeakageParameters:
    return LeakageParameters.model_validate(DEFAULTS | changed)


def scan(folder: Path) -> pd.DataFrame:
    """Measures of all images; the group of an original is the number of its source."""
    parameters = ImageSetParameters.model_validate(
        {
            "classes": CLASSES,
            "source": {"rule": "image", "size": 5, "pattern": None},
            "group": {"rule": "source", "pattern": None},
            "max_rejected_share": 0,
            "max_pixels": 1_000_000,
            "note": None,
        }
    )
    scanned = scan_images(folder, parameters)
    assert scanned["reason"].isna().all()
    names = scanned["path"].str.extract(r"/(.*)\.", expand=False)
    scanned["group"] = [str(int(name) // 5) if name.isdecimal() else name for name in names]
    scanned["label"] = (scanned["class_name"] != "real").astype(int)
    return scanned


def audit(
    folder: Path, images: pd.DataFrame, subsets: list[str], method: str = "group", **changed: object
) -> tuple[pd.DataFrame, dict]:
    split = images[["path", "sha256", "class_name", "label", "source", "group"]]
    split = split.assign(subset=subsets)
    summary = {"method": method, "fingerprint": "f" * 64}
    leaks, found = audit_split(images, split, summary, folder, looking_for(**changed))
    json.dumps(found, allow_nan=False)
    assert leaks.notna().all(axis=None)
    assert leaks["correlation"].is_monotonic_decreasing
    return leaks, found


def by_source(images: pd.DataFrame) -> list[str]:
    """A grouped split: every fifth source validates, every fifth tests."""
    turn = images["group"].astype(int) % 5
    return list(turn.map({0: "validation", 1: "test"}).fillna("train"))


@pytest.fixture(
    scope="module",
    params=[(10, 128), pytest.param((60, 299), marks=pytest.mark.slow)],
    ids=["150 faces", "900 faces"],
)
def faces(request, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("faces") / "images"
    sources, size = request.param
    write_faces(folder, sources=sources, images_per_source=5, size=size, quality=90, seed=0)
    return folder, scan(folder)


@pytest.fixture
def put_images(tmp_path, put_files) -> Callable[..., tuple[Path, pd.DataFrame]]:
    """A folder of these images, with an empty class made up for, and its measures."""

    def put(files: dict[str, bytes]) -> tuple[Path, pd.DataFrame]:
        folder = put_files(tmp_path / "images", files)
        for name in CLASSES:
            (folder / name).mkdir(exist_ok=True)
            if not any((folder / name).iterdir()):
                noise = np.random.default_rng(len(name)).integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(noise).save(folder / name / f"{name}.png")
        return folder, scan(folder)

    return put


# ---------------------------------------------------------------- planted leaks

ALTERED: dict[str, Callable[[Image.Image], tuple[Image.Image, int]]] = {
    "quality 75": lambda image: (image, 75),
    "quality 40": lambda image: (image, 40),
    "half the size": lambda image: (image.resize((150, 150), Image.Resampling.BICUBIC), 90),
    "larger": lambda image: (image.resize((400, 400), Image.Resampling.BILINEAR), 90),
    "darker": lambda image: (ImageEnhance.Brightness(image).enhance(0.75), 90),
    "brighter": lambda image: (ImageEnhance.Brightness(image).enhance(1.2), 90),
    "less contrast": lambda image: (ImageEnhance.Contrast(image).enhance(0.7), 90),
    "small and dark": lambda image: (
        ImageEnhance.Brightness(image.resize((200, 200))).enhance(0.8), 60,
    ),
}  # fmt: skip


def plant(folder: Path, images: pd.DataFrame, copies: int) -> dict[str, tuple[str, str]]:
    """Altered copies of some images; what was planted by the copy's path: original, alteration."""
    planted = {}
    chosen = np.random.default_rng(0).choice(len(images), copies, replace=False)
    for number, row in enumerate(chosen):
        path = images["path"][row]
        name = list(ALTERED)[number % len(ALTERED)]
        image, quality = ALTERED[name](Image.open(folder / path).convert("RGB"))
        copy = f"{images['class_name'][row]}/copy_{number}.jpg"
        image.save(folder / copy, quality=quality)
        planted[copy] = (path, name)
    return planted


def test_planted_leaks_are_found_and_little_else(faces, tmp_path):
    original, images = faces
    folder = shutil.copytree(original, tmp_path / "images")
    planted = plant(folder, images, len(images) // 6)
    both = scan(folder)
    subsets = dict(zip(images["path"], by_source(images), strict=True))
    other = {"train": "validation", "validation": "train", "test": "train"}
    subsets |= {copy: other[subsets[path]] for copy, (path, _) in planted.items()}
    leaks, summary = audit(folder, both, [subsets[path] for path in both["path"]])

    found = {frozenset(pair) for pair in zip(leaks["path"], leaks["other_path"], strict=True)}
    wanted = {frozenset((copy, path)): name for copy, (path, name) in planted.items()}
    missed = [name for pair, name in wanted.items() if pair not in found]
    # a neighbour of a copy's original is as good as the original: of the same source
    source = images.set_index("path")["group"].to_dict()
    source |= {copy: source[path] for copy, (path, _) in planted.items()}
    false = [pair for pair in found if len({source[path] for path in pair}) > 1]
    print(f"\n{len(images)} faces, {len(wanted)} copies: missed {missed}, false {len(false)}")
    print(f"{summary['compared']}")
    assert not missed
    assert len(false) <= 0.01 * len(wanted)
    kinds = leaks["kind"].value_counts()
    assert set(kinds.index) <= {"near-duplicate", "cross-class near-duplicate"}


def test_faces_of_different_sources_are_no_leaks(faces):
    folder, images = faces
    leaks, summary = audit(folder, images, by_source(images))
    assert leaks.empty
    assert summary["found"] == {
        "exact duplicate": {}, "label conflict": {}, "near-duplicate": {},
        "cross-class near-duplicate": {},
    }  # fmt: skip
    assert set(summary["groups_in_more_than_one_subset"].values()) == {0}
    assert summary["compared"]["images"] == len(images)


def test_a_fake_and_what_it_was_made_of_are_alike_only_across_groups(faces):
    folder, images = faces
    alone = images.assign(group=images["class_name"] + images["group"])
    subsets = list(images["class_name"].map({"real": "train"}).fillna("validation"))
    apart, _ = audit(folder, alone, subsets)
    assert len(apart) > len(images) / 20
    assert set(apart["kind"]) == {"cross-class near-duplicate"}
    assert (apart["group"].str[4:] == apart["other_group"].str.extract(r"(\d+)$")[0]).all()
    together, summary = audit(folder, images, subsets, "individual")
    assert together.empty
    shared = images["group"].nunique()
    assert summary["groups_in_more_than_one_subset"] == {"train and validation": shared}


# ---------------------------------------------------------------- exact copies


def test_equal_files_are_found_across_subsets_and_labels(put_images, photograph, encode):
    one, two, three = (encode(photograph(seed, (64, 64))) for seed in range(3))
    folder, images = put_images(
        {
            "real/a.png": one, "real/b.png": one, "real/c.png": one, "real/d.png": two,
            "fake_deepfake/e.png": two, "fake_face2face/f.png": three, "fake_deepfake/g.png": three,
        }
    )  # fmt: skip
    in_validation = {"real/b.png", "real/c.png", "fake_deepfake/g.png"}
    subsets = ["validation" if path in in_validation else "train" for path in images["path"]]
    leaks, summary = audit(folder, images, subsets)
    pairs = set(leaks[["kind", "path", "other_path"]].itertuples(index=False, name=None))
    assert pairs == {
        ("exact duplicate", "real/a.png", "real/b.png"),
        ("exact duplicate", "real/a.png", "real/c.png"),
        ("exact duplicate", "fake_face2face/f.png", "fake_deepfake/g.png"),
        ("label conflict", "fake_deepfake/e.png", "real/d.png"),
    }
    assert (leaks["hash_distance"] == 0).all()
    assert summary["found"]["exact duplicate"] == {
        "train and validation": {"pairs": 3, "images": 3}
    }
    assert summary["found"]["label conflict"] == {"train and train": {"pairs": 1, "images": 1}}


# ---------------------------------------------------------------- pictures that show nothing


@pytest.mark.parametrize("least_contrast", [0.01, 0.0])
def test_flat_pictures_are_no_leaks_of_each_other(put_images, encode, least_contrast):
    files = {
        f"real/{name}_{side}.png": encode(Image.new("RGB", (side, side), colour))
        for name, colour in (("black", 0), ("grey", (127, 127, 127)), ("white", (255, 255, 255)))
        for side in (16, 32, 64, 1)
    }
    folder, images = put_images(files)
    subsets = ["train" if number % 2 else "validation" for number in range(len(images))]
    leaks, summary = audit(folder, images, subsets, least_contrast=least_contrast)
    assert leaks.empty
    assert list(leaks.columns)[:2] == ["kind", "path"]
    assert summary["compared"]["flat_images_left_out"] == (12 if least_contrast else 0)
    assert (summary["compared"]["candidate_pairs"] > 0) == (least_contrast == 0)


def test_candidates_of_many_copies_of_one_picture_are_limited(
    put_images, photograph, encode, caplog
):
    """Each copy stands in a pair, and what is left out is counted."""
    card = photograph(5, (48, 48))
    files = {f"real/c{n}.png": encode(card, compress_level=n % 9) + bytes(n) for n in range(200)}
    folder, images = put_images(files)
    subsets = ["train" if n % 4 else "validation" for n in range(len(images))]
    leaks, summary = audit(folder, images, subsets, most_candidates=500)
    assert {*leaks["path"], *leaks["other_path"]} == set(files)
    compared = summary["compared"]
    assert compared["candidate_pairs"] == len(leaks) <= 500
    assert compared["candidate_pairs"] + compared["candidate_pairs_left_out"] == 50 * 150
    assert f"{compared['candidate_pairs_left_out']:,}" in caplog.text
    assert "leakage.most_candidates" in caplog.text


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 20), st.sampled_from([1, 5, 40]),
    st.sampled_from([64, 1024]),
)  # fmt: skip
def test_correlation_is_pearson_s_and_never_undefined(seed, number, spread, pixels):
    generator = np.random.default_rng(seed)
    thumbnails = generator.normal(128, spread, (number, pixels)).clip(0, 255).astype(np.uint8)
    thumbnails[0] = 77
    first, second = generator.integers(0, number, (2, 50))
    measured = correlate(thumbnails, first, second)
    flat = thumbnails.std(axis=1) == 0
    for one, other, value in zip(first, second, measured, strict=True):
        if flat[one] or flat[other]:
            assert value == 0
        else:
            expected = np.corrcoef(thumbnails[one], thumbnails[other])[0, 1]
            assert value == pytest.approx(expected, abs=1e-9)
    assert len(correlate(thumbnails, first[:0], second[:0])) == 0


# ---------------------------------------------------------------- errors


def copies_of_one(photograph, encode, number: int = 3) -> dict[str, bytes]:
    picture = photograph(1, (64, 64))
    return {f"real/c{n}.jpg": encode(picture, "JPEG", quality=95 - n) for n in range(number)}


def test_files_that_are_missing_or_have_changed_are_named(put_images, photograph, encode):
    folder, images = put_images(copies_of_one(photograph, encode))
    subsets = ["train" if path == "real/c0.jpg" else "test" for path in images["path"]]
    leaks, _ = audit(folder, images, subsets)
    assert len(leaks) == 2
    (folder / "real/c1.jpg").unlink()
    (folder / "real/c2.jpg").write_bytes(encode(photograph(2)))
    with pytest.raises(UserError) as caught:
        audit(folder, images, subsets)
    message = str(caught.value)
    assert message.startswith(str(folder / "real/c1.jpg"))
    assert "data_preparation" in message
    assert "\n" not in message
    shutil.copy(folder / "real/c0.jpg", folder / "real/c1.jpg")
    with pytest.raises(UserError, match=r"c1\.jpg"):
        audit(folder, images, subsets)


def test_a_grouped_split_with_shared_groups_is_refused(put_images, photograph, encode):
    folder, images = put_images({f"real/{n}.png": encode(photograph(n)) for n in range(20)})
    numbered = images["path"].str.startswith("real").sum()
    subsets = ["train"] * len(images)
    subsets[0] = subsets[5] = subsets[numbered - 1] = "validation"
    with pytest.raises(UserError, match=r"3 groups.*'0' \(train, validation\).*data_preparation"):
        audit(folder, images, subsets)
    _, summary = audit(folder, images, subsets, "individual")
    assert summary["groups_in_more_than_one_subset"] == {"train and validation": 3}


def test_a_split_of_another_index_is_refused(put_images, photograph, encode):
    folder, images = put_images({f"real/{n}.png": encode(photograph(n)) for n in range(5)})
    split = images.assign(subset="train")
    split.loc[0, "sha256"] = "0" * 64
    summary = {"method": "group", "fingerprint": ""}
    with pytest.raises(UserError, match=r"1 of the 7 images.*data_preparation"):
        audit_split(images, split, summary, folder, looking_for())


# ---------------------------------------------------------------- log and gallery


def test_leaks_are_a_warning_with_their_number(put_images, photograph, encode, caplog):
    caplog.set_level("INFO")
    folder, images = put_images(copies_of_one(photograph, encode))
    audit(folder, images, ["train"] * len(images))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    caplog.clear()
    audit(folder, images, ["test" if path == "real/c0.jpg" else "train" for path in images["path"]])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "2 near-duplicates" in caplog.text
    assert "leakage_audit" in caplog.text
    assert "same_number" not in caplog.text


@pytest.fixture
def leaking(put_images, photograph, encode) -> tuple[Path, pd.DataFrame]:
    files = copies_of_one(photograph, encode, 4)
    files["fake_deepfake/x.jpg"] = files["real/c3.jpg"] + b"\0"
    folder, images = put_images(files)
    subsets = [
        "train" if path in ("real/c0.jpg", "real/c1.jpg") else "test" for path in images["path"]
    ]
    return folder, audit(folder, images, subsets)[0]


def words_in(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_gallery_shows_each_leaked_image_once_with_its_most_alike(leaking):
    folder, leaks = leaking
    assert len(leaks) == 6
    chosen = choose_pairs(leaks, 10)
    assert sorted(chosen["other_path"]) == ["fake_deepfake/x.jpg", "real/c2.jpg", "real/c3.jpg"]
    best = leaks.groupby("other_path")["correlation"].max()
    assert (chosen.set_index("other_path")["correlation"] == best[chosen["other_path"]]).all()
    figure = draw_leaks(leaks, folder, looking_for(gallery_pairs=2))
    words = words_in(figure)
    assert sum(len(axes.images) for axes in figure.axes) == 4
    assert "6 pairs" in words
    assert "3 images" in words
    assert "test\nreal/c2.jpg" in words or "test\nreal/c3.jpg" in words
    assert re.search(r"correlation (0\.99\d\d|1\.0000), \d bits? apart", words)


def test_a_gallery_without_leaks_has_no_pictures(leaking):
    folder, leaks = leaking
    figure = draw_pairs(leaks.head(0), folder, 5, 3)
    assert not any(axes.images for axes in figure.axes)
    assert words_in(figure)


def test_a_picture_that_is_gone_has_a_tile_in_its_place(leaking):
    folder, leaks = leaking
    whole = draw_pairs(leaks, folder, 10, 3)
    for name in ("c0", "c1"):
        (folder / f"real/{name}.jpg").unlink()
    figure = draw_pairs(leaks, folder, 10, 3)
    assert len(figure.axes) == len(whole.axes)
    assert sum(len(axes.images) for axes in figure.axes) == 3


def test_figure_and_tables_go_through_the_catalog(leaking, tmp_path):
    folder, leaks = leaking
    config = yaml.safe_load((CONF / "catalog.yml").read_text())
    names = ["leakage_audit", "leakage_gallery"]
    entries = {name: config[name] for name in names}
    for entry in entries.values():
        entry["filepath"] = str(tmp_path / Path(entry["filepath"]).name)
        del entry["versioned"]
    catalog = DataCatalog.from_config(entries)
    catalog.save("leakage_audit", leaks)
    pd.testing.assert_frame_equal(catalog.load("leakage_audit"), leaks, check_dtype=False)
    catalog.save("leakage_audit", leaks.head(0))
    assert list(catalog.load("leakage_audit").columns) == list(leaks.columns)
    catalog.save("leakage_gallery", draw_pairs(leaks, folder, 10, 3))
    with Image.open(io.BytesIO((tmp_path / "leakage_gallery.png").read_bytes())) as picture:
        assert min(picture.size) > 300
