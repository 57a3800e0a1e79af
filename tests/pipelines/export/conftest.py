"""A detector that was exported once, for all tests that look at the result."""

import pytest
from export_samples import EXPORT, Exported, make_lively_detector, put_pictures

from deepfake_detection.pipelines.export.nodes import export_detector


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """squeezenet1_1 has the fewest operators of all light networks, so that this takes seconds."""
    model = "squeezenet1_1"
    detector = make_lively_detector(
        model, 32, threshold=0.3, split={"fingerprint": "ab" * 32, "method": "group", "note": "<n>"}
    )
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
