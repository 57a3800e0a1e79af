"""The first lines of a study's page: the verdict, the headline figures, what they are worth."""

import pandas as pd

from deepfake_detection.pipelines.studies.columns import NONE, between, score, signed
from deepfake_detection.pipelines.studies.results import StudyResults, pooled_accuracy
from deepfake_detection.reports.parts import Card, Statement
from deepfake_detection.reports.words import counted, shortened

_BEST = "best_validation_accuracy"
_TITLE_LENGTH = 80
_MOST_CARDS = 4


def write_verdict(results: StudyResults) -> list[str]:
    """Three lines: what was compared on which split, what is chosen, what to keep in mind."""
    return [_say_compared(results), _say_chosen(results), _say_caution(results)]


def as_sentence(text: str) -> str:
    """The text with a capital letter in front and a full stop at its end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _say_compared(results: StudyResults) -> str:
    table = results.table
    rows = counted(table["row"].nunique(), "row")
    models = table["model"].unique()
    of = f" of {models[0]}" if len(models) == 1 else f" of {counted(len(models), 'backbone')}"
    runs = f"{counted(len(table), 'run')} in all" if results.is_repeated() else "one run each"
    return f"{rows}{of}, {runs}. Trained and scored on: {results.split_in_words}."


def _say_chosen(results: StudyResults) -> str:
    choice = results.choice
    runs = chosen_runs(results)
    ruled_out = len(choice["ruled_out"])
    out = f" It rules out {counted(ruled_out, 'row')}." if ruled_out else ""
    rule = f"The rule: {choice['rule'].strip().rstrip('.')}.{out}"
    reason = as_sentence(str(choice["reason"]))
    if runs.empty:
        return f"No row is chosen. {reason} {rule}"
    figures = f"best validation accuracy {_mean(runs, _BEST)}"
    if len(runs) == 1:
        figures += f" at epoch {runs['best_epoch'].iloc[0]:.0f}"
    else:
        figures += f" on average of {counted(len(runs), 'run')}"
    tested = runs[runs["subset"] == "test"]
    if tested["accuracy"].notna().any():
        figures += f", accuracy on test {_mean(tested, 'accuracy')}"
    return f"Chosen: {choice['title']}, {figures}. {reason} {rule}"


def _say_caution(results: StudyResults) -> str:
    said = []
    methods = set(results.table["split_method"])
    if "individual" in methods:
        which = "An individual split" if len(methods) > 1 else "This individual split"
        said.append(f"{which} inflates its scores")
    said.append(f"validation chose the {_choices(results)}, so its score is an upper end")
    spread = "the spread between runs" if results.is_repeated() else "their intervals"
    said.append(f"differences smaller than {spread} are no differences")
    return f"Keep in mind: {'; '.join(_lower(part) for part in said)}."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _choices(results: StudyResults) -> str:
    return "epoch and the row" if results.table["row"].nunique() > 1 else "epoch"


def chosen_runs(results: StudyResults) -> pd.DataFrame:
    """The runs of the chosen row; none where no row is chosen."""
    return results.table[results.table["row"] == results.choice["chosen"]]


def _mean(runs: pd.DataFrame, column: str) -> str:
    return score(runs[column].mean())


def adopt_command(results: StudyResults) -> str:
    """The command that takes the chosen row's detector; empty where none is chosen, or of folds."""
    runs = chosen_runs(results)
    if runs.empty or results.table["fold"].notna().any():
        return ""
    # results lie in a folder named after the backbone of the command
    model = runs["model"].iloc[0]
    return f"kedro run --pipelines {results.name} --params {results.name}.adopt=true,model={model}"


def say_inflation(results: StudyResults) -> str:
    """What the differences between both ways to split are, and how sure."""
    said = (
        "Two rows that are equal in all but the split method: how much better the individual split "
        "makes the same recipe look. They are scored on two different sets of images, so there is "
        "no paired difference; "
    )
    seeds = results.inflation["runs"].max() if len(results.inflation) else 0
    if seeds > 1:
        return f"{said}the spread is that of training over {seeds:.0f} seeds."
    return (
        f"{said}with one seed the spread of training is unknown: --params "
        f"{results.name}.seeds=[0,1,2] shows it."
    )


def pick_cards(results: StudyResults) -> list[Card]:
    """Four headline figures at most: of the chosen row, and of how far rows and runs lie apart."""
    cards = _cards_of_chosen(results)
    if not results.inflation.empty:
        cards.append(_card_of_inflation(results))
    if results.is_repeated():
        cards.append(_card_of_spread(results))
    elif results.overfit_above is not None:
        cards.append(_card_of_overfit(results))
    if len(cards) < _MOST_CARDS and results.table["row"].nunique() > 1:
        cards.append(_card_of_range(results))
    return cards[:_MOST_CARDS]


def _card_of_overfit(results: StudyResults) -> Card:
    over = int((results.table["verdict"] == "overfit").sum())
    return Card(
        "Counted as overfit",
        f"{over} of {len(results.table)}",
        (f"runs with a best validation accuracy above {results.overfit_above:g}",),
    )


def _cards_of_chosen(results: StudyResults) -> list[Card]:
    runs = chosen_runs(results)
    if runs.empty:
        return [Card("Chosen", NONE, ("no row",))]
    title = shortened(str(results.choice["title"]), _TITLE_LENGTH)
    published = runs["published_validation_accuracy"].mean()
    beneath = (title,) if pd.isna(published) else (title, f"published: {score(published)}")
    cards = [Card("Chosen: best validation accuracy", _mean(runs, _BEST), beneath, "validation")]
    subset = str(runs["subset"].iloc[0])
    pooled = pooled_accuracy(results, str(results.choice["chosen"]))
    if pooled is not None:
        interval = between(pooled["pooled_low"], pooled["pooled_high"], 3)
        together = ("all folds together", interval)
        name = f"Chosen: accuracy on {subset}"
        return [*cards, Card(name, score(pooled["pooled"]), together, subset)]
    # on validation the accuracy is the one that stands there already
    name, column = ("ROC AUC", "roc_auc") if subset == "validation" else ("accuracy", "accuracy")
    first = runs.iloc[0]
    interval = between(first[f"{column}_low"], first[f"{column}_high"], 3)
    said = interval if len(runs) == 1 else f"mean of {counted(len(runs), 'run')}"
    name = f"Chosen: {name} on {subset}"
    return [*cards, Card(name, _mean(runs, column), (said,) if said else (), subset)]


def _card_of_range(results: StudyResults) -> Card:
    means = results.table.groupby("row", sort=False)[_BEST].mean()
    return Card(
        "Between worst and best row",
        score(means.max() - means.min()),
        ("best validation accuracy", between(means.min(), means.max())),
    )


def _card_of_spread(results: StudyResults) -> Card:
    spread = results.table.groupby("row")[_BEST].std().mean()
    kind = "folds" if results.table["fold"].notna().any() else "seeds"
    return Card(
        f"Between {kind} of a row",
        NONE if pd.isna(spread) else f"± {spread:.4f}",
        ("best validation accuracy", "standard deviation, mean of all rows"),
    )


def _card_of_inflation(results: StudyResults) -> Card:
    metric = results.inflation["metric"].iloc[0]
    pairs = results.inflation[results.inflation["metric"] == metric]
    return Card(
        "Inflation by an individual split",
        signed(pairs["inflation"].mean(), 3),
        (f"{metric}, mean of {counted(len(pairs), 'pair')}",),
        "individual",
    )


def weigh_trust(results: StudyResults) -> list[Statement]:
    """What the comparison may be trusted for, the warnings first."""
    statements = [
        *_about_split(results),
        _about_choice(results),
        _about_spread(results),
        *_about_images(results),
    ]
    return sorted(statements, key=lambda statement: statement.tone != "warning")


def _about_split(results: StudyResults) -> list[Statement]:
    if "individual" not in set(results.table["split_method"]):
        return []
    return [
        Statement(
            "warning",
            "Scores of an individual split are inflated",
            "It was made image by image, so neighbouring images of one source stand in training "
            "and validation, and a detector is asked about near-copies of what it learned. Such a "
            "score ranks rows that share the split; how well a detector does, only a split by "
            "group says.",
        )
    ]


def _about_choice(results: StudyResults) -> Statement:
    if set(results.table["subset"]) == {"test"}:
        return Statement(
            "plain",
            "Test chose nothing",
            f"Validation chose the {_choices(results)}; the scores on test had no part in it. "
            "Whoever picks a row by its test score makes that score an upper end too.",
        )
    return Statement(
        "warning",
        f"Validation chose the {_choices(results)}",
        "The best of several is partly the luckiest: read its validation score as an upper end. "
        "A test subset (split.ratios.test above 0) gives a score on which nothing was chosen.",
    )


def _about_spread(results: StudyResults) -> Statement:
    intervals = (
        "The 95 % intervals, between groups of images, say how far a score would change with other "
        "images."
    )
    if results.is_repeated():
        spread = results.table.groupby("row")[_BEST].std().mean()
        return Statement(
            "plain",
            "Differences within the spread are none",
            f"Best validation accuracy differs between runs of one row by a standard deviation of "
            f"{spread:.4f} on average; rows that lie closer together are not told apart. "
            f"{intervals}",
        )
    return Statement(
        "warning",
        "One run each: the spread of training is unknown",
        f"Another seed would give other figures. --params {results.name}.seeds=[0,1,2] trains "
        f"every row three times and shows how far apart they lie. {intervals} Smaller differences "
        "are none.",
    )


def _about_images(results: StudyResults) -> list[Statement]:
    splits = results.table["split_fingerprint"].nunique()
    if splits < 2:
        return []
    return [
        Statement(
            "plain",
            "Rows are scored on different images",
            f"There are {splits} splits, so part of a difference between runs of two of them is "
            "which images were scored. The table of origins names each run's split.",
        )
    ]
