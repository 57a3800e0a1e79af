"""By which number of the validation subset an epoch is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from deepfake_detection.errors import UserError
from deepfake_detection.training.batches import LabelledPixels

Logits = np.ndarray[Any, np.dtype[np.float64]]
_RANKS = ("roc_auc", "source_roc_auc")


def check_selection(rule: str, validation: LabelledPixels) -> None:
    """Raise a UserError if a validation subset has no value of `training.select_by`."""
    if rule in _RANKS and len(validation) and len(validation.labels.unique()) < 2:
        raise UserError(
            f"parameter 'training.select_by': {rule} needs real and fake validation images, and "
            "there is one class alone. Set training.select_by=accuracy, or split.ratios"
        )


def measure(
    rule: str, loss: float, accuracy: float, logits: Logits | None, validation: LabelledPixels
) -> float:
    """The value of an epoch, higher is better; NaN without validation images.

    `logits` are fake minus real, float64, [n]. A source's score is the mean of its logits.
    """
    # a diverged network has no order
    if logits is None or not np.isfinite(logits).all() or rule == "accuracy":
        return accuracy
    if rule == "loss":
        return -loss
    labels = validation.labels.numpy()
    if rule == "source_roc_auc":
        table = pd.DataFrame({"source": validation.sources, "label": labels, "logit": logits})
        by_source = table.groupby(["source", "label"])["logit"].mean().reset_index()
        labels, logits = by_source["label"].to_numpy(), by_source["logit"].to_numpy()
    return float(roc_auc_score(labels, logits))
