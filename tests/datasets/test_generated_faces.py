import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from kedro.io import DatasetError
from PIL import Image
from scipy.ndimage import binary_dilation
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision import transforms

from deepfake_detection.datasets.face_drawing import draw_image, write_faces
from deepfake_detection.datasets.face_identity import CLASS_NAMES, ClassName
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


@pytest.mark.slow
def test_what_the_demo_promises(tmp_path: Path):
    """The demo's network, made by its settings: a grouped split is learned, an individual leaks."""
    demo = Path(__file__).parents[2] / "conf" / "demo"
    catalog, globals_, parameters = (
        yaml.safe_load((demo / f"{name}.yml").read_text())
        for name in ("catalog", "globals", "parameters")
    )
    drawing = {
        key: catalog["training_images"][key]
        for key in ("sources", "images_per_source", "size", "quality", "seed")
    }
    write_faces(tmp_path, **drawing)
    model = globals_["model"]
    images, labels, sources = read_small(
        tmp_path, drawing["images_per_source"], **parameters["backbones"][model]
    )
    scores = {"group": [], "individual": []}
    for method, found in scores.items():
        for seed in range(5):
            subset = assign(method, sources, seed)
            found.append(train(model, images, labels, subset, parameters["training"], seed))
    grouped, individual = (np.array(scores[method]) for method in ("group", "individual"))
    print(f"AUC, validation and test, of five seeds: grouped {grouped}, individual {individual}")
    assert grouped.mean() >= 0.85
    assert individual[:, 0].mean() > grouped[:, 0].mean()


def read_small(
    folder: Path, images_per_source: int, resize: int, crop: int
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    images, labels, sources = [], [], []
    first = (resize - crop) // 2
    for class_name in CLASS_NAMES:
        for number in range(len(list((folder / class_name).glob("*.jpg")))):
            with Image.open(folder / class_name / f"{number}.jpg") as image:
                small = image.resize((resize, resize), Image.Resampling.BILINEAR)
            inner = small.crop((first, first, first + crop, first + crop))
            images.append(np.asarray(inner).transpose(2, 0, 1))
            labels.append(int(class_name != "real"))
            sources.append(number // images_per_source)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), np.array(sources)


def assign(method: str, sources: np.ndarray, seed: int) -> np.ndarray:
    """0 for training, 1 for validation, 2 for test; 60, 20 and 20 %."""
    keys = sources if method == "group" else np.arange(len(sources))
    names = np.random.default_rng(seed).permutation(np.unique(keys))
    train_names, validation_names, _ = np.split(
        names, [round(0.6 * len(names)), round(0.8 * len(names))]
    )
    return np.where(np.isin(keys, train_names), 0, np.where(np.isin(keys, validation_names), 1, 2))


def train(
    model: str,
    images: torch.Tensor,
    labels: torch.Tensor,
    subset: np.ndarray,
    training: dict,
    seed: int,
) -> tuple[float, float]:
    """Validation and test AUC after the last epoch."""
    torch.manual_seed(seed)
    network = torchvision.models.get_model(model, weights=None, num_classes=2)
    optimiser = torch.optim.Adam(network.parameters(), lr=training["optimizer"]["lr"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training["epochs"])
    normalised = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    chosen = torch.from_numpy(np.flatnonzero(subset == 0))
    for _ in range(training["epochs"]):
        network.train()
        for batch in chosen[torch.randperm(len(chosen))].split(training["batch_size"]):
            turned = torch.stack(
                [
                    transforms.functional.rotate(
                        image.flip(-1) if torch.rand(()) < 0.5 else image,
                        float(20 * torch.rand(()) - 10),
                    )
                    for image in images[batch]
                ]
            )
            loss = torch.nn.functional.cross_entropy(
                network(normalised(turned / 255)), labels[batch]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        outputs = torch.cat([network(normalised(part / 255)) for part in images.split(128)])
    logits = (outputs[:, 1] - outputs[:, 0]).numpy()
    validation, test = (
        float(roc_auc_score(labels[subset == number], logits[subset == number]))
        for number in (1, 2)
    )
    return validation, test
