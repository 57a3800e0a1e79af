"""The figures and the page of a study: one HTML document without other files or scripts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies import curves, scores, tables
from deepfake_detection.pipelines.studies.choice import best_run, name_run, say_choice, say_use
from deepfake_detection.pipelines.studies.tables import BEST, StudyResults
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.embedded_figures import embed_figure
from deepfake_detection.reports.parts import Cell
from deepfake_detection.reports.settings import flatten_settings, setting_in_words

# What each figure shows, by its name in the catalog
_FIGURES = {
    "scores": "Scores of each row",
    "steps_figure": "What each row adds to the row before, and what an epoch takes",
    "inflation_figure": "Scores with a group split and with an individual one, joined",
    "comparisons": "Validation accuracy by epoch, the rows compared",
    "curves": "Accuracy of train and validation by epoch, row by row",
    "losses": "Loss of train and validation by epoch, row by row",
}


def report_study(
    study: StudyParameters,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    choice: dict[str, Any],
    finished_reports: Mapping[str, str],
    inflation: pd.DataFrame | None = None,
    steps: pd.DataFrame | None = None,
    kinds: pd.DataFrame | None = None,
    steps_elsewhere: pd.DataFrame | None = None,
    **results: Any,
) -> dict[str, str | Figure]:
    """Draw the figures of a study and write its page, both by their names in the catalog.

    `results` are `training_history:RUN` and `split_summary:SPLIT`, `finished_reports` paths in the
    study's folder by run fingerprint; the others as in `StudyResults`.
    """
    splits = tables.select_results(results, "split_summary")
    notes = [study.note, *(split["note"] for split in splits.values())]
    titles = {run.row: run.title for run in study.runs.values()}
    steps, kinds = (
        None if each is None else each.assign(title=each["row"].map(titles))
        for each in (steps, kinds)
    )
    collected = StudyResults(
        study,
        tables.read_text(study, table),
        summary,
        inflation,
        choice,
        tables.select_results(results, "training_history"),
        list(dict.fromkeys(filter(None, notes))),
        steps=steps,
        kinds=kinds,
        reports={
            run: finished_reports[fingerprint]
            for run, fingerprint in zip(table["run"], table["run_fingerprint"], strict=True)
            if fingerprint in finished_reports
        },
    )
    figures = {
        "curves": curves.draw_curves(collected, "accuracy"),
        "losses": curves.draw_curves(collected, "loss"),
        "comparisons": curves.draw_comparisons(collected),
        "scores": scores.draw_scores(collected),
    }
    if inflation is not None:
        figures["inflation_figure"] = scores.draw_inflation(inflation)
    if collected.steps is not None:
        figures["steps_figure"] = scores.draw_steps(collected.steps)
    return {"page": render_study(collected, figures, steps_elsewhere), **figures}


def render_study(
    results: StudyResults, figures: dict[str, Figure], elsewhere: pd.DataFrame | None = None
) -> str:
    """Render the page from the results and the figures."""
    study, table, summary = results.study, results.table, results.summary
    sections = ["steps", "runs", "kinds", "spread", "inflation", "trust", "curves", "origins"]
    left_out = {
        "steps": results.steps is None,
        "kinds": results.kinds is None,
        "spread": not results.is_repeated,
        "inflation": results.inflation is None,
    }
    inflation = pd.DataFrame() if results.inflation is None else results.inflation
    contents = {
        "eyebrow": f"Deepfake detection study: {study.name}",
        "heading": study.heading,
        "notes": results.notes,
        "sections": {name: name.capitalize() for name in sections if not left_out.get(name)},
        "figures": {
            name: embed_figure(name, _FIGURES[name], figure) for name, figure in figures.items()
        },
        "results": results,
        "cell": Cell,
        "split": tables.say_split(study),
        "repeats": [each for each in ("seed", "fold") if table[each].nunique() > 1],
        "columns": _settings_columns(results),
        "published": [
            (column, form, Cell("Published", f"{of} of the reference"), unit)
            for column, of, form, unit in (
                (BEST, "accuracy", ".4f", "points"),
                ("best_epoch", "epoch", ".0f", "epochs"),
            )
            if table[tables.PUBLISHED[column]].notna().any()
        ],
        # on validation with the threshold 0.5, the accuracy is that of the best epoch
        "has_accuracy": set(table["subset"]) != {"validation"} or table[f"{BEST}_low"].isna().any(),
        "summary": [
            (
                lines["title"].iloc[0],
                results.choice["verdicts"].get(row, ""),
                lines.set_index("metric").to_dict("index"),
            )
            for row, lines in summary.groupby("row", sort=False)
        ],
        "inflation": inflation.to_dict("records"),
        "steps": [] if results.steps is None else results.steps.to_dict("records"),
        "elsewhere": [] if elsewhere is None else elsewhere.to_dict("records"),
        "kinds": [] if results.kinds is None else results.kinds.to_dict("records"),
        "origins": table.to_dict("records"),
        "models": list(table["model"].unique()),
        "is_individual": "individual" in set(table["split_method"]),
        "subsets": list(table["subset"].unique()),
        "splits": table["split_fingerprint"].nunique(),
        "deviation": as_number(table.groupby("row")[BEST].std().mean()),
        "overfit": int((table["verdict"] == "overfit").sum()),
        "scores": _score_chosen(results),
        "chosen": say_choice(results.choice),
        "use": say_use(results.choice["use"], study.environment),
        "other_uses": [
            (title, say_use(name_run(study, best_run(runs)), study.environment))
            for row, title, runs in results.rows
            if row != results.choice["chosen"] and not study.folds
        ],
        "settings": flatten_settings(tables.shared_settings(study)),
        "number": as_number,
        "interval": as_interval,
        "apart": tables.say_apart,
        "published_of": tables.PUBLISHED,
    }
    return render_document("deepfake_detection.pipelines.studies", "study.html.j2", contents)


def as_number(value: float, form: str = ".4f") -> str:
    """A number in this format; a dash where it is missing."""
    return "–" if pd.isna(value) else f"{value:{form}}".replace("-", "−")


def as_interval(low: float, high: float, form: str = ".4f") -> str:
    """An interval; empty where it is missing."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"{as_number(low, form)} to {as_number(high, form)}"


def _score_chosen(results: StudyResults) -> dict[str, tuple[str, str]]:
    """The scores of the chosen row by column, each with its interval or number of runs."""
    runs, found = results.chosen_runs, {}
    for column in (BEST, "accuracy", "roc_auc"):
        value, low, high = runs[[column, f"{column}_low", f"{column}_high"]].mean()
        words = f"mean of {len(runs)} runs" if len(runs) > 1 else as_interval(low, high)
        found[column] = (as_number(value), words)
    of_all = results.accuracy_of_all_folds(results.choice["chosen"])
    if of_all is not None:
        value, low, high = of_all[["all_folds", "all_folds_low", "all_folds_high"]]
        found["accuracy"] = (as_number(value), f"images of all folds: {as_interval(low, high)}")
    return found


def _settings_columns(results: StudyResults) -> list[tuple[Cell, pd.Series]]:
    """A column for each setting that neither seed, fold nor a place on an axis determines.

    A row's title names its places.
    """
    table = results.table.set_index("run")
    axes = [f"axis.{axis}" for axis in results.study.axes]
    columns = []
    for name in ["model", *(name for name in map(str, table) if "." in name and name not in axes)]:
        values = table[name].map(setting_in_words)
        told = [values.groupby(table[by]).nunique().max() == 1 for by in ("seed", "fold", *axes)]
        if values.nunique() > 1 and not any(told):
            block, _, last = name.rpartition(".")
            columns.append((Cell(last, block), values))
    return columns
