"""Whose a score is, and what it must be read with."""

from collections.abc import Mapping
from typing import Any

from deepfake_detection.errors import UserError

EXTERNAL = "external"


def check_run(run_fingerprint: str, metrics: Mapping[str, Any]) -> None:
    """Make sure that metrics, and the predictions behind them, are of a detector's run.

    Args:
        run_fingerprint: Of the detector.
        metrics: What the evaluation found, with the `run_fingerprint` of the detector it scored.

    Raises:
        UserError: If they are of another.
    """
    scored = metrics["run_fingerprint"]
    if scored != run_fingerprint:
        raise UserError(
            f"the predictions and metrics are of another detector (run {scored[:12]}) than the one "
            f"loaded (run {run_fingerprint[:12]}). Run kedro run --pipelines evaluation again "
            "first."
        )


def explain_subset(subset: str, method: str, chosen: str) -> str | None:
    """What a score on this subset must be read with; None for nothing.

    Args:
        subset: Its name.
        method: Of the split.
        chosen: What validation chose, such as `the epoch and the threshold`.
    """
    notes = []
    if subset == "validation":
        notes.append(f"validation also chose {chosen}")
    if subset != EXTERNAL and method == "individual":
        notes.append("inflated: neighbours of these images were trained on")
    return "; ".join(notes) or None
