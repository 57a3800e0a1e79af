"""How far to trust the score: the split, the leakage audit, the selection, the size."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.pipelines.reporting.headline import count_outcomes
from deepfake_detection.reports.document import render_statement
from deepfake_detection.reports.parts import Statement

_CROSS_CLASS = "cross-class near-duplicate"

# The name of a statement in the template, what it says, its tone: plain unless given, its section
_state = partial(render_statement, "deepfake_detection.pipelines.reporting", "trust.j2")


def weigh_trust(
    predictions: pd.DataFrame,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
    shortcut_summary: Mapping[str, Any],
    shortcut_scores: pd.DataFrame,
    levels: Mapping[str, str],
) -> list[Statement]:
    """What limits or supports the trust in the score, the warnings first."""
    statements = [
        _weigh_split(split_summary, levels),
        weigh_leaks(leakage_summary, split_summary),
        _weigh_shortcuts(shortcut_summary, shortcut_scores),
        _weigh_selection(predictions, description),
        _state("size", {**count_outcomes(predictions), "levels": levels}),
        _state("scope", {}),
    ]
    if left_out := split_summary.get("leave_out"):
        statements.append(_state("left_out", {**left_out, "levels": levels}))
    if shared := split_summary.get("shared_source_numbers"):
        statements.append(_state("shared_numbers", shared, "warning"))
    if description["split"]["fingerprint"] != split_summary["fingerprint"]:
        statements.append(_state("other_split", description["split"], "warning"))
    return sorted(statements, key=lambda statement: statement.tone != "warning")


def _weigh_split(split_summary: Mapping[str, Any], levels: Mapping[str, str]) -> Statement:
    has_test = sum(split_summary["images"].get("test", {}).values()) > 0
    facts = {
        "shared": split_summary["groups_in_more_than_one_subset"],
        "has_test": has_test,
        "levels": levels,
    }
    if split_summary["method"] == "individual":
        return _state("split_individual", facts, "warning")
    if split_summary["method"] == "official":
        named = "split_official_shared" if facts["shared"] else "split_official"
        return _state(named, facts, "warning" if facts["shared"] else "plain")
    if facts["shared"]:
        return _state("split_shared", facts, "warning")
    return _state("split_by_group", facts)


def _weigh_shortcuts(
    shortcut_summary: Mapping[str, Any], shortcut_scores: pd.DataFrame
) -> Statement:
    """What files and simple statistics of pixels tell, and what the detector owes to it.

    A warning if a property of files clearly tells the classes apart. The scores are those of
    `score_shortcuts`, none if they are of another run.
    """
    areas = shortcut_scores[shortcut_scores["metric"] == "roc_auc"]
    scores = {row["images"].replace(" ", "_"): row for row in areas.to_dict("records")}
    facts = {**shortcut_summary, "scores": scores}
    if shortcut_summary["warnings"]:
        return _state("shortcuts_found", facts, "warning", "data")
    return _state("shortcuts_none", facts, "plain", "data")


def _weigh_selection(predictions: pd.DataFrame, description: Mapping[str, Any]) -> Statement:
    subsets = scored_subsets(predictions)
    facts = {"chosen": choices_on_validation(description.get("calibration", {}))}
    if "test" in subsets:
        return _state("selection_not_test", facts)
    if subsets and "validation" not in subsets:
        return _state("selection_elsewhere", {**facts, "subset": subsets[0]})
    return _state("selection_on_validation", facts, "warning")


def weigh_leaks(leakage_summary: Mapping[str, Any], split_summary: Mapping[str, Any]) -> Statement:
    """How many pictures have a copy or near-copy in another subset; a warning if there are any.

    `found` in the leakage summary is {kind: {"train and test": {pairs, images}}}, images being
    those of the later subset.
    """
    if leakage_summary["split_fingerprint"] != split_summary["fingerprint"]:
        return _state("leaks_unknown", {}, "warning", "data")
    # two labels can also be given to a file within one subset: "train and train"
    found = {
        kind: [(*name.split(" and "), counts["images"]) for name, counts in places.items()]
        for kind, places in leakage_summary["found"].items()
        if places
    }
    facts = {**leakage_summary, "found": found, "only_cross_class": set(found) == {_CROSS_CLASS}}
    if found:
        return _state("leaks_found", facts, "warning", "data")
    return _state("leaks_none", facts, "plain", "data")
