"""Node of `sample_size`."""

import logging
from dataclasses import asdict
from itertools import combinations

import pandas as pd

from deepfake_detection.metrics.sample_size import SampleSize, plan_differences, plan_widths
from deepfake_detection.metrics.several_detectors import align
from deepfake_detection.parameters import EvaluationParameters, SampleSizeParameters

log = logging.getLogger(__name__)


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
    _log_plans([each for _, each in planned], subset, sample_size.power)
    table = pd.DataFrame({"subset": subset} | asdict(each) for subset, each in planned)
    # whole numbers, some of which are missing
    return table.astype({"groups": "Int64", "images": "Int64"})


def _choose(predictions: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    subset = "test" if "test" in set(predictions["subset"]) else "validation"
    return subset, predictions[predictions["subset"] == subset]


def _log_plans(planned: list[SampleSize], subset: str, power: float) -> None:
    """A line for each metric and purpose: of several pairs, the one that asks for most groups."""
    for purpose, metric, class_name in dict.fromkeys(
        (each.purpose, each.metric, each.class_name) for each in planned
    ):
        alike = [
            each
            for each in planned
            if (each.purpose, each.metric, each.class_name) == (purpose, metric, class_name)
        ]
        needed: dict[float, int | None] = {}
        for each in alike:
            before = needed.get(each.wanted, 0)
            unknown = before is None or each.groups is None
            needed[each.wanted] = None if unknown else max(before or 0, each.groups or 0)
        figures = ", ".join(
            f"{wanted:g}: {'unknown' if groups is None else f'{groups:,} groups'}"
            for wanted, groups in needed.items()
        )
        name = metric.replace("_", " ") + (f" of {class_name}" if class_name else "")
        asked = (
            f"an interval of {name} this wide"
            if purpose == "width"
            else f"a difference of {name} found with power {power:g}"
        )
        first = alike[0]
        log.info(
            "For %s: %s (now %.3f, %d groups of %s, design effect %.1f)",
            asked, figures, first.now, first.groups_now, subset, first.design_effect,
        )  # fmt: skip
