"""Predictions, pictures and settings, small enough to be explained in a moment."""

import numpy as np
import pandas as pd
from PIL import Image

from deepfake_detection.images.region_statistics import MeasuredPicture
from deepfake_detection.parameters import EvaluationParameters, ExplanationParameters

MEASURES = [
    (region, measure)
    for region in ("picture", "eyes", "mouth")
    for measure in ("brightness", "contrast", "sharpness")
]


def make_explanation(**changes):
    settings = {
        "false_cases": 2, "examples": 2, "smallest_grid": 4, "fewest_groups": 3,
        "regions": {
            "eyes": {"left": 0.0, "top": 0.25, "right": 1.0, "bottom": 0.5},
            "mouth": {"left": 0.25, "top": 0.5, "right": 0.75, "bottom": 1.0},
        },
    }  # fmt: skip
    return ExplanationParameters.model_validate(settings | changes)


EVALUATION = EvaluationParameters(
    batch_size=4, confidence=0.95, calibration_bins=5, few_groups=2, label_issues=5, device="cpu"
)


def make_predictions(rows, subset="test", images_of_source=1):
    """From (path, label, logit), at the threshold 0.5."""
    table = pd.DataFrame(rows, columns=["path", "label", "logit"])
    table["class_name"] = table["path"].str.rsplit("/", n=1).str[0]
    table["source"] = [
        f"{name}/{number // images_of_source}" for number, name in enumerate(table["class_name"])
    ]
    table["group"], table["subset"] = table["source"], subset
    table["fake_probability"] = 1 / (1 + np.exp(-table["logit"]))
    table["predicted"] = (table["logit"] >= 0).astype("int64")
    table["run_fingerprint"] = "cd" * 32  # of `build_detector`
    return table


def put_pictures(folder, paths, size=(60, 40), **options):
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / path, **options)


def measured(values, size=299):
    return MeasuredPicture((size, size), dict.fromkeys(MEASURES, 0.5) | values)
