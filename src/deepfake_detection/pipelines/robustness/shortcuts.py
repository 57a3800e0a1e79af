"""What a detector's score owes to shortcuts: equalised copies, and strata of the worst property."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from deepfake_detection.images.distortions import Distortion
from deepfake_detection.images.equalising import equalise
from deepfake_detection.metrics.caveats import check_same_run
from deepfake_detection.metrics.intervals import area_interval, roc_auc_influence
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    EqualiseParameters,
    EvaluationParameters,
    RobustnessParameters,
    ShortcutParameters,
)
from deepfake_detection.pipelines.robustness.nodes import choose_images
from deepfake_detection.pipelines.robustness.renditions import score_renditions
from deepfake_detection.pipelines.robustness.table import measure_distortions
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

AS_THEY_ARE, EQUALISED, STRATA = "as they are", "equalised", "in strata"
# Values that are strata as they are; more are put into so many of about equal size
_MOST_STRATA = 10
_COLUMNS = [
    "run_fingerprint", "subset", "images", "property", "metric", "value", "low", "high", "n",
    "difference", "difference_low", "difference_high", "note",
]  # fmt: skip


@dataclass(frozen=True)
class _Equalised(Distortion):
    """The equalised copy in place of a distorted picture."""

    settings: EqualiseParameters

    @property
    def words(self) -> str:
        return EQUALISED

    def apply(self, image: Image.Image, key: str) -> Image.Image:  # noqa: ARG002
        return equalise(image, self.settings)


def score_shortcuts(
    detector: Detector,
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    training_images: Path,
    file_properties: pd.DataFrame,
    shortcut_summary: Mapping[str, Any],
    shortcuts: ShortcutParameters,
    robustness: RobustnessParameters,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score equalised copies of one subset, and its images in strata of the worst file property.

    A stratum holds images with the same value, or about the same, so that the property says little
    there. A score that falls in either was owed to what files say. The images are those of
    `robustness`; the strata hold those of them that were audited.

    Returns:
        A row for accuracy and ROC AUC of the images as they are and equalised, with the difference,
        paired by image; and for the mean ROC AUC of the strata, weighted by their pairs of a fake
        and a real image: run_fingerprint, subset, images, property, metric, value, low, high, n,
        difference, difference_low, difference_high, note.

    Raises:
        UserError: If the predictions are of another detector, or the subset was not scored.
    """
    card = detector.card
    check_same_run(card.run_fingerprint, predictions=predictions, metrics=metrics)
    scored = choose_images(predictions, robustness)
    subset, before = str(scored["subset"].iloc[0]), scored["logit"].to_numpy(dtype=np.float64)
    renditions, logits = [Distortion("none", 0.0)], before[:, None]
    kept, note = np.ones(len(scored), dtype=bool), None
    if (card.settings.get("data_preparation") or {}).get("equalise"):
        note = "trained and scored on equalised copies"
    else:
        copy = _Equalised(EQUALISED, 0.0, shortcuts.equalise)
        renditions.append(copy)
        paths = scored["path"].tolist()
        equalised, _, _ = score_renditions(
            detector, training_images, paths, [copy], robustness.seed, evaluation
        )
        # files that cannot be read any more; score_distorted warns of them
        logits, kept = np.hstack([logits, equalised]), ~np.isnan(equalised[:, 0])
    rows = scored[kept].reset_index(drop=True)
    unknown = np.full((len(rows), len(renditions)), math.nan)
    table = measure_distortions(
        rows, renditions, logits[kept], unknown, card, subset, evaluation.confidence
    )
    table = table[table["metric"].isin(["accuracy", "roc_auc"])].drop(columns="strength")
    table["images"] = table["distortion"].replace({"none": AS_THEY_ARE})
    table.loc[table["images"] == AS_THEY_ARE, "note"] = note
    strata = _measure_strata(scored, file_properties, shortcut_summary, evaluation.confidence)
    table = pd.concat([table, pd.DataFrame([{"subset": subset, **strata}])])
    table["run_fingerprint"] = card.run_fingerprint
    _log_scores(table)
    return table.reindex(columns=_COLUMNS).reset_index(drop=True)


def _measure_strata(
    scored: pd.DataFrame,
    properties: pd.DataFrame,
    summary: Mapping[str, Any],
    confidence: float,
) -> dict[str, Any]:
    """The mean ROC AUC of strata that hold both classes, with its interval between groups."""
    row: dict[str, Any] = {"images": STRATA, "metric": "roc_auc", "value": math.nan, "n": 0}
    if summary["worst"] is None:
        return row | {"note": "undefined: no property of the files differs between images"}
    name = str(summary["worst"]["property"])
    row["property"] = name
    audited = scored.merge(properties[["path", name]], on="path")
    if audited.empty:
        return row | {"note": "undefined: none of these images was audited"}
    strata = _name_strata(audited[name])
    both = audited.groupby(strata)["label"].transform("nunique") == 2
    if not both.any():
        return row | {"note": "undefined: no stratum holds both classes"}
    rows, places = audited[both].reset_index(drop=True), strata[both].to_numpy()
    labels, logits = rows["label"].to_numpy(np.int64), rows["logit"].to_numpy(np.float64)
    influence, total, pairs = np.zeros(len(rows)), 0.0, 0
    for stratum in np.unique(places):
        inside = places == stratum
        truth = labels[inside]
        of_stratum = int(truth.sum()) * int((1 - truth).sum())
        total += of_stratum * float(roc_auc_score(truth, logits[inside]))
        influence[inside] = of_stratum * roc_auc_influence(truth, logits[inside])
        pairs += of_stratum
    value = total / pairs
    low, high = area_interval(value, influence / pairs, rows["group"].to_numpy(), confidence)
    number = len(np.unique(places))
    row |= {"value": value, "low": low, "high": high, "n": len(rows)}
    return row | {"note": f"{counted(number, 'stratum', 'strata')} with both classes"}


def _name_strata(values: pd.Series) -> pd.Series:
    """A number for each row: of its value; of many numbers, of its part of the ordered rows."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _MOST_STRATA:
        values = pd.qcut(values, _MOST_STRATA, labels=False, duplicates="drop")
    return pd.Series(pd.factorize(values)[0], index=values.index)


def _log_scores(table: pd.DataFrame) -> None:
    areas = table[table["metric"] == "roc_auc"].to_dict("records")
    told = (
        f"{row['images']} {row['note']}"
        if math.isnan(row["value"])
        else f"{row['images']} {row['value']:.4f}"
        for row in areas
    )
    log.info("Shortcuts on %s: ROC AUC %s", table["subset"].iloc[0], ", ".join(told))
