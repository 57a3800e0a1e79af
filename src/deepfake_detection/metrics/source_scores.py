"""The score of a source out of those of its images: of a video, out of its frames."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, log_expit
from sklearn.metrics import roc_auc_score

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import SourceScoreParameters

log = logging.getLogger(__name__)

# The first of equally good ones is chosen
RULES = ("mean_logit", "mean_probability", "top_share")
# One video faked in two ways is two sources
_KEYS = ["subset", "class_name", "label", "source"]
# Behind the name of a video: one of its face tracks (`face_extraction.tracks: all`)
_TRACK = r"#track_\d+$"


@dataclass(frozen=True)
class SourceScore:
    """How the images of a source give its score.

    Attributes:
        rule: One of `RULES`.
        top_share: Of a source's images, in (0, 1]: those with the highest logits, for that rule.
        areas: ROC AUC of each rule on validation, by source, if it chose among them.
    """

    rule: str = RULES[0]
    top_share: float = 1.0
    areas: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, calibration: Mapping[str, Any]) -> "SourceScore":
        """That of a detector's card; the mean logit for a card of an older version."""
        kept = calibration.get("source_score", {"rule": RULES[0]})
        return cls(kept["rule"], kept.get("top_share", 1.0), kept.get("areas", {}))

    def as_json(self) -> dict[str, Any]:
        """What a detector's card holds of it."""
        share = {"top_share": self.top_share} if self.rule == "top_share" else {}
        return {"rule": self.rule, **share, **({"areas": dict(self.areas)} if self.areas else {})}

    def in_words(self, image: str = "image") -> str:
        """What the score of a source is."""
        top = f"{100 * self.top_share:g} % highest logits"
        return {
            "mean_logit": f"the mean logit of its {image}s",
            "mean_probability": f"the mean fake probability of its {image}s",
            "top_share": f"the mean of the {top} of its {image}s",
        }[self.rule]

    @property
    def comparison(self) -> str:
        """Each rule with its ROC AUC on validation; empty where validation did not choose."""
        areas = ((rule, self.areas[rule]) for rule in RULES if rule in self.areas)
        return ", ".join(f"{rule.replace('_', ' ')} {area:.4f}" for rule, area in areas)

    def combine(self, logits: pd.Series, sources: pd.Series, temperature: float) -> pd.Series:
        """The logit of each source, before the temperature, in the order of their first images.

        `logits` and `sources` have a row for each image; the result is indexed by source.
        """
        by_source = logits.groupby(sources, sort=False)
        if self.rule == "mean_probability":
            fake, real = (
                _log_mean(log_expit(sign * logits / temperature), sources) for sign in (1, -1)
            )
            return temperature * (fake - real)
        if self.rule == "top_share":
            # 0.1 * 30 is a little above 3
            taken = np.ceil(self.top_share * by_source.transform("size") - 1e-9).clip(lower=1)
            logits = logits.where(by_source.rank(method="first", ascending=False) <= taken)
            by_source = logits.groupby(sources, sort=False)
        return by_source.mean()


def _log_mean(logarithms: pd.Series, sources: pd.Series) -> pd.Series:
    """Logarithm of the mean of each source, finite however small the values are."""
    by_source = logarithms.groupby(sources, sort=False)
    relative = (logarithms - by_source.transform("max")).apply(np.exp)
    return by_source.max() + np.log(relative.groupby(sources, sort=False).mean())


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
    return sources.assign(
        fake_probability=probability, predicted=(probability >= threshold).astype("int64")
    )


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
