"""Images whose own label has a low predicted probability."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.pipelines.evaluation.label_issues import rank_label_issues


def _predictions(labels, logits):
    number = np.arange(len(labels))
    return pd.DataFrame(
        {
            "path": [f"{each}.png" for each in number], "label": labels, "logit": logits,
            "class_name": np.where(labels, "fake", "real"), "source": number // 2,
            "group": number // 2, "subset": "test",
        }
    )  # fmt: skip


def test_images_put_into_the_wrong_folder_are_found_first():
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1] * 50, 2)
    wrong = generator.choice(200, 10, replace=False)
    labels = truth.copy()
    labels[wrong] = 1 - labels[wrong]
    logits = 4 * (2.0 * truth - 1) + generator.normal(size=200)
    table = rank_label_issues(_predictions(labels, logits), 1.0, 10, SourceScore())
    assert {int(path.removesuffix(".png")) for path in table["path"]} == set(wrong)
    assert table["label_probability"].is_monotonic_increasing


def test_only_label_issues_are_listed_and_at_most_so_many():
    predictions = _predictions([1, 1, 0, 0, 0, 0], [-9.0, 3, 4, -5, 900, 800])
    table = rank_label_issues(predictions, 2.0, 20, SourceScore())
    # of scores too far out to differ as probabilities, too, the higher comes first
    assert table["path"].tolist() == ["4.png", "5.png", "0.png", "2.png"]
    assert table["label_probability"].iloc[2] == pytest.approx(expit(-4.5))
    assert table["source_label_probability"].iloc[2] == pytest.approx(expit(-1.5))
    assert len(rank_label_issues(predictions, 2.0, 2, SourceScore())) == 2
    nothing = rank_label_issues(_predictions([1, 0], [2.0, -2.0]), 2.0, 20, SourceScore())
    assert nothing.empty
    assert list(nothing.columns) == list(table.columns)
