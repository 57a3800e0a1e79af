"""What results belong together, and what a score must be read with."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_card import UNKNOWN_METHOD
from deepfake_detection.models.source_score import SourceScore

EXTERNAL = "external"
_UNKNOWN = "the detector's training images are unknown: these may be among them"

# The pipelines that make an entry, where it is not evaluation
_MADE_BY = {"training_history": "training", "validation_logits": "training"}


def check_same_run(run_fingerprint: str, **results: Mapping[str, Any] | pd.DataFrame) -> None:
    """Check that results, by the name of their catalog entry, are of the run of a detector.

    Each has an item or a column `run_fingerprint`. With `metrics` among them, tables are whole too.

    Raises:
        UserError: Naming the first that is of another run, does not name it, or has other rows.
    """
    for name, result in results.items():
        named = result.get("run_fingerprint", "")
        runs = {named} if isinstance(named, str) else set(named)
        if runs <= {run_fingerprint}:
            continue
        other = str(min(runs))[:12]
        found = f"run {other}" if other else "an older version, which does not name it"
        raise UserError(
            f"'{name}' is of another run ({found}) than the detector ({run_fingerprint[:12]}). "
            f"Make it again: kedro run --pipelines {_MADE_BY.get(name, 'evaluation')}, or pick "
            "versions that belong together with --load-versions"
        )
    if (metrics := results.pop("metrics", None)) is not None:
        check_rows(metrics, **results)


def check_rows(metrics: Mapping[str, Any] | pd.DataFrame, **tables: Any) -> None:
    """Raise a `UserError` if a table has more or fewer rows than when its metrics were taken.

    Metrics of an older version don't say how many there were: their tables pass.
    """
    for name, wanted in metrics.get("rows", {}).items():
        if name in tables and len(tables[name]) != wanted:
            raise UserError(
                f"'{name}' has {len(tables[name])} rows, and had {wanted} when 'metrics' were "
                "taken: they don't belong together. Run kedro run --pipelines evaluation again, or "
                "pick versions that belong together with --load-versions"
            )


def check_same_calibration(description: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a detector was calibrated again since its metrics were taken."""
    threshold, temperature = description["threshold"], description["temperature"]
    rule, before = SourceScore.of(description.get("calibration", {})), SourceScore.of(metrics)
    if rule.as_json() != before.as_json():
        then, now = (
            f"{each.rule}, {'chosen on validation' if each.areas else 'set'}"
            for each in (before, rule)
        )
        raise UserError(
            f"'metrics' were taken with another source score ({then}) than the detector has now "
            f"({now}): it was calibrated again. Run kedro run --pipelines evaluation first"
        )
    if (metrics["threshold"], metrics["temperature"]) != (threshold, temperature):
        raise UserError(
            f"'metrics' were taken at threshold {metrics['threshold']:g} and temperature "
            f"{metrics['temperature']:g}, and the detector has {threshold:g} and {temperature:g}: "
            "it was calibrated again. Run kedro run --pipelines evaluation first"
        )


def explain_subset(subset: str, method: str, chosen: str) -> str | None:
    """What a score on this subset must be read with; None for nothing.

    `method` is that of the split, and `chosen` as `choices_on_validation`.
    """
    also = f"validation also chose {chosen}" if subset == "validation" and chosen else None
    if method == UNKNOWN_METHOD:
        return join_notes(also, _UNKNOWN)
    if subset != EXTERNAL and method == "individual":
        return join_notes(also, "inflated: neighbours of these images were trained on")
    return also


def join_notes(*notes: str | None) -> str | None:
    """Those that there are, in one; None for none."""
    return "; ".join(note for note in notes if note) or None
