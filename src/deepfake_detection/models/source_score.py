"""The score of a source out of those of its images: of a video, out of its frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_expit

# The first of equally good ones is chosen
RULES = ("mean_logit", "mean_probability", "top_share")


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
