"""A detector that was exported once, for all tests that look at the result."""

import numpy as np
import pytest
from export_samples import EXPORT, Exported, make_lively_detector, put_pictures
from face_samples import draw_videos, face_settings
from PIL import Image

from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.video import read_frames, read_timeline
from deepfake_detection.pipelines.export.nodes import export_detector


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """squeezenet1_1 has the fewest operators of all light networks, so that this takes seconds."""
    model = "squeezenet1_1"
    settings = face_settings()
    recipe = CropRecipe.of(
        settings, settings.crop, make_face_detector(settings).weights_sha256
    ).model_dump()
    split = {"fingerprint": "ab" * 32, "method": "group", "note": "<n>", "crop_recipe": recipe}
    calibration = {"verdict": {"error_rate": 0.1, "unsure": [0.25, 0.35], "unlike_from": None}}
    detector = make_lively_detector(model, 32, threshold=0.3, split=split, calibration=calibration)
    folder = tmp_path_factory.mktemp("pictures")
    pictures = put_pictures(folder)
    export = EXPORT.model_copy(update={"check_images": 99})
    return Exported(detector, folder, pictures, *export_detector(detector, folder, model, export))


@pytest.fixture
def exported_folder(exported, tmp_path):
    """A folder with only the exported files and the images, as copied elsewhere."""
    (tmp_path / "detector.onnx").write_bytes(exported.content)
    (tmp_path / "prepare.py").write_text(exported.prepare, encoding="utf-8")
    for path in exported.pictures:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A picture of one drawn face, of two, of none, and of one that is too small."""
    folder = tmp_path_factory.mktemp("photographs")
    clips = sorted(draw_videos(tmp_path_factory.mktemp("videos"), sources=2).rglob("*.mp4"))
    frames = []
    for clip in (clips[0], clips[-1]):
        timeline = read_timeline(clip, 10**8)
        frames.append(next(iter(read_frames(clip, timeline, [0], 10**8))).image)
    one, other = frames
    one.save(folder / "one.png")
    both = np.concatenate([np.asarray(each.resize(one.size)) for each in (one, other)], axis=1)
    Image.fromarray(both).save(folder / "two.jpg")
    Image.new("RGB", one.size, "grey").save(folder / "none.png")
    one.resize((one.width // 3, one.height // 3)).save(folder / "small.png")
    return folder
