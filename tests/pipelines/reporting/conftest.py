from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reporting_samples import RUN, SPLIT, measure, predict_at_random, put_pictures, trained_for

from deepfake_detection.parameters import ReportingParameters


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """All that `write_report` takes; any of it can be given."""

    def build(predictions: pd.DataFrame | None = None, **changed: Any) -> dict[str, Any]:
        if predictions is None:
            predictions = predict_at_random("test", 60)
        put_pictures(tmp_path, [path for path in predictions["path"] if path[-4:] == ".png"])
        names = sorted(set(predictions["class_name"]))
        subsets = ["train", *predictions["subset"].unique()]
        split_summary = {
            "method": "group",
            "ratios": {"train": 0.8, "validation": 0.2, "test": 0.0},
            "seed": 7,
            "images": {subset: dict.fromkeys(names, 20) for subset in subsets},
            "groups": dict.fromkeys(subsets, 4),
            "groups_in_more_than_one_subset": 0,
            "fingerprint": SPLIT,
            "note": None,
        }
        description = {
            "backbone": "resnet18",
            "preprocessing": {"resize": 256, "crop": 224, "mean": [0.485], "std": [0.229]},
            "class_names": ["real", "fake"],
            "classes": {name: "real" if name == "real" else "fake" for name in names},
            "threshold": 0.5,
            "temperature": 1.0,
            "best_epoch": 3,
            "best_validation_accuracy": 0.8,
            "split": split_summary,
            "settings": {"model": "resnet18", "training": {"optimizer": {"betas": [0.9, 0.999]}}},
            "run_fingerprint": RUN,
            "versions": {"python": "3.11.9", "torch": "2.15.0"},
        }
        return {
            "description": description,
            "split_summary": split_summary,
            "rejected_images": pd.DataFrame({"path": [], "reason": []}),
            "training_history": trained_for(4),
            "predictions": predictions,
            "metric_table": measure(predictions),
            "folder": tmp_path,
            "parameters": ReportingParameters(gallery_size=24, gallery_columns=6),
            **changed,
        }

    return build
