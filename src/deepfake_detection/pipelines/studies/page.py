"""A study's page: one HTML document that needs no other file, no network and no script."""

from typing import Any

import pandas as pd

from deepfake_detection.pipelines.studies.columns import (
    NONE,
    between,
    duration,
    repeats_in_words,
    result_columns,
    score,
    signed,
)
from deepfake_detection.pipelines.studies.figures import (
    draw_comparisons,
    draw_curves,
    draw_inflation,
    draw_losses,
    draw_scores,
)
from deepfake_detection.pipelines.studies.figures.panels import columns_for
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.wording import (
    adopt_command,
    as_sentence,
    pick_cards,
    say_inflation,
    weigh_trust,
    write_verdict,
)
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.embedded_figures import PageFigure, embed_figure
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.words import counted, shortened

_PACKAGE = "deepfake_detection.pipelines.studies"
_FINGERPRINT_SHOWN = 12
_ALT_ROWS = 20
_METRICS = {
    "best_validation_accuracy": "Best validation accuracy",
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
}


def render_study(results: StudyResults) -> str:
    """The whole page.

    What comes from titles, notes, names or settings is escaped, and the page forbids itself to run
    or to load anything.

    Args:
        results: Of the study.

    Returns:
        One HTML document.
    """
    return render_document(_PACKAGE, "study.html.j2", _contents(results))


def _contents(results: StudyResults) -> dict[str, Any]:
    table = results.table
    rows = _rows(results)
    statements = weigh_trust(results)
    return {
        "results": results,
        "verdict": write_verdict(results),
        "cards": pick_cards(results),
        "statements": statements,
        "warnings": [each for each in statements if each.tone == "warning"],
        "rule": as_sentence(results.choice["rule"]),
        "rows": rows,
        "columns": result_columns(results),
        "has_published": bool(table["published_validation_accuracy"].notna().any()),
        "subsets": list(table["subset"].astype(str).unique()),
        "scores": _draw_scores(results),
        "spread": _spread(results),
        "repeated_by": "fold" if table["fold"].notna().any() else "seed",
        "has_pooled": bool(results.summary["pooled"].notna().any()),
        "inflation": _inflation(results.inflation),
        "inflation_said": say_inflation(results),
        "inflation_figure": _draw_inflation(results),
        "curves": _draw_curves(results),
        # as many panels beside each other as the figures have
        "curves_width": "wide" if results.axes or columns_for(len(rows)) > 2 else "middling",
        "origins": _origins(table),
        "together": duration(table["seconds"].sum()),
        "settings": flatten_settings(results.settings),
        "command": adopt_command(results),
    }


def _rows(results: StudyResults) -> list[dict[str, Any]]:
    """The rows with the places of their runs in the table, so that a title stands there once."""
    places = pd.Series(range(len(results.table)), index=results.table.index)
    found = []
    for row, runs in results.rows():
        chosen = row == results.choice["chosen"]
        verdict = "chosen" if chosen else str(runs["verdict"].iloc[0])
        found.append(
            {
                "title": str(runs["title"].iloc[0]),
                "verdict": verdict if len(runs) == 1 or chosen else "",
                "is_chosen": chosen,
                "places": [int(places[index]) for index in runs.index],
            }
        )
    return found


def _spread(results: StudyResults) -> list[dict[str, Any]]:
    """The summary of each row with several runs: its metrics, with every run's value."""
    found = []
    runs_by_row = dict(results.rows())
    repeated = results.summary[results.summary["runs"] > 1]
    for row, metrics in repeated.groupby("row", sort=False):
        runs = runs_by_row[str(row)]
        found.append(
            {
                "title": metrics["title"].iloc[0],
                "is_chosen": row == results.choice["chosen"],
                "metrics": [_summarise(metric, runs) for _, metric in metrics.iterrows()],
            }
        )
    return found


def _summarise(summary: pd.Series, runs: pd.DataFrame) -> dict[str, Any]:
    name = str(summary["metric"])
    spread = summary["standard_deviation"]
    each = [
        f"{repeats_in_words(run).split()[-1]}: {score(run[name])}"
        for _, run in runs.iterrows()
        if name in runs.columns
    ]
    words = _METRICS.get(name, name.replace("_", " "))
    pooled = summary["pooled"]
    return {
        "name": words if name.startswith("best") else f"{words} on {summary['subset']}",
        "runs": f"{summary['runs']:.0f}",
        "mean": score(summary["mean"]) + ("" if pd.isna(spread) else f" ± {spread:.4f}"),
        "range": between(summary["lowest"], summary["highest"]) or NONE,
        "pooled": "" if pd.isna(pooled) else score(pooled),
        "pooled_range": between(summary["pooled_low"], summary["pooled_high"]),
        "each": each,
    }


def _inflation(pairs: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for _, pair in pairs.iterrows():
        spread = pair["standard_deviation"]
        rows.append(
            {
                "title": str(pair["title"]),
                "metric": str(pair["metric"]),
                "subset": str(pair["subset"]),
                "group": score(pair["group"]),
                "individual": score(pair["individual"]),
                "inflation": signed(pair["inflation"])
                + ("" if pd.isna(spread) else f" ± {spread:.4f}"),
                "runs": f"{pair['runs']:.0f}",
            }
        )
    return rows


def _origins(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "title": str(run["title"]),
            "run": str(run["run"]),
            "model": str(run["model"]),
            "split": f"{run['split_method']}, {run['split_ratios']}, seed {run['split_seed']}",
            "repeat": repeats_in_words(run),
            "device": str(run["device"]),
            "time": duration(run["seconds"]),
            "run_fingerprint": str(run["run_fingerprint"])[:_FINGERPRINT_SHOWN],
            "split_fingerprint": str(run["split_fingerprint"])[:_FINGERPRINT_SHOWN],
        }
        for _, run in table.iterrows()
    ]


def _draw_scores(results: StudyResults) -> PageFigure:
    rows = results.rows()
    said = "; ".join(
        f"{shortened(str(runs['title'].iloc[0]), 80)} "
        f"{score(runs['best_validation_accuracy'].mean())}"
        for _, runs in rows[:_ALT_ROWS]
    )
    alt = f"Best validation accuracy of {counted(len(rows), 'row')}: {said}."
    return embed_figure("Scores", alt, draw_scores(results))


def _draw_inflation(results: StudyResults) -> PageFigure | None:
    if results.inflation.empty:
        return None
    said = "; ".join(
        f"{pair['title']}, {pair['metric']}: {pair['inflation']}"
        for pair in _inflation(results.inflation)[:_ALT_ROWS]
    )
    alt = f"Scores with a group split and with an individual one, joined. Inflation: {said}."
    return embed_figure("Inflation", alt, draw_inflation(results))


def _draw_curves(results: StudyResults) -> list[PageFigure]:
    panels = f"A panel for each of {counted(len(results.rows()), 'row')}"
    grid = (
        "In each panel one setting is compared, all others are the same; panels of one row share "
        "their scale."
        if len(results.axes) > 1
        else ""
    )
    return [
        embed_figure(
            "Compared by validation accuracy",
            "Validation accuracy by epoch, the rows of the study compared.",
            draw_comparisons(results),
            grid,
        ),
        embed_figure(
            "Accuracy, row by row",
            f"{panels}: accuracy of train and validation by epoch, the best epoch marked.",
            draw_curves(results),
        ),
        embed_figure(
            "Loss, row by row",
            f"{panels}: loss of train and validation by epoch, the best epoch marked.",
            draw_losses(results),
        ),
    ]
