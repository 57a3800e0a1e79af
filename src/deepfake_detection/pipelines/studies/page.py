"""The figures and the page of a study: one HTML document without other files or scripts."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies.choice import as_sentence, say_use
from deepfake_detection.pipelines.studies.curves import (
    draw_comparisons,
    draw_curves,
    label_in_words,
)
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.scores import draw_inflation, draw_scores
from deepfake_detection.pipelines.studies.tables import (
    BEST,
    read_text,
    say_split,
    select_results,
    shared_settings,
)
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.embedded_figures import embed_figure
from deepfake_detection.reports.parts import Card, Cell, Table
from deepfake_detection.reports.settings import flatten_settings, setting_in_words
from deepfake_detection.reports.words import counted, shortened

_FINGERPRINT_SHOWN = 12
# What each figure shows, by its name in the catalog
_FIGURES = {
    "scores": "Scores of each row",
    "inflation_figure": "Scores with a group split and with an individual one, joined",
    "comparisons": "Validation accuracy by epoch, the rows compared",
    "curves": "Accuracy of train and validation by epoch, a panel for each row",
    "losses": "Loss of train and validation by epoch, a panel for each row",
}
_Columns = list[tuple[str | Cell, list[Any]]]


def report_study(
    study: StudyParameters,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    choice: dict[str, Any],
    inflation: pd.DataFrame | None = None,
    **results: Any,
) -> dict[str, str | Figure]:
    """Draw the figures of a study and write its page.

    Args:
        study: The study.
        table: As `tabulate` returns it, and the choice.
        summary: As `summarise_rows` returns it.
        choice: The choice.
        inflation: As `compare_split_methods` returns it; None where no rows differ in it alone.
        results: `training_history:RUN` and `split_summary:SPLIT`.

    Returns:
        `page`, and the figures by their names in the catalog.
    """
    splits = select_results(results, "split_summary")
    notes = [study.note, *(split["note"] for split in splits.values())]
    collected = StudyResults(
        study,
        read_text(study, table),
        summary,
        inflation,
        choice,
        select_results(results, "training_history"),
        list(dict.fromkeys(filter(None, notes))),
    )
    figures = {
        "curves": draw_curves(collected, "accuracy"),
        "losses": draw_curves(collected, "loss"),
        "comparisons": draw_comparisons(collected),
        "scores": draw_scores(collected),
    }
    if inflation is not None:
        figures["inflation_figure"] = draw_inflation(inflation)
    return {"page": render_study(collected, figures), **figures}


def render_study(results: StudyResults, figures: dict[str, Figure]) -> str:
    """Render the page from the results and the figures."""
    tables = {
        "runs": _runs_table(results),
        "spread": _spread_table(results),
        "inflation": _inflation_table(results.inflation),
        "origins": _origins_table(results.table),
    }
    sections = {
        name: name.capitalize()
        for name in ("runs", "spread", "inflation", "trust", "curves", "origins", "settings")
        if name not in tables or tables[name].rows
    }
    table = results.table
    contents = {
        "eyebrow": f"Deepfake detection study: {results.study.name}",
        "heading": results.study.heading,
        "notes": results.notes,
        "cards": list_cards(results),
        "sections": sections,
        "figures": {
            name: embed_figure(name, _FIGURES[name], figure) for name, figure in figures.items()
        },
        "tables": tables,
        "results": results,
        "rows": counted(len(results.rows), "row"),
        "models": list(table["model"].unique()),
        "is_individual": "individual" in set(table["split_method"]),
        "is_tested": set(table["subset"]) == {"test"},
        "splits": table["split_fingerprint"].nunique(),
        "deviation": _deviation(table),
        "reason": as_sentence(results.choice["reason"]),
        "rule": as_sentence(results.choice["rule"]),
        "use": say_use(results.choice),
        "settings": flatten_settings(shared_settings(results.study)),
    }
    return render_document("deepfake_detection.pipelines.studies", "study.html.j2", contents)


def as_number(value: float, form: str = ".4f") -> str:
    """A number in this format; a dash where it is missing."""
    return "–" if pd.isna(value) else f"{value:{form}}".replace("-", "−")


def as_interval(low: float, high: float) -> str:
    """An interval; empty where it is missing."""
    return "" if pd.isna(low) or pd.isna(high) else f"{low:.4f} to {high:.4f}"


def _deviation(table: pd.DataFrame) -> str:
    return as_number(table.groupby("row")[BEST].std().mean())


def list_cards(results: StudyResults) -> list[Card]:
    """Headline figures: scores of the chosen row, inflation, and the spread of runs or overfit."""
    cards, table, limit = _list_chosen_cards(results), results.table, results.study.overfit_above
    if (pairs := results.inflation) is not None:
        first = pairs[pairs["metric"] == pairs["metric"].iloc[0]]
        words = f"{first['metric'].iloc[0]}, mean of {counted(len(first), 'pair')}"
        inflation = as_number(first["inflation"].mean(), "+.3f")
        cards.append(Card("Inflation by an individual split", inflation, (words,), "individual"))
    if results.is_repeated:
        words = "standard deviation of the best validation accuracy, mean of all rows"
        cards.append(Card("Between runs of a row", f"± {_deviation(table)}", (words,)))
    elif limit is not None:
        over = f"{(table['verdict'] == 'overfit').sum()} of {len(table)}"
        words = f"runs with a best validation accuracy above {limit:g}"
        cards.append(Card("Counted as overfit", over, (words,)))
    return cards


def _list_chosen_cards(results: StudyResults) -> list[Card]:
    runs = results.chosen_runs
    if runs.empty:
        return [Card("Chosen", "–", ("no row",))]
    title = shortened(str(results.choice["title"]), 80)
    of_all = results.accuracy_of_all_folds(results.choice["chosen"])
    subset = str(runs["subset"].iloc[0])
    second = ("roc_auc", "ROC AUC") if subset == "validation" else ("accuracy", "accuracy")
    cards = []
    for column, name, on in ((BEST, "best accuracy", "validation"), (*second, subset)):
        value, low, high = runs[[column, f"{column}_low", f"{column}_high"]].mean()
        words = f"mean of {len(runs)} runs" if len(runs) > 1 else as_interval(low, high)
        if of_all is not None and column == "accuracy":
            value, low, high = of_all[["all_folds", "all_folds_low", "all_folds_high"]]
            words = f"images of all folds: {as_interval(low, high)}"
        cards.append(Card(f"Chosen: {name} on {on}", as_number(value), (title, words), on))
    return cards


def _runs_table(results: StudyResults) -> Table:
    table = pd.concat([runs for _, _, runs in results.rows])
    heads: list[Cell | None] = []
    for _, title, runs in results.rows:
        heads += [Cell(title, tag=str(runs["verdict"].iloc[0]), rows=len(runs))]
        heads += [None] * (len(runs) - 1)
    columns: _Columns = [("Row", heads), *_settings_columns(results, table)]
    columns.append(("Best validation accuracy", _score_cells(table, BEST)))
    if table["published_validation_accuracy"].notna().any():
        published = table[["published_validation_accuracy", "published_best_epoch"]].to_numpy(float)
        cells = [
            Cell(as_number(value), f"epoch {as_number(epoch, '.0f')}") for value, epoch in published
        ]
        columns.append((Cell("Published", "by the reference"), cells))
    epochs = zip(table["best_epoch"], table["epochs"], strict=True)
    columns.append(
        ("Best epoch", [Cell(as_number(best, ".0f"), f"of {all_}") for best, all_ in epochs])
    )
    on = f"on {', '.join(table['subset'].unique())}"
    # on validation with the threshold 0.5, the accuracy is that of the best epoch
    if set(table["subset"]) != {"validation"} or table[f"{BEST}_low"].isna().any():
        columns.append((Cell("Accuracy", on), _score_cells(table, "accuracy")))
    columns.append((Cell("ROC AUC", on), _score_cells(table, "roc_auc")))
    for column, head in {
        "train_accuracy": Cell("Train accuracy", "at the best epoch"),
        "accuracy_gap": Cell("Gap", "train − validation"),
        "roughness": Cell("Roughness", "change per epoch"),
        "fall_after_best": Cell("Fall", "best − last epoch"),
    }.items():
        columns.append((head, [as_number(value) for value in table[column]]))
    names, cells = zip(*columns, strict=True)
    best = list(table["run"]).index(results.choice["run"]) if results.choice["run"] else None
    rows = list(zip(*cells, strict=True))
    return Table(say_split(results.study), names, rows, "numbers study", captioned=True, best=best)


def _settings_columns(results: StudyResults, table: pd.DataFrame) -> _Columns:
    """A column for seed and fold, each axis, and each setting that none of these determines."""
    repeats = [name for name in ("seed", "fold") if table[name].nunique() > 1]
    axes = {f"axis.{axis}": axis for axis in results.study.axes}
    columns: _Columns = [
        (name.capitalize(), [as_number(value, ".0f") for value in table[name]]) for name in repeats
    ]
    for column, axis in axes.items():
        columns += [(axis.capitalize(), [label_in_words(axis, each) for each in table[column]])]
    settings = [name for name in table if "." in name and name not in axes]
    for name in ["model", *settings]:
        values = table[name].map(setting_in_words)
        told = [values.groupby(table[by]).nunique().max() == 1 for by in (*repeats, *axes)]
        if values.nunique() > 1 and not any(told):
            block, _, last = name.rpartition(".")
            columns.append((Cell(last, block), list(values)))
    return columns


def _score_cells(table: pd.DataFrame, column: str) -> list[Cell]:
    values = table[[column, f"{column}_low", f"{column}_high"]].to_numpy(dtype=float)
    return [Cell(as_number(value), as_interval(low, high)) for value, low, high in values]


def _spread_table(results: StudyResults) -> Table:
    """The summary of each row with several runs, and the value of each run."""
    rows: list[list[Cell | str | None]] = []
    kind = "fold" if results.study.folds else "seed"
    for row, title, runs in results.rows:
        summary = results.summary[(results.summary["row"] == row) & (results.summary["runs"] > 1)]
        of_all = _score_cells(summary, "all_folds")
        for number, line in enumerate(summary.to_dict("records")):
            values = zip(runs[kind], runs[line["metric"]], strict=True)
            each = " · ".join(f"{place:.0f}: {as_number(value)}" for place, value in values)
            rows.append(
                [
                    None if number else Cell(title, rows=len(summary)),
                    Cell(line["metric"].replace("_", " "), f"on {line['subset']}", style="words"),
                    f"{line['mean']:.4f} ± {as_number(line['standard_deviation'])}",
                    as_interval(line["lowest"], line["highest"]),
                    *([of_all[number]] if results.study.folds else []),
                    Cell(each, style="each"),
                ]
            )
    folds = ["All folds"] if results.study.folds else []
    head = ["Row", "Score", "Mean", "Lowest to highest", *folds, f"Each run, by {kind}"]
    return Table("Spread", head, rows, "numbers study")


def _inflation_table(inflation: pd.DataFrame | None) -> Table:
    rows = [
        [
            pair["title"],
            f"{pair['metric']} on {pair['subset']}",
            *(as_number(pair[name]) for name in ("group", "individual")),
            as_number(pair["inflation"], "+.4f"),
            as_number(pair["standard_deviation"]),
            str(pair["runs"]),
        ]
        for pair in ([] if inflation is None else inflation.to_dict("records"))
    ]
    methods = [Cell(method, thing=method) for method in ("group", "individual")]
    head = ["Pair", "Score", *methods, "Inflation", "±", "Seeds"]
    return Table("Inflation", head, rows, "numbers study")


def _origins_table(table: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(run["run"], run["title"]),
            run["model"],
            f"{run['split_method']}, {run['split_ratios']}, seed {run['split_seed']}",
            as_number(run["fold"], ".0f"),
            str(run["seed"]),
            str(run["device"]),
            as_number(run["seconds"] / 60, ".1f"),
            Cell(run["run_fingerprint"][:_FINGERPRINT_SHOWN], style="path"),
            Cell(run["split_fingerprint"][:_FINGERPRINT_SHOWN], style="path"),
        ]
        for run in table.to_dict("records")
    ]
    head = ["Run", "Backbone", "Split", "Fold", "Seed", "Device", "Minutes", "Run's fingerprint"]
    return Table("Origins", [*head, "Split's fingerprint"], rows, "study")
