"""Tables and pictures such as a small run leaves behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

RUN = "c0ffee" * 10
SPLIT = "5eed" * 16


class DescribedDetector:
    def __init__(self, description: dict[str, Any]):
        self.description = description

    def describe(self) -> dict[str, Any]:
        return self.description


def predict(subset: str, rows: list[tuple[str, int, float]], sources_of: int = 5) -> pd.DataFrame:
    """Predictions from (path, label, logit), at the threshold 0.5."""
    table = pd.DataFrame(rows, columns=["path", "label", "logit"])
    table["class_name"] = table["path"].str.rsplit("/", n=1).str[0]
    table["source"] = [f"{name}/{i // sources_of}" for i, name in enumerate(table["class_name"])]
    table["group"] = table["source"]
    table["subset"] = subset
    table["fake_probability"] = 1 / (1 + np.exp(-table["logit"]))
    table["predicted"] = (table["logit"] >= 0).astype("int64")
    return table


def predict_at_random(subset: str, images: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = ["real", "fake_deepfake", "fake_face2face"]
    rows = []
    for i in range(images):
        label = int(i % 3 > 0)
        logit = generator.normal(1.2 if label else -1.2, 1.2)
        rows.append((f"{names[i % 3]}/{i}.png", label, float(logit)))
    return predict(subset, rows)


def measure(predictions: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for subset, part in predictions.groupby("subset", sort=False):
        note = "validation also chose the epoch" if subset == "validation" else None
        right = part["label"] == part["predicted"]
        fakes = part["label"] == 1
        for level in ("image", "source"):
            same = {"subset": subset, "level": level, "note": note}
            rows += [
                {**same, "metric": "accuracy", "value": right.mean(), "n": len(part)},
                {**same, "metric": "roc_auc", "value": np.nan, "n": len(part), "note": "one class"},
                {**same, "metric": "missed_fakes", "value": (fakes & ~right).sum(), "n": 2},
            ]
            rows += [
                {**same, "metric": "recall", "class_name": name, "value": right[of].mean(), "n": 3}
                for name, of in (("fake", fakes), ("real", ~fakes))
            ]
            rows += [
                {**same, "metric": "recall_of_kind", "class_name": kind, "value": 0.5, "n": len(of)}
                for kind, of in part[fakes].groupby("class_name")
            ]
    return pd.DataFrame(rows)


def trained_for(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "learning_rate": 1e-4,
            "head_learning_rate": 1e-3,
            "train_loss": 0.7 / epoch,
            "train_accuracy": 1 - 0.4 / epoch,
            "validation_loss": 0.7 / epoch + 0.05,
            "validation_accuracy": 0.9 - 0.3 / epoch,
            "seconds": 12.5,
            "images_per_second": 480.0,
        }
    )


def put_pictures(folder: Path, paths: list[str]) -> None:
    for i, path in enumerate(paths):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (i * 40 % 256, 120, 90)).save(file)
