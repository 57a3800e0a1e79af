"""Parameters of face extraction, as in the parameter files but small, and videos of drawn faces."""

from functools import cache
from pathlib import Path

import numpy as np
import yaml
from detector_samples import build_detector, make_sensitive_detector
from PIL import Image

from deepfake_detection.datasets.filming import write_videos
from deepfake_detection.faces import video
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
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


def with_recipe(settings):
    """A detector that was trained on crops of these settings, and its face detector."""
    faces = make_face_detector(settings)
    recipe = CropRecipe.of(settings, settings.crop, faces.weights_sha256)
    sensitive = make_sensitive_detector()
    made = build_detector(split=sensitive.card.split | {"crop_recipe": recipe.model_dump()})
    made.network.load_state_dict(sensitive.network.state_dict())
    return made, faces


def first_frame(path):
    """The first frame of a video, as a picture."""
    timeline = video.read_timeline(path, 10**8)
    return next(iter(video.read_frames(path, timeline, [0], 10**8))).image


def beside(*pictures):
    """Pictures of one height beside each other."""
    return Image.fromarray(np.concatenate([np.asarray(each) for each in pictures], axis=1))
