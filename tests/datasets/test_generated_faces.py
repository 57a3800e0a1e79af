import hashlib
import json
import logging
from collections.abc import Callable
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

from deepfake_detection.datasets.faces.drawing import draw_image, write_faces
from deepfake_detection.datasets.faces.identity import CLASS_NAMES, ClassName
from deepfake_detection.datasets.generated_faces import GeneratedFacesDataset
from deepfake_detection.errors import UserError

SETTINGS = {"sources": 2, "images_per_source": 2, "size": 48, "quality": 90, "seed": 3}


def files_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpg"))
    }


def pixels(class_name: ClassName, source: int, frame: int, seed: int = 0) -> np.ndarray:
    drawn = draw_image(class_name, source, frame, seed, 48)
    return np.asarray(drawn.image, dtype=np.float64)


@pytest.fixture
def faces(tmp_path: Path) -> Callable[..., GeneratedFacesDataset]:
    def make(**changes: int) -> GeneratedFacesDataset:
        return GeneratedFacesDataset(filepath=str(tmp_path / "faces"), **(SETTINGS | changes))

    return make


class TestDrawing:
    def test_layout_and_sizes(self, tmp_path: Path):
        number = write_faces(tmp_path, **(SETTINGS | {"size": 299}), workers=1)
        assert number == 12
        assert set(files_in(tmp_path)) == {
            f"{class_name}/{i}.jpg" for class_name in CLASS_NAMES for i in range(4)
        }
        with Image.open(tmp_path / "real" / "3.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (299, 299))

    def test_the_same_files_whatever_the_number_of_workers(self, tmp_path: Path):
        write_faces(tmp_path / "one", **SETTINGS, workers=1)
        write_faces(tmp_path / "two", **SETTINGS, workers=2)
        assert files_in(tmp_path / "one") == files_in(tmp_path / "two")

    def test_another_seed_draws_others(self, tmp_path: Path):
        write_faces(tmp_path / "one", **SETTINGS, workers=1)
        write_faces(tmp_path / "two", **(SETTINGS | {"seed": 4}), workers=1)
        assert not set(files_in(tmp_path / "one").values()) & set(
            files_in(tmp_path / "two").values()
        )

    def test_frames_of_a_source_are_closer_than_other_sources(self):
        frames = [[pixels("real", source, frame) for frame in (0, 1)] for source in range(6)]
        within = [np.abs(first - second).mean() for first, second in frames]
        between = [
            np.abs(frames[a][0] - frames[b][0]).mean() for a in range(6) for b in range(6) if a < b
        ]
        assert max(within) < min(between)

    def test_the_other_classes_show_the_same_source_at_other_moments(self):
        for source in range(4):
            real = pixels("real", source, 0)
            for class_name in ("fake_deepfake", "fake_face2face"):
                same = np.abs(real - pixels(class_name, source, 0)).mean()
                other = np.abs(real - pixels(class_name, source + 1, 0)).mean()
                assert 0.5 < same < other

    def test_what_was_changed_is_told(self):
        for source in range(4):
            assert not draw_image("real", source, 0, 0, 64).changed.any()
            for class_name in ("fake_deepfake", "fake_face2face"):
                changed = draw_image(class_name, source, 0, 0, 64).changed
                assert changed.shape == (64, 64)
                assert changed.min() >= 0
                assert changed.max() <= 1
                assert 0.05 < (changed > 0.5).mean() < 0.6  # the inner face, not the picture

    @pytest.mark.parametrize("class_name", ["fake_deepfake", "fake_face2face"])
    def test_outside_what_was_changed_pixels_are_those_of_the_unforged_picture(
        self, class_name: ClassName
    ):
        for source in range(4):
            forged = draw_image(class_name, source, 0, 0, 96)
            before = draw_image(class_name, source, 0, 0, 96, forge=False)
            assert not before.changed.any()
            differs = np.abs(np.asarray(forged.image, int) - np.asarray(before.image, int)).max(-1)
            # The camera's lens blur carries a change a few pixels outwards.
            near = binary_dilation(forged.changed > 0, iterations=4)
            assert differs[forged.changed > 0.5].mean() > 1
            assert not differs[~near].any()

    def test_mean_colours_do_not_tell_the_classes_apart(self):
        """Grouped cross-validation over balanced classes: 0.5 is chance.

        (Plain accuracy says little here: calling every image fake gives 2 / 3.)
        """
        colours, labels, groups = [], [], []
        for source in range(36):
            for class_name in CLASS_NAMES:
                colours.append(pixels(class_name, source, 0).mean((0, 1)))
                labels.append(int(class_name != "real"))
                groups.append(source)
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=10.0, class_weight="balanced")
        )
        predicted = cross_val_predict(
            classifier, np.array(colours), labels, groups=groups, cv=GroupKFold(5)
        )
        assert balanced_accuracy_score(labels, predicted) < 0.65
        assert np.mean(predicted == np.array(labels)) < 0.65


class TestDataset:
    def test_draws_on_first_use_and_says_so(self, faces, tmp_path: Path, caplog):
        dataset = faces()
        assert not dataset.exists()
        with caplog.at_level(logging.INFO):
            folder = dataset.load()
        assert folder == (tmp_path / "faces").resolve()
        assert len(files_in(folder)) == 12
        assert dataset.exists()
        assert "Drew 12 faces (drawings" in caplog.text
        assert [path.name for path in tmp_path.iterdir()] == ["faces"]

    def test_draws_once(self, faces):
        folder = faces().load()
        (folder / "real" / "0.jpg").write_bytes(b"mine")
        faces().load()
        assert (folder / "real" / "0.jpg").read_bytes() == b"mine"

    def test_other_settings_draw_anew(self, faces, tmp_path: Path):
        before = files_in(faces().load())
        dataset = faces(seed=4)
        assert not dataset.exists()
        after = files_in(dataset.load())
        assert set(before) == set(after)
        assert not set(before.values()) & set(after.values())
        assert [path.name for path in tmp_path.iterdir()] == ["faces"]

    def test_another_version_of_the_drawing_draws_anew(self, faces):
        folder = faces().load()
        marker = folder / ".generated_faces.json"
        stands = json.loads(marker.read_text())
        marker.write_text(json.dumps(stands | {"drawing": 0}))
        assert not faces().exists()

    def test_somebodys_own_folder_is_left_alone(self, faces, tmp_path: Path):
        own = tmp_path / "faces" / "real" / "0.jpg"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"mine")
        with pytest.raises(DatasetError, match="is no folder of generated faces") as caught:
            faces().load()
        assert isinstance(caught.value.__cause__, UserError)
        assert own.read_bytes() == b"mine"

    def test_appears_whole_or_not_at_all(self, faces, tmp_path: Path, monkeypatch):
        def stop(folder: Path, **settings: int) -> int:
            write_faces(folder, **(settings | {"sources": 1}), workers=1)
            raise KeyboardInterrupt

        monkeypatch.setattr("deepfake_detection.datasets.generated_faces.write_faces", stop)
        with pytest.raises(KeyboardInterrupt):
            faces().load()
        assert not list(tmp_path.iterdir())

    def test_a_stop_leaves_the_faces_that_stood_there(self, faces, tmp_path: Path, monkeypatch):
        before = files_in(faces().load())

        def stop(folder: Path, **settings: int) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("deepfake_detection.datasets.generated_faces.write_faces", stop)
        with pytest.raises(KeyboardInterrupt):
            faces(seed=4).load()
        assert files_in(tmp_path / "faces") == before
        assert faces().exists()

    def test_a_run_beside_this_one_may_be_faster(self, faces, monkeypatch):
        def overtaken(folder: Path, **settings: int) -> int:
            monkeypatch.undo()
            faces().load()
            return write_faces(folder, **settings)

        monkeypatch.setattr("deepfake_detection.datasets.generated_faces.write_faces", overtaken)
        folder = faces().load()
        assert len(files_in(folder)) == 12
        assert [path.name for path in folder.parent.iterdir()] == ["faces"]

    def test_is_only_read(self, faces):
        with pytest.raises(DatasetError, match="only read"):
            faces().save(Path())

    def test_describes_itself(self, faces, tmp_path: Path):
        assert faces()._describe() == {"filepath": str(tmp_path / "faces"), **SETTINGS}
