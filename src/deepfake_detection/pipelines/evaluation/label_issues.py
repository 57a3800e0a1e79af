"""Label issues: images whose own label has a low predicted probability."""

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detection.metrics.source_scores import number_sources
from deepfake_detection.models.source_score import SourceScore

_COLUMNS = [
    "subset", "path", "class_name", "label", "source", "group",
    "label_probability", "source_label_probability",
]  # fmt: skip


def rank_label_issues(
    predictions: pd.DataFrame, temperature: float, most: int, score: SourceScore
) -> pd.DataFrame:
    """The scored images whose own label has the lowest probability, the lowest first.

    The ranking by self-confidence of confident learning (Northcutt et al. 2021), over predictions
    of a detector that did not train on them. If all images of a source are listed, they
    were probably put into the wrong folder together; if only one is, look at that image.

    Returns:
        At most `most` rows with a label_probability below 0.5: subset, path, class_name, label,
        source, group, label_probability (of the label that the image has) and
        source_label_probability (the same of its source), both in [0, 1].
    """
    sign = np.where(predictions["label"] == 1, 1, -1)
    margin = sign * predictions["logit"] / temperature
    sources = number_sources(predictions)
    of_source = score.combine(predictions["logit"], sources, temperature) / temperature
    # over logits, since probabilities very near 0 would tie
    rows = predictions.assign(
        label_probability=expit(margin),
        source_label_probability=expit(sign * sources.map(of_source)),
        margin=margin,
    )
    issues = rows[rows["margin"] < 0].sort_values(["margin", "path"]).head(most)
    return issues[_COLUMNS].reset_index(drop=True)
