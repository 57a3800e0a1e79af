"""Parameters of face extraction, as in the parameter files but small, and videos of drawn faces."""

from functools import cache
from pathlib import Path

import yaml

from deepfake_detection.datasets.filming import write_videos
from deepfake_detection.parameters import FaceExtractionParameters, ImageSetParameters

_CONF = Path(__file__).parents[1] / "conf" / "base"


@cache
def _read(name):
    return yaml.safe_load((_CONF / f"parameters_{name}.yml").read_text())[name]


def face_settings(**changes):
    """The block `face_extraction`, for small videos."""
    small = {"frames_per_video": 4, "detection_size": 320, "min_score": 0.3, "processes": 1}
    return FaceExtractionParameters.model_validate(_read("face_extraction") | small | changes)


def image_set(**changes):
    """The block `data_preparation`."""
    return ImageSetParameters.model_validate(_read("data_preparation") | changes)


def draw_videos(folder, sources=4, frames=8):
    """Videos of drawn faces in FaceForensics++'s layout."""
    folder.mkdir(parents=True, exist_ok=True)
    write_videos(folder, sources=sources, frames=frames, size=160, seed=0)
    return folder
