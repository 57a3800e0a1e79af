"""Scores of detectors of known true metrics, on groups of five images that are much alike."""

import math

import numpy as np
import pandas as pd
from scipy.stats import norm

IMAGES = 5


def draw_detectors(generator, areas, groups=480, alike=0.5):
    """Predictions of a detector of each true ROC AUC on the same images; half of the groups fake.

    Scores are ±margin + noise of variance 1, half of it the group's. A part `alike` of the noise is
    shared by all detectors.
    """
    labels = np.repeat(np.arange(groups) % 2, IMAGES)
    table = pd.DataFrame(
        {
            "path": np.arange(len(labels)).astype(str), "subset": "test", "label": labels,
            "class_name": np.where(labels, "fake", "real"),
            "source": np.repeat(np.arange(groups), IMAGES).astype(str),
            "group": np.repeat(np.arange(groups), IMAGES),
        }
    )  # fmt: skip

    def noise():
        between = generator.normal(size=(groups, 1)).repeat(IMAGES, axis=1)
        return ((between + generator.normal(size=(groups, IMAGES))) / math.sqrt(2)).ravel()

    shared, tables = noise(), []
    for area in areas:
        own = math.sqrt(alike) * shared + math.sqrt(1 - alike) * noise()
        scores = own + margin_of(area) * np.where(labels, 1, -1)
        tables.append(table.assign(logit=2 * scores, predicted=(scores >= 0).astype("int64")))
    return tables


def margin_of(area):
    return float(norm.ppf(area)) / math.sqrt(2)


def truths_of(area):
    """Of a detector, by metric and class."""
    share = float(norm.cdf(margin_of(area)))
    shares = [("accuracy", None), ("recall", "fake"), ("recall", "real")]
    return {("roc_auc", None): area} | dict.fromkeys(shares, share)
