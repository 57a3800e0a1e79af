"""Node of `sample_size`."""

import logging
import math
from dataclasses import asdict
from itertools import combinations

import pandas as pd

from deepfake_detection.metrics.sample_size import SampleSize, plan_differences, plan_widths
from deepfake_detection.metrics.several_detectors import align
from deepfake_detection.parameters import EvaluationParameters, SampleSizeParameters
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

_NAMES = {"roc_auc": "ROC AUC"}


def plan_sample_sizes(
    predictions: pd.DataFrame,
    earlier_comparisons: pd.DataFrame | None,
    sample_size: SampleSizeParameters,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Plan test sets like the one at hand: for intervals of wanted widths, and for comparisons.

    Of test, or validation where there is no test. `earlier_comparisons` are the predictions of the
    latest `paired_comparison`, with column detector; without them, two detectors are planned for as
    if they erred independently.

    Returns:
        A row for each `SampleSize`, with column subset.
    """
    subset, rows = _choose(predictions)
    detector, confidence = str(rows["run_fingerprint"].iloc[0])[:12], evaluation.confidence
    planned = [
        (subset, each) for each in plan_widths(rows, detector, sample_size.widths, confidence)
    ]
    wanted = (sample_size.differences, sample_size.power, confidence)
    if earlier_comparisons is None:
        alone = plan_differences((rows,), (detector, None), *wanted)
        planned += [(subset, each) for each in alone]
    else:
        of_comparison, compared = _choose(earlier_comparisons)
        by_detector = compared.groupby("detector", sort=False)
        aligned = align({str(name): each for name, each in by_detector})
        for pair in combinations(aligned, 2):
            both = plan_differences((aligned[pair[0]], aligned[pair[1]]), pair, *wanted)
            planned += [(of_comparison, each) for each in both]
    _log_plans(planned, sample_size.power)
    if (groups := rows["group"].nunique()) < evaluation.few_groups:
        log.warning(
            "%s holds only %s of images (few: below %d): read this plan as rough",
            subset, counted(groups, "group"), evaluation.few_groups,
        )  # fmt: skip
    table = pd.DataFrame({"subset": subset} | asdict(each) for subset, each in planned)
    # whole numbers, some of which are missing
    return table.astype({"groups": "Int64", "images": "Int64"})


def _choose(predictions: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    subset = "test" if "test" in set(predictions["subset"]) else "validation"
    return subset, predictions[predictions["subset"] == subset]


def _log_plans(planned: list[tuple[str, SampleSize]], power: float) -> None:
    """A line for each purpose and metric: of several pairs, the one that asks for most groups."""
    lines: dict[tuple[str, str, str], dict[float, SampleSize]] = {}
    for subset, each in planned:
        name = _NAMES.get(each.metric, each.metric)
        name += f" of {each.class_name}" if each.class_name else ""
        of_line = lines.setdefault((subset, each.purpose, name), {})
        before = of_line.get(each.wanted, each)
        of_line[each.wanted] = max(before, each, key=lambda one: one.groups or math.inf)
    for (subset, purpose, name), of_line in lines.items():
        asked, wide = (
            (f"an interval of {name}", " wide")
            if purpose == "width"
            else (f"a difference of {name}, found with power {power:g}", "")
        )
        figures = "; ".join(
            f"{wanted:g}{wide}: {'unknown' if each.groups is None else f'{each.groups:,}'}"
            for wanted, each in of_line.items()
        )
        first = next(iter(of_line.values()))
        now = "" if math.isnan(first.now) else f": {first.now:.3g}{wide}"
        log.info("Groups for %s: %s (%s has %d%s)", asked, figures, subset, first.groups_now, now)
