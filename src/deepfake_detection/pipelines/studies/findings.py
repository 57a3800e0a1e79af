"""The first lines of a study's page: the verdict, the headline figures, what limits their value."""

import pandas as pd

from deepfake_detection.pipelines.studies.choice import as_sentence
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.tables import BEST, say_split
from deepfake_detection.reports.parts import Card, Statement
from deepfake_detection.reports.words import counted, shortened

_TITLE_LENGTH = 80
_MOST_CARDS = 4


def as_number(value: float, form: str = ".4f") -> str:
    """A number in this format; a dash where it is missing."""
    return "–" if pd.isna(value) else f"{value:{form}}".replace("-", "−")


def as_interval(low: float, high: float) -> str:
    """An interval; empty where it is missing."""
    return "" if pd.isna(low) or pd.isna(high) else f"{low:.4f} to {high:.4f}"


def write_verdict(results: StudyResults) -> list[str]:
    """Three sentences: what was compared, what is chosen, how to read the scores."""
    table, choice, runs = results.table, results.choice, results.chosen_runs
    models = list(table["model"].unique())
    of = models[0] if len(models) == 1 else counted(len(models), "backbone")
    number = f"{counted(len(table), 'run')}" if results.is_repeated else "one run each"
    scores = f", best validation accuracy {as_number(runs[BEST].mean())}"
    if "test" in set(runs["subset"]):
        scores += f", accuracy on test {as_number(runs['accuracy'].mean())}"
    chosen = "No row is chosen" if runs.empty else f"Chosen: {choice['title']}{scores}"
    individual = "Individual splits inflate their scores. " * ("individual" in _methods(results))
    spread = "the spread between runs" if results.is_repeated else "their intervals"
    return [
        f"{counted(len(results.rows), 'row')} of {of}, {number}, on: {say_split(results.study)}.",
        f"{chosen}. {as_sentence(choice['reason'])} The rule: {as_sentence(choice['rule'])}",
        f"{individual}Validation chose the {_chosen_by_validation(results)}, so its score is "
        f"optimistic. Differences smaller than {spread} are not meaningful.",
    ]


def _methods(results: StudyResults) -> set[str]:
    return set(results.table["split_method"])


def _chosen_by_validation(results: StudyResults) -> str:
    return "epoch and the row" if len(results.rows) > 1 else "epoch"


def list_cards(results: StudyResults) -> list[Card]:
    """At most four headline figures: scores of the chosen row, differences of rows and runs."""
    table = results.table
    means = table.groupby("row")[BEST].mean()
    cards = _list_chosen_cards(results)
    if (pairs := results.inflation) is not None:
        first = pairs[pairs["metric"] == pairs["metric"].iloc[0]]
        words = f"{first['metric'].iloc[0]}, mean of {counted(len(first), 'pair')}"
        inflation = as_number(first["inflation"].mean(), "+.3f")
        cards.append(Card("Inflation by an individual split", inflation, (words,), "individual"))
    if results.is_repeated:
        kind = "folds" if results.study.folds else "seeds"
        words = "standard deviation of the best validation accuracy, mean of all rows"
        cards.append(Card(f"Between {kind} of a row", f"± {as_number(_spread(results))}", (words,)))
    elif (limit := results.study.overfit_above) is not None:
        over = f"{(table['verdict'] == 'overfit').sum()} of {len(table)}"
        words = f"runs with a best validation accuracy above {limit:g}"
        cards.append(Card("Counted as overfit", over, (words,)))
    if len(means) > 1:
        words = ("best validation accuracy", as_interval(means.min(), means.max()))
        cards.append(
            Card("Between worst and best row", as_number(means.max() - means.min()), words)
        )
    return cards[:_MOST_CARDS]


def _spread(results: StudyResults) -> float:
    return float(results.table.groupby("row")[BEST].std().mean())


def _list_chosen_cards(results: StudyResults) -> list[Card]:
    runs = results.chosen_runs
    if runs.empty:
        return [Card("Chosen", "–", ("no row",))]
    title = shortened(str(results.choice["title"]), _TITLE_LENGTH)
    subset = str(runs["subset"].iloc[0])
    metric = "roc_auc" if subset == "validation" else "accuracy"
    names = {BEST: "best validation accuracy", "accuracy": "accuracy", "roc_auc": "ROC AUC"}
    cards = []
    for column, on in ((BEST, "validation"), (metric, subset)):
        value, low, high = runs[[column, f"{column}_low", f"{column}_high"]].mean()
        words = f"mean of {len(runs)} runs" if len(runs) > 1 else as_interval(low, high)
        of_all = results.accuracy_of_all_folds(results.choice["chosen"])
        if of_all is not None and column == "accuracy":
            value, low, high = of_all[["all_folds", "all_folds_low", "all_folds_high"]]
            words = f"images of all folds: {as_interval(low, high)}"
        name = names[column] if column == BEST else f"{names[column]} on {on}"
        cards.append(Card(f"Chosen: {name}", as_number(value), (title, words), on))
    return cards


def list_statements(results: StudyResults) -> list[Statement]:
    """What limits the value of the comparison, warnings first."""
    chosen, splits = _chosen_by_validation(results), results.table["split_fingerprint"].nunique()
    tested, repeated = set(results.table["subset"]) == {"test"}, results.is_repeated
    intervals = (
        "The 95 % intervals, between groups of images, do not contain the spread of training."
    )
    statements = [
        (
            "individual" in _methods(results), "warning",
            "Scores of an individual split are inflated",
            "It divides single images, so neighbouring images of one source are in training and "
            "validation. Such scores can rank rows of the same split; how well a detector does on "
            "new sources, only a group split shows.",
        ),
        (
            tested, "plain", "The test set was not used for selection",
            f"Validation chose the {chosen}. Choosing a row by its test score would make that "
            "score optimistic too.",
        ),
        (
            not tested, "warning", f"Validation chose the {chosen}",
            "The best of several is partly the luckiest, so its validation score is optimistic. A "
            "test subset (split.ratios.test above 0) is not used for selection.",
        ),
        (
            repeated, "plain", "Runs of one row differ",
            "Their best validation accuracy has a standard deviation of "
            f"{as_number(_spread(results))} on average; rows that lie closer together cannot be "
            f"ranked. {intervals}",
        ),
        (
            not repeated, "warning", "One run each: the spread of training is unknown",
            f"Another seed gives other scores. --params {results.study.name}.seeds=[0,1,2] trains "
            f"every row three times and shows how far apart they lie. {intervals}",
        ),
        (
            splits > 1, "plain", "Rows are scored on different images",
            f"There are {splits} splits; a part of the difference between two of them comes from "
            "their images. The table of origins names the split of each run.",
        ),
    ]  # fmt: skip
    shown = [Statement(*content) for applies, *content in statements if applies]
    return sorted(shown, key=lambda statement: statement.tone != "warning")
