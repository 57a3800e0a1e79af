"""Tables of scores by source, and the choice of the rule of a source's score."""

import logging

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from deepfake_detection.errors import UserError
from deepfake_detection.models.source_score import RULES, SourceScore
from deepfake_detection.parameters import SourceScoreParameters

log = logging.getLogger(__name__)

# One video faked in two ways is two sources
_KEYS = ["subset", "class_name", "label", "source"]
# Behind the name of a video: one of its face tracks (`face_extraction.tracks: all`)
_TRACK = r"#track_\d+$"


def number_sources(predictions: pd.DataFrame) -> pd.Series:
    """The number of each image's source, from 0 in the order of their first images."""
    keys = [name for name in _KEYS if name in predictions]
    return predictions.groupby(keys, sort=False).ngroup()


def score_sources(
    predictions: pd.DataFrame, threshold: float, temperature: float, score: SourceScore
) -> pd.DataFrame:
    """One row for each source and subset: its logit, and what follows from it.

    Face tracks of one video are one row: it is fake if one of them is, and has their highest logit.

    Columns: subset, class_name, label, source, logit, group, fake_probability, predicted.
    """
    grouped = predictions.groupby(_KEYS, sort=False, as_index=False)
    # a pattern may put images of one source into several groups; the first then stands for it
    sources = grouped.agg(group=("group", "first"))
    logits = score.combine(predictions["logit"], number_sources(predictions), temperature)
    sources.insert(len(_KEYS), "logit", logits.to_numpy())
    sources = _join_tracks(sources)
    probability = expit(sources["logit"] / temperature)
    predicted = (probability >= threshold).astype("int64")
    # scores without a known scale
    if "predicted" in predictions and predictions["predicted"].isna().any():
        probability, predicted = np.nan, np.nan
    return sources.assign(fake_probability=probability, predicted=predicted)


def _join_tracks(sources: pd.DataFrame) -> pd.DataFrame:
    names = sources["source"].str.replace(_TRACK, "", regex=True)
    if names.equals(sources["source"]):
        return sources
    videos = sources.assign(source=names)
    videos["logit"] = videos.groupby(["subset", "source"])["logit"].transform("max")
    by_label = videos.sort_values("label", ascending=False, kind="stable")
    return by_label.drop_duplicates(["subset", "source"]).sort_index().reset_index(drop=True)


def choose_source_score(
    validation: pd.DataFrame, temperature: float, parameters: SourceScoreParameters
) -> SourceScore:
    """The rule that is set, or the one with the highest ROC AUC by source on validation.

    There is a row for each validation image: class_name, label, source, logit.

    Raises:
        UserError: If validation has to choose and cannot.
    """
    share = parameters.top_share
    if parameters.rule != "validation":
        return SourceScore(parameters.rule, share)
    asked = "parameter 'calibration.source_score.rule' is validation, and"
    if "source" not in validation:
        raise UserError(
            f"{asked} the validation logits of this run, from an older version, do not name the "
            f"sources: set one of {', '.join(RULES)}, or train again"
        )
    if validation["label"].nunique() < 2:
        held = "no image" if validation.empty else "images of one class only"
        raise UserError(
            f"{asked} the validation subset holds {held}: set one of {', '.join(RULES)}, or "
            "change the split"
        )
    by_group = validation.assign(subset="validation", group=validation["source"])
    areas = {}
    for rule in RULES:
        scored = score_sources(by_group, 0.5, temperature, SourceScore(rule, share))
        areas[rule] = float(roc_auc_score(scored["label"], scored["logit"]))
    chosen = SourceScore(max(RULES, key=areas.__getitem__), share, areas)
    log.info(
        "The score of a source is %s, by the ROC AUC on validation, by source: %s",
        chosen.in_words(), chosen.comparison,
    )  # fmt: skip
    return chosen
