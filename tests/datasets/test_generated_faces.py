import hashlib
import importlib
import json
import logging
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image
from scipy.ndimage import binary_dilation
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detection.datasets import forging
from deepfake_detection.datasets.forging import (
    CLASS_NAMES,
    MOST_SOURCES,
    Source,
    make_image,
    write_faces,
)
from deepfake_detection.datasets.generated_faces import GeneratedFacesDataset
from deepfake_detection.errors import UserError

SETTINGS = {
    "people": "main", "sources": 2, "images_per_source": 2, "size": 48, "quality": 90, "seed": 3,
}  # fmt: skip
MAKER = "deepfake_detection.datasets.generated_faces.write_faces"
ROOT = Path(__file__).parents[2]
PORTRAITS = Path(forging.__file__).parent / "portraits"
FAKES = ["fake_deepfake", "fake_face2face"]

source = lru_cache(maxsize=None)(Source.read)


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpg"))
    }


def pixels(class_name, number, frame=0, people="main", **options):
    image, _ = make_image(
        source(people, number), class_name, frame, **({"seed": 0, "size": 48} | options)
    )
    return np.asarray(image, dtype=np.float64)


def difference(first, second):
    return float(np.abs(first - second).mean())


def refusal(use):
    """What an error for the user says, inside that of Kedro."""
    with pytest.raises(DatasetError) as caught:
        use()
    assert isinstance(caught.value.__cause__, UserError)
    return caught.value.__cause__.message


@pytest.fixture
def faces(tmp_path):
    folder = str(tmp_path / "faces")
    return lambda **changes: GeneratedFacesDataset(filepath=folder, **(SETTINGS | changes))


class TestPortraits:
    def test_all_people_are_shipped_in_6_megabytes(self):
        landmarks = json.loads((PORTRAITS / "landmarks.json").read_text())
        assert {name: len(people) for name, people in landmarks.items()} == MOST_SOURCES
        files = {f"{name}_{number:02}.jpg" for name in landmarks for number in range(60)}
        shipped = {path.name for path in PORTRAITS.glob("*.jpg")}
        assert shipped <= files
        assert len(shipped) == sum(MOST_SOURCES.values())
        assert sum(path.stat().st_size for path in PORTRAITS.iterdir()) <= 6_000_000

    def test_the_tool_still_draws_them(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(ROOT / "tools")
        tool = importlib.import_module("draw_portraits")
        shipped = json.loads((PORTRAITS / "landmarks.json").read_text())
        for name, number in (("main", 0), ("elsewhere", 60)):
            landmarks = tool.draw_person(tmp_path / f"{name}_00.jpg", number)
            now, then = (
                np.asarray(Image.open(folder / f"{name}_00.jpg"), float)
                for folder in (tmp_path, PORTRAITS)
            )
            assert now.shape == then.shape == (320, 1600, 3)
            assert difference(now, then) < 0.5
            assert landmarks == shipped[name][0]


class TestForging:
    def test_layout_and_sizes_whatever_the_number_of_workers(self, tmp_path):
        one, two = tmp_path / "one", tmp_path / "two"
        for workers, folder in enumerate((one, two), start=1):
            assert write_faces(folder, **(SETTINGS | {"size": 299}), workers=workers) == 12
        assert files_in(one) == files_in(two)
        names = {f"{class_name}/{i}.jpg" for class_name in CLASS_NAMES for i in range(4)}
        assert set(files_in(one)) == names
        with Image.open(one / "real" / "3.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (299, 299))

    def test_a_seed_keeps_the_people_and_elsewhere_are_others(self):
        first, second = (pixels("real", 0, seed=seed) for seed in (0, 1))
        for number in range(4):
            elsewhere = pixels("real", number, people="elsewhere")
            assert difference(first, second) < difference(first, elsewhere)

    def test_frames_of_a_source_are_closer_than_other_sources(self):
        frames = [[pixels("real", number, frame) for frame in (0, 1)] for number in range(6)]
        within = [difference(first, second) for first, second in frames]
        between = [difference(frames[a][0], frames[b][0]) for a in range(6) for b in range(a)]
        assert max(within) < min(between)

    @pytest.mark.parametrize("class_name", FAKES)
    def test_a_fake_shows_its_source_at_another_place(self, class_name):
        for number in range(4):
            real = pixels("real", number)
            other = difference(real, pixels(class_name, number + 1))
            for forge in (True, False):
                assert 0.5 < difference(real, pixels(class_name, number, forge=forge)) < other

    @pytest.mark.parametrize("class_name", FAKES)
    def test_only_what_is_said_to_be_forged_is_changed(self, class_name):
        for number in range(4):
            made = source("main", number), class_name, 0
            forged, changed = make_image(*made, seed=0, size=96)
            before, unchanged = make_image(*made, seed=0, size=96, forge=False)
            assert not unchanged.any()
            assert not make_image(made[0], "real", 0, seed=0, size=96)[1].any()
            assert changed.shape == (96, 96)
            assert 0 <= changed.min() < changed.max() <= 1
            assert 0.05 < (changed > 0.5).mean() < 0.6  # the inner face, not the picture
            differs = np.abs(np.asarray(forged, int) - np.asarray(before, int)).max(-1)
            # resizing and the camera's blur carry a change a few pixels outwards
            near = binary_dilation(changed > 0, iterations=4)
            assert differs[changed > 0.5].mean() > 1
            assert not differs[~near].any()

    def test_mean_colours_do_not_tell_the_classes_apart(self):
        """Grouped cross-validation over balanced classes: 0.5 is chance.

        (Plain accuracy says little here: calling every image fake gives 2 / 3.)
        """
        numbers = range(36)
        made = [(number, class_name) for number in numbers for class_name in CLASS_NAMES]
        colours = [pixels(class_name, number).mean((0, 1)) for number, class_name in made]
        labels = np.array([class_name != "real" for _, class_name in made])
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=10.0, class_weight="balanced")
        )
        predicted = cross_val_predict(
            classifier, colours, labels, groups=[number for number, _ in made], cv=GroupKFold(5)
        )
        assert balanced_accuracy_score(labels, predicted) < 0.65
        assert np.mean(predicted == labels) < 0.65


class TestDataset:
    def test_makes_the_folder_once_and_says_so(self, faces, tmp_path, caplog):
        dataset = faces()
        assert dataset._describe() == {"filepath": str(tmp_path / "faces"), **SETTINGS}
        assert not dataset.exists()
        with caplog.at_level(logging.INFO):
            folder = dataset.load()
        assert folder == (tmp_path / "faces").resolve()
        assert len(files_in(folder)) == 12
        assert dataset.exists()
        assert [(record.levelname, record.args[0]) for record in caplog.records] == [("INFO", 12)]
        (folder / "real" / "0.jpg").write_bytes(b"mine")
        faces().load()
        assert (folder / "real" / "0.jpg").read_bytes() == b"mine"
        assert [path.name for path in tmp_path.iterdir()] == ["faces"]

    @pytest.mark.parametrize("change", [{"seed": 4}, {"people": "elsewhere"}], ids=str)
    def test_other_settings_make_it_anew(self, faces, tmp_path, change):
        before = files_in(faces().load())
        assert not faces(**change).exists()
        after = files_in(faces(**change).load())
        assert set(before) == set(after)
        assert not set(before.values()) & set(after.values())
        assert [path.name for path in tmp_path.iterdir()] == ["faces"]
        # and so does another version of the forging
        marker = tmp_path / "faces/.generated_faces.json"
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": 0}))
        assert not faces(**change).exists()

    @pytest.mark.parametrize(
        ("change", "most"),
        [
            ({"sources": 61}, 60),
            ({"sources": 21, "people": "elsewhere"}, 20),
            ({"images_per_source": 6}, 5),
            ({"size": 300}, 299),
            ({"quality": 0}, 95),
            ({"people": "nobody"}, "elsewhere"),
        ],
        ids=str,
    )
    def test_refuses_what_the_portraits_cannot_give(self, faces, tmp_path, change, most):
        message = refusal(faces(**change).load)
        name, value = next(iter(change.items()))
        assert all(part in message for part in (name, str(value), str(most)))
        assert not list(tmp_path.iterdir())

    def test_a_folder_of_others_is_left_alone(self, faces, tmp_path):
        own = tmp_path / "faces" / "real" / "0.jpg"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"mine")
        assert str(tmp_path / "faces") in refusal(faces().load)
        assert own.read_bytes() == b"mine"
        assert refusal(lambda: faces().save(Path()))  # only read

    def test_appears_whole_or_not_at_all(self, faces, tmp_path, monkeypatch):
        def stop(folder, **settings):
            write_faces(folder, **(settings | {"sources": 1}), workers=1)
            raise KeyboardInterrupt

        monkeypatch.setattr(MAKER, stop)
        with pytest.raises(KeyboardInterrupt):
            faces().load()
        assert not list(tmp_path.iterdir())
        # nor do the faces that were there go
        monkeypatch.setattr(MAKER, write_faces)
        before = files_in(faces().load())
        monkeypatch.setattr(MAKER, stop)
        with pytest.raises(KeyboardInterrupt):
            faces(seed=4).load()
        assert files_in(tmp_path / "faces") == before
        assert faces().exists()

    def test_what_a_killed_process_left_is_removed_after_a_day(self, faces, tmp_path):
        left = [tmp_path / f".faces-{name}" for name in ("old", "young")]
        for each in left:
            each.mkdir()
        os.utime(left[0], (1, 1))
        faces().load()
        assert [each.exists() for each in left] == [False, True]

    def test_a_run_beside_this_one_may_be_faster(self, faces, monkeypatch):
        def overtaken(folder, **settings):
            monkeypatch.undo()
            faces().load()
            return write_faces(folder, **settings)

        monkeypatch.setattr(MAKER, overtaken)
        folder = faces().load()
        assert len(files_in(folder)) == 12
        assert [path.name for path in folder.parent.iterdir()] == ["faces"]
