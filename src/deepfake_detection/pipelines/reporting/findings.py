"""Findings: what a reader should know first, each told only where an interval or a rule allows it.

They come from the tables alone. Their weight, by which they are ordered, is about the share of the
images of the headline subset that they concern, the mean of both classes; a leak comes first, since
it puts the score itself in doubt.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepfake_detection.images.split_summary import SUBSETS
from deepfake_detection.metrics.cases import FALSE_KINDS, label_of
from deepfake_detection.metrics.intervals import Floats, difference_interval, share_influence
from deepfake_detection.metrics.metrics import bin_reliability
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.reports.words import counted, listed, name_levels, rounded_percent

log = logging.getLogger(__name__)

# Errors are concentrated where the fewest groups with this share of them are at most a third of all
# groups of their class, and chance alone would concentrate them so in fewer than 5 % of cases
_MOST_ERRORS, _FEW_GROUPS, _FEWEST_ERRORS = 0.75, 1 / 3, 3
_PERMUTATIONS, _BY_CHANCE = 1000, 0.05
_NAMED_GROUPS = 3
# A label is to be looked at if neither the image nor its whole source makes it as probable as this
_IMPROBABLE = 0.05
# Distance of a bin's mean probability from its share of fakes that is worth a word
_OFF = 0.05
_WEIGHT_OF_LEAK = 1.0
# Fall of the mean of both recalls that is worth a word
_LEAST_LOSS = 0.01


@dataclass(frozen=True)
class Finding:
    """A finding: its number, what it says, what to do next, and the section that shows it."""

    kind: Literal[
        "leak",
        "shortcut",
        "distortion",
        "errors by group",
        "kind of fake",
        "trait",
        "labels",
        "calibration",
    ]
    weight: float
    number: str
    text: str
    advice: str
    section: str


@dataclass(frozen=True)
class _Tables:
    """What findings are made of; `subset` is the headline one, and `scored` its images."""

    subset: str
    scored: pd.DataFrame
    predictions: pd.DataFrame
    robustness: pd.DataFrame
    measures: pd.DataFrame
    label_issues: pd.DataFrame
    leaks: Mapping[str, Any]
    shortcuts: Mapping[str, Any]
    split: Mapping[str, Any]
    confidence: float
    image: str
    source: str


def find_findings(
    *,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
    shortcut_summary: Mapping[str, Any],
    predictions: pd.DataFrame,
    label_issues: pd.DataFrame,
    robustness_table: pd.DataFrame,
    false_case_measures: pd.DataFrame,
    evaluation: EvaluationParameters,
) -> dict[str, Any]:
    """All findings on the headline subset, the weightiest first, as JSON.

    Tables of another run, and leaks of another split, say nothing.

    Returns:
        run_fingerprint, subset, and findings: see `Finding`.
    """
    subset, scored = headline_predictions(predictions)
    run, levels = description["run_fingerprint"], name_levels(description["split"].get("medium"))
    tables = _Tables(
        subset, scored, predictions, of_run(robustness_table, run),
        of_run(false_case_measures, run), label_issues, leakage_summary, shortcut_summary,
        split_summary, evaluation.confidence, levels["image"], levels["source"],
    )  # fmt: skip
    found = [finding for find in _FINDERS for finding in find(tables)] if len(scored) else []
    found.sort(key=lambda finding: -finding.weight)
    for finding in found:
        log.info("Stands out on %s: %s", subset, finding.text)
    return {"run_fingerprint": run, "subset": subset, "findings": [asdict(each) for each in found]}


def of_run(table: pd.DataFrame, run_fingerprint: str) -> pd.DataFrame:
    """No rows of a table that is of another run."""
    named = set(table["run_fingerprint"].astype(str))
    return table if named == {run_fingerprint} else table.head(0)


def _find_leak(tables: _Tables) -> Iterator[Finding]:
    """Images of the subset that stand, or whose groups stand, in training too."""
    shared, audit = tables.split["groups_in_more_than_one_subset"], tables.leaks
    places = audit["found"].values() if _is_of_split(audit, tables.split) else ()
    copies = sum(each.get(f"train and {tables.subset}", {}).get("images", 0) for each in places)
    copies = min(copies, len(tables.scored))
    if not copies and not shared:
        return
    if copies:
        number = counted(copies, "copy", "copies")
        text = (
            f"{counted(copies, tables.image)} of {tables.subset} "
            f"{'has a copy or near-copy' if copies == 1 else 'have copies or near-copies'} "
            "in training. Their scores say less."
        )
        advice = "Take the copies out, and train again."
    else:
        number = counted(shared, "group")
        text = (
            f"{counted(shared, 'group')} {'is' if shared == 1 else 'are'} in more than one subset, "
            "so the score is too high for new ones."
        )
        advice = "Split by group, and train again."
    share = copies / len(tables.scored)
    yield Finding("leak", _WEIGHT_OF_LEAK + share, number, text, advice, "data")


def _is_of_split(audit: Mapping[str, Any], split: Mapping[str, Any]) -> bool:
    return bool(audit["split_fingerprint"] == split["fingerprint"])


def _find_shortcut(tables: _Tables) -> Iterator[Finding]:
    """The property of files that tells the classes apart best, if the audit warns of any."""
    audit = tables.shortcuts
    if not audit["warnings"]:
        return
    worst = audit["worst"] if audit["worst"]["warns"] else audit["files"]
    name = worst["property"].replace("_", " ")
    yield Finding(
        # as much as a leak where it tells all
        "shortcut", 2 * (worst["auc"] - 0.5) * _WEIGHT_OF_LEAK, f"{name}: AUC {worst['auc']:.2f}",
        f"Files tell real from fake without faces: {name} alone has an AUC of "
        f"{worst['auc']:.2f} ({worst['low']:.2f} to {worst['high']:.2f}). "
        "A detector may learn that.",
        "Set data_preparation.equalise, and train again.", "data",
    )  # fmt: skip


def _find_distortion(tables: _Tables) -> Iterator[Finding]:
    """The distortion that costs most, by the mean change of both recalls."""
    table = tables.robustness[tables.robustness["metric"] == "recall"]
    # older tables have no corrected interval
    table = table.reindex(columns=table.columns.union(["corrected_high"]))
    tried = table[table["distortion"] != "none"]
    sure = tried[tried["corrected_high"] < 0]
    costs = tried.groupby("strength_name", sort=False)["difference"].mean()
    told_ones = costs[costs.index.isin(sure["strength_name"]) & (costs < -_LEAST_LOSS)]
    if told_ones.empty:
        return
    worst = str(told_ones.idxmin())
    after, before = (
        rows.set_index("class_name")["value"].dropna()
        for rows in (table[table["strength_name"] == worst], table[table["distortion"] == "none"])
    )
    names = {"real": "specificity", "fake": "recall"}
    told = {
        label: f"{rounded_percent(before[label])} to {rounded_percent(after[label])}"
        for label in names
        if label in after and label in before
    }
    of_all = counted(len(costs), "distortion")
    most = f" Of {of_all}, it costs most." if worst == costs.idxmin() else ""
    lowered = sure.loc[sure["strength_name"] == worst, "class_name"]
    lost = min(lowered, key=lambda label: after[label] - before[label])
    other = next(
        (f"; {names[label]} goes from {told[label]}" for label in told if label != lost), ""
    )
    yield Finding(
        "distortion", -float(costs[worst]),
        f"{worst}: {names[lost]} {told[lost].replace(' to ', ' → ')}",
        f"{worst[:1].upper()}{worst[1:]} lowers {names[lost]} from {told[lost]}{other}.{most}",
        "Do not trust the score of such pictures, or train on such (training.augmentation).",
        "robustness",
    )  # fmt: skip


def _find_errors_by_group(tables: _Tables) -> Iterator[Finding]:
    """Errors that few groups cause."""
    unit = name_unit(tables.scored, tables.source)
    told: list[tuple[float, str, str]] = []
    for kind in FALSE_KINDS:
        of_class = tables.scored[tables.scored["label"] == label_of(kind)]
        wrong = (of_class["predicted"] != of_class["label"]).to_numpy()
        groups, codes = np.unique(of_class["group"].astype(str), return_inverse=True)
        errors, total = np.bincount(codes[wrong], minlength=len(groups)), int(wrong.sum())
        order = np.argsort(-errors, kind="stable")
        most = int(np.searchsorted(errors[order].cumsum(), _MOST_ERRORS * total)) + 1
        if total < _FEWEST_ERRORS or most > _FEW_GROUPS * len(groups):
            continue
        if _share_by_chance(wrong, codes) > _BY_CHANCE:
            continue
        held = int(errors[order[:most]].sum())
        names = [str(groups[at]) for at in order[: min(most, _NAMED_GROUPS)]]
        named = f"{listed(names)}{' and others' if most > len(names) else ''}"
        all_of = f"All {total:,}" if held == total else f"{held:,} of {total:,}"
        of_many = counted(len(groups), unit)
        text = f"{all_of} {kind}s are of {most:,} of {of_many} ({named})."
        number = f"{held:,} of {total:,} {kind}s in {counted(most, unit)}"
        told.append((held / len(of_class), text, number))
    if told:
        told.sort(key=lambda each: -each[0])
        weight, _, number = told[0]
        yield Finding(
            "errors by group", weight, number, " ".join(each[1] for each in told),
            "Look at these first; train on more that are like them.", "errors",
        )  # fmt: skip


def name_unit(scored: pd.DataFrame, source: str) -> str:
    """What pages call a group: what they call a source, where the two are the same."""
    pairs = scored[["class_name", "source", "group"]].drop_duplicates()
    alike = pairs["group"].is_unique and not pairs.duplicated(["class_name", "source"]).any()
    return source if alike else "group"


def _share_by_chance(
    wrong: np.ndarray[Any, np.dtype[np.bool_]], codes: np.ndarray[Any, np.dtype[np.int64]]
) -> float:
    """How often errors dealt to images at random are as concentrated: by the pairs in one group.

    Images of a group are alike, so it says that errors come in groups, not that others are safe.
    """
    generator, total = np.random.default_rng(0), int(wrong.sum())

    def pairs(errors: np.ndarray[Any, Any]) -> float:
        return float((np.bincount(codes[errors]).astype(float) ** 2).sum())

    least = pairs(wrong)
    # `choice` without replacement deals out places of errors
    dealt = (generator.choice(len(codes), total, replace=False) for _ in range(_PERMUTATIONS))
    return (1 + sum(pairs(errors) >= least for errors in dealt)) / (_PERMUTATIONS + 1)


def _find_kind_of_fake(tables: _Tables) -> Iterator[Finding]:
    """The kind of fake that is found least, if the other kinds are found more often."""
    fakes = tables.scored[tables.scored["label"] == 1]
    found: Floats = np.asarray(fakes["predicted"] == 1, dtype=np.float64)
    recalls = fakes.assign(found=found).groupby("class_name")["found"].mean()
    if len(recalls) < 2:
        return
    weakest = str(recalls.idxmin())
    of_kind: Floats = np.asarray(fakes["class_name"] == weakest, dtype=np.float64)
    # any of the kinds might have been the weakest
    level = 1 - (1 - tables.confidence) / len(recalls)
    others = np.asarray(1.0 - of_kind, dtype=np.float64)
    rest = float((found * others).sum() / others.sum())
    difference = float(recalls[weakest]) - rest
    influence = share_influence(found * of_kind, of_kind) - share_influence(found * others, others)
    if not difference_interval(difference, influence, fakes["group"].to_numpy(), level)[1] < 0:
        return
    yield Finding(
        "kind of fake", -difference * float(of_kind.mean()) / 2,
        f"recall {rounded_percent(recalls[weakest])}",
        f"Of the {int(of_kind.sum()):,} fakes of the kind {weakest}, "
        f"{rounded_percent(recalls[weakest])} are detected; of the others {rounded_percent(rest)}.",
        "Train on more fakes of this kind.", "fake-kinds",
    )  # fmt: skip


def _find_trait(tables: _Tables) -> Iterator[Finding]:
    """The measure that most sets errors apart, by the interval corrected for all comparisons."""
    table = tables.measures
    rows = table[table["differs"] == "yes"]
    if rows.empty:
        return
    row = rows.iloc[int((rows["effect"] - 0.5).abs().argmax())]
    more = row["effect"] > 0.5
    share = rounded_percent(row["effect"] if more else 1 - row["effect"])
    rate = row["n_false"] / (row["n_false"] + row["n_right"])
    right = "detected fake" if row["kind"] == "false negative" else "accepted real image"
    yield Finding(
        "trait", float(rate * 2 * abs(row["effect"] - 0.5) / 2), f"{share} of pairs",
        f"In {share} of pairs, a {row['kind']} has {'more' if more else 'less'} {row['measure']} "
        f"({row['region']}) than a {right}.",
        f"Vary {row['measure']} in training, and score such pictures apart.", "error-measures",
    )  # fmt: skip


def _find_labels(tables: _Tables) -> Iterator[Finding]:
    """Labels that neither the image nor its source makes probable."""
    table = tables.label_issues
    both = table[["label_probability", "source_label_probability"]].max(axis=1)
    doubtful = table[both < _IMPROBABLE]
    if doubtful.empty:
        return
    sources = list(dict.fromkeys(doubtful["source"].astype(str)))
    subsets = [each for each in SUBSETS if each in set(doubtful["subset"])]
    named = listed(sources[:_NAMED_GROUPS]) + (
        " and others" if len(sources) > _NAMED_GROUPS else ""
    )
    yield Finding(
        "labels", len(doubtful) / len(tables.predictions) / 2,
        f"{counted(len(doubtful), 'label')} to check",
        f"{counted(len(doubtful), tables.image)} ({listed(subsets)}) of "
        f"{counted(len(sources), tables.source)} ({named}) "
        f"{'has' if len(doubtful) == 1 else 'have'} a label less probable than "
        f"{rounded_percent(_IMPROBABLE)}.",
        "A wrong label counts as an error. Check these first.", "label-issues",
    )  # fmt: skip


def _find_calibration(tables: _Tables) -> Iterator[Finding]:
    """Bins whose interval, corrected for their number, leaves out the mean probability."""
    scored, confidence = tables.scored, tables.confidence
    if scored["label"].nunique() < 2:
        return
    bins = len(bin_reliability(scored, confidence))
    table = bin_reliability(scored, 1 - (1 - confidence) / bins)
    gap = table["mean_probability"] - table["share_of_fakes"]
    outside = (table["mean_probability"] < table["low"]) | (
        table["mean_probability"] > table["high"]
    )
    off = table[outside & (gap.abs() >= _OFF)]
    if off.empty:
        return
    worst = off.iloc[int((gap * table["images"])[off.index].abs().argmax())]
    high = worst["mean_probability"] > worst["share_of_fakes"]
    yield Finding(
        "calibration", float((gap.abs() * table["images"])[off.index].sum() / len(scored) / 2),
        f"scores {worst['mean_probability']:.2f} → {worst['share_of_fakes']:.2f}",
        f"Scores are too {'high' if high else 'low'}: of {worst['images']:,.0f} {tables.image}s "
        f"with a mean fake probability of {worst['mean_probability']:.2f}, "
        f"{rounded_percent(worst['share_of_fakes'])} are fakes.",
        "Set calibration.temperature.rule=scaling; do not read scores as probabilities.",
        "calibration",
    )  # fmt: skip


_FINDERS: tuple[Callable[[_Tables], Iterator[Finding]], ...] = (
    _find_leak, _find_shortcut, _find_distortion, _find_errors_by_group, _find_kind_of_fake,
    _find_trait, _find_labels, _find_calibration,
)  # fmt: skip
