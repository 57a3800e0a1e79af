import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from picture_samples import make_image_set
from PIL import Image, ImageEnhance

from deepfake_detection.datasets.forging import write_faces
from deepfake_detection.errors import UserError
from deepfake_detection.images.duplicates import correlate
from deepfake_detection.parameters import LeakageParameters
from deepfake_detection.pipelines.data_preparation.leakage_gallery import choose_pairs, draw_pairs
from deepfake_detection.pipelines.data_preparation.nodes import audit_split, draw_leaks, scan_images

SPLIT_COLUMNS = ["path", "sha256", "class_name", "label", "source", "group"]
CLASSES = {"real": "real", "fake_deepfake": "fake", "fake_face2face": "fake"}
PARAMETERS = Path(__file__).parents[2] / "conf/base/parameters_data_preparation.yml"
DEFAULTS = yaml.safe_load(PARAMETERS.read_text())["leakage"]


def looking_for(**changed):
    return LeakageParameters.model_validate(DEFAULTS | changed)


def scan(folder):
    """Measures of all images; the group of an original is the number of its source."""
    scanned = scan_images(folder, make_image_set(CLASSES, source="image"), None)
    assert scanned["reason"].isna().all()
    names = scanned["path"].str.extract(r"/(.*)\.", expand=False)
    scanned["group"] = [str(int(name) // 5) if name.isdecimal() else name for name in names]
    scanned["label"] = (scanned["class_name"] != "real").astype(int)
    return scanned


def audit(folder, images, subsets, method="group", **changed):
    split = images[SPLIT_COLUMNS].assign(subset=subsets)
    summary = {"method": method, "fingerprint": "f" * 64}
    leaks, found = audit_split(images, split, summary, folder, looking_for(**changed))
    json.dumps(found, allow_nan=False)
    assert leaks.notna().all(axis=None)
    assert leaks["correlation"].is_monotonic_decreasing
    return leaks, found


def by_source(images):
    """A grouped split: every fifth source validates, every fifth tests."""
    turn = images["group"].astype(int) % 5
    return list(turn.map({0: "validation", 1: "test"}).fillna("train"))


def subsets_of(images, apart, subset):
    """These paths in one subset, all others in train."""
    return np.where(images["path"].isin(apart), subset, "train")


@pytest.fixture(
    scope="module",
    params=[(10, 128), pytest.param((60, 299), marks=pytest.mark.slow)],
    ids=["150 faces", "900 faces"],
)
def faces(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "images"
    sources, size = request.param
    write_faces(folder, sources=sources, images_per_source=5, size=size, quality=90, seed=0)
    return folder, scan(folder)


@pytest.fixture
def put_images(tmp_path, put_files, encode):
    """A folder of these images, with an empty class made up for, and its measures."""

    def put(files):
        files = dict(files)
        for name in {*CLASSES} - {path.split("/")[0] for path in files}:
            noise = np.random.default_rng(len(name)).integers(0, 256, (16, 16, 3), np.uint8)
            files[f"{name}/{name}.png"] = encode(Image.fromarray(noise))
        folder = put_files(tmp_path / "images", files)
        return folder, scan(folder)

    return put


ALTERED = [
    lambda image: (image, 75),
    lambda image: (image, 40),
    lambda image: (image.resize((150, 150), Image.Resampling.BICUBIC), 90),
    lambda image: (image.resize((400, 400), Image.Resampling.BILINEAR), 90),
    lambda image: (ImageEnhance.Brightness(image).enhance(0.75), 90),
    lambda image: (ImageEnhance.Brightness(image).enhance(1.2), 90),
    lambda image: (ImageEnhance.Contrast(image).enhance(0.7), 90),
    lambda image: (ImageEnhance.Brightness(image.resize((200, 200))).enhance(0.8), 60),
]


def plant(folder, images):
    """Altered copies of every sixth image or so: the path of the original by the copy's path."""
    planted = {}
    chosen = images.sample(frac=1 / 6, random_state=0)
    for number, path in enumerate(chosen["path"]):
        image, quality = ALTERED[number % len(ALTERED)](Image.open(folder / path).convert("RGB"))
        copy = f"{path.split('/')[0]}/copy_{number}.jpg"
        image.save(folder / copy, quality=quality)
        planted[copy] = path
    return planted


def test_planted_leaks_are_found_and_little_else(faces, tmp_path):
    original, images = faces
    leaks, summary = audit(original, images, by_source(images))
    assert leaks.empty
    assert not any(summary["found"].values())
    assert len(summary["found"]) == 4
    assert set(summary["groups_in_more_than_one_subset"].values()) == {0}
    assert summary["compared"]["images"] == len(images)

    folder = shutil.copytree(original, tmp_path / "images")
    planted = plant(folder, images)
    both = scan(folder)
    subsets = dict(zip(images["path"], by_source(images), strict=True))
    other = {"train": "validation", "validation": "train", "test": "train"}
    subsets |= {copy: other[subsets[path]] for copy, path in planted.items()}
    leaks, _ = audit(folder, both, [subsets[path] for path in both["path"]])
    found = {frozenset(pair) for pair in zip(leaks["path"], leaks["other_path"], strict=True)}
    assert found >= {frozenset(pair) for pair in planted.items()}
    # a neighbour of a copy's original is as good as the original: of the same source
    source = images.set_index("path")["group"].to_dict()
    source |= {copy: source[path] for copy, path in planted.items()}
    false = [pair for pair in found if len({source[path] for path in pair}) > 1]
    assert len(false) <= 0.01 * len(planted)
    assert set(leaks["kind"]) <= {"near-duplicate", "cross-class near-duplicate"}
    # for the thresholds in parameters_data_preparation.yml, with pytest -m slow -s
    wide, _ = audit(
        folder, both, [subsets[path] for path in both["path"]], hash_distance=16, correlation=0.5
    )
    planted_pairs = {frozenset(pair) for pair in planted.items()}
    pairs = list(zip(wide["path"], wide["other_path"], strict=True))
    copies = wide[[frozenset(pair) in planted_pairs for pair in pairs]]
    others = wide[[source[one] != source[other] for one, other in pairs]]
    near = others[others["hash_distance"] <= 8]
    print(
        f"\n{len(both)} files, {len(planted)} copies: at most {copies['hash_distance'].max()} bits,"
        f" correlation at least {copies['correlation'].min():.3f}; other sources within 8 bits: "
        f"{len(near)} pairs, at most {near['correlation'].max():.3f}"
    )


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


def test_equal_files_are_found_across_subsets_and_labels(put_images, photograph, encode):
    one, two, three = (encode(photograph(seed, (64, 64))) for seed in range(3))
    folder, images = put_images(
        {
            "real/a.png": one, "real/b.png": one, "real/c.png": one, "real/d.png": two,
            "fake_deepfake/e.png": two, "fake_face2face/f.png": three, "fake_deepfake/g.png": three,
        }
    )  # fmt: skip
    in_validation = {"real/b.png", "real/c.png", "fake_deepfake/g.png"}
    leaks, summary = audit(folder, images, subsets_of(images, in_validation, "validation"))
    pairs = set(leaks[["kind", "path", "other_path"]].itertuples(index=False, name=None))
    assert pairs == {
        ("exact duplicate", "real/a.png", "real/b.png"),
        ("exact duplicate", "real/a.png", "real/c.png"),
        ("exact duplicate", "fake_face2face/f.png", "fake_deepfake/g.png"),
        ("label conflict", "fake_deepfake/e.png", "real/d.png"),
    }
    assert (leaks["hash_distance"] == 0).all()
    found = summary["found"]
    assert found["exact duplicate"] == {"train and validation": {"pairs": 3, "images": 3}}
    assert found["label conflict"] == {"train and train": {"pairs": 1, "images": 1}}


@pytest.mark.parametrize("least_contrast", [0.01, 0.0])
def test_flat_pictures_are_no_leaks_of_each_other(put_images, encode, least_contrast):
    sizes = product(("black", "grey", "white"), (16, 32, 64, 1))
    folder, images = put_images(
        {f"real/{name}{n}.png": encode(Image.new("RGB", (n, n), name)) for name, n in sizes}
    )
    subsets = ["train" if number % 2 else "validation" for number in range(len(images))]
    leaks, summary = audit(folder, images, subsets, least_contrast=least_contrast)
    assert leaks.empty
    assert list(leaks.columns)[:2] == ["kind", "path"]
    assert summary["compared"]["flat_images_left_out"] == (12 if least_contrast else 0)
    assert (summary["compared"]["candidate_pairs"] > 0) == (least_contrast == 0)


def test_candidates_of_many_copies_are_limited(put_images, photograph, encode, caplog):
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
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(thumbnails))[first, second]
    np.testing.assert_allclose(correlate(thumbnails, first, second), expected, atol=1e-9)
    assert len(correlate(thumbnails, first[:0], second[:0])) == 0


def copies_of_one(photograph, encode, number=3):
    picture = photograph(1, (64, 64))
    return {f"real/c{n}.jpg": encode(picture, "JPEG", quality=95 - n) for n in range(number)}


def test_leaks_are_a_warning_and_files_that_changed_are_named(
    put_images, photograph, encode, caplog
):
    caplog.set_level("INFO")
    folder, images = put_images(copies_of_one(photograph, encode))
    caplog.clear()
    audit(folder, images, ["train"] * len(images))
    subsets = subsets_of(images, {"real/c0.jpg"}, "test")
    leaks, _ = audit(folder, images, subsets)
    assert len(leaks) == 2
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "2 near-duplicates" in caplog.text
    assert "leakage_audit" in caplog.text
    assert "same_number" not in caplog.text
    (folder / "real/c1.jpg").unlink()
    with pytest.raises(UserError, match=rf"^{folder}/real/c1\.jpg.*data_preparation.*$"):
        audit(folder, images, subsets)
    shutil.copy(folder / "real/c0.jpg", folder / "real/c1.jpg")
    with pytest.raises(UserError, match=r"c1\.jpg"):
        audit(folder, images, subsets)


def test_a_split_with_shared_groups_or_of_another_index_is_refused(put_images, photograph, encode):
    folder, images = put_images({f"real/{n}.png": encode(photograph(n)) for n in range(20)})
    subsets = subsets_of(images, {f"real/{n}.png" for n in (0, 5, 19)}, "validation")
    with pytest.raises(UserError, match=r"3 groups.*'0' \(train, validation\).*data_preparation"):
        audit(folder, images, subsets)
    _, summary = audit(folder, images, subsets, "individual")
    assert summary["groups_in_more_than_one_subset"] == {"train and validation": 3}
    split = images.assign(subset="train")
    split.loc[0, "sha256"] = "0" * 64
    with pytest.raises(UserError, match=r"1 of the 22 images.*data_preparation"):
        audit_split(images, split, {"method": "group"}, folder, looking_for())


@pytest.fixture
def leaking(put_images, photograph, encode):
    files = copies_of_one(photograph, encode, 4)
    files["fake_deepfake/x.jpg"] = files["real/c3.jpg"] + b"\0"
    folder, images = put_images(files)
    trained = images["path"].isin(["real/c0.jpg", "real/c1.jpg"])
    return folder, audit(folder, images, np.where(trained, "train", "test"))[0]


def words_in(figure):
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def pictures_in(figure):
    return sum(len(axes.images) for axes in figure.axes)


def test_the_gallery_shows_each_leaked_image_once_with_its_most_alike(leaking):
    folder, leaks = leaking
    assert len(leaks) == 6
    chosen = choose_pairs(leaks, 10)
    assert sorted(chosen["other_path"]) == ["fake_deepfake/x.jpg", "real/c2.jpg", "real/c3.jpg"]
    best = leaks.groupby("other_path")["correlation"].max()
    assert (chosen.set_index("other_path")["correlation"] == best[chosen["other_path"]]).all()
    figure = draw_leaks(leaks, folder, looking_for(gallery_pairs=2))
    words = words_in(figure)
    assert pictures_in(figure) == 4
    assert "6 pairs" in words
    assert "3 images" in words
    assert re.search(r"test\nreal/c[23]\.jpg", words)
    assert re.search(r"correlation (0\.99\d\d|1\.0000), \d bits? apart", words)
    nothing = draw_pairs(leaks.head(0), folder, 5, 3)
    assert pictures_in(nothing) == 0
    assert words_in(nothing)


def test_a_picture_that_is_gone_has_a_tile_in_its_place(leaking):
    folder, leaks = leaking
    whole = draw_pairs(leaks, folder, 10, 3)
    for name in ("c0", "c1"):
        (folder / f"real/{name}.jpg").unlink()
    figure = draw_pairs(leaks, folder, 10, 3)
    assert (len(figure.axes), pictures_in(figure)) == (len(whole.axes), 3)
