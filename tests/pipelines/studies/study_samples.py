"""Studies with made-up histories and metrics, tabulated by the project's own functions."""

import copy
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from kedro.config import OmegaConfigLoader

from deepfake_detection.pipelines.studies.choice import choose_row
from deepfake_detection.pipelines.studies.plan import plan_studies
from deepfake_detection.pipelines.studies.tables import (
    StudyResults,
    compare_split_methods,
    describe_history,
    pairs_of_methods,
    summarise_rows,
    tabulate_runs,
)

CONF = Path(__file__).parents[3] / "conf"


def load(env="base", **given):
    """All parameters of an environment, studies as they are in the files."""
    loader = OmegaConfigLoader(
        str(CONF), base_env="base", default_run_env=env, env=env,
        merge_strategy={"parameters": "soft"}, runtime_params=given,
    )  # fmt: skip
    return dict(loader["parameters"])


BASE = load()


def make_study(block, **changes):
    """The study `mine` alone, of this block over the project's own settings."""
    parameters = copy.deepcopy(BASE) | {"studies": {"mine": "My own"}, "mine": block} | changes
    return plan_studies(parameters)[1][0]


def make_history(epochs, reaches, draw=0):
    """A history whose validation accuracy rises to about `reaches`, unevenly."""
    generator = np.random.default_rng(draw)
    epoch = np.arange(1, epochs + 1)
    rising = 1 - np.exp(-epoch / 1.6)
    accuracy = 0.5 + (reaches - 0.5) * rising + generator.normal(0, abs(1 - reaches) / 5, epochs)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 0.69 * np.exp(-epoch / 2.5) + 0.003,
            "train_accuracy": 0.5 + (min(reaches + 0.01, 1) - 0.5) * rising,
            "validation_loss": 0.6 * np.exp(-epoch / 2.5) + 0.02 + 0.001 * epoch,
            "validation_accuracy": np.clip(accuracy, 0, 1),
            "seconds": 12.5,
        }
    )


def make_metrics(study, name, trained, threshold=0.5):
    """Metrics of a run, as `score_run` returns them, so far as the table needs them."""
    split = study.runs[name].split
    return {
        "split": {
            "method": split.method, "ratios": split.shares.model_dump(), "seed": split.seed,
            "fingerprint": hashlib.sha256(split.name.encode()).hexdigest(),
        },
        "trained": trained,
        "threshold": threshold,
        "temperature": 1.0,
        "computed_on": {"device": "cpu"},
        "run_fingerprint": hashlib.sha256(name.encode()).hexdigest(),
    }  # fmt: skip


def make_metric_table(scores):
    """Accuracy and ROC AUC by subset; at the level of sources, which no table shows, 0.123."""
    return pd.DataFrame(
        [
            {"metric": metric, "subset": subset, "level": level, "class_name": None,
             "value": value, "low": value - 0.012, "high": min(value + 0.006, 1)}
            for subset, values in scores.items()
            for metric, score in zip(("accuracy", "roc_auc"), values, strict=True)
            for level, value in (("image", score), ("source", 0.123))
        ]
    )  # fmt: skip


def make_results(study, histories, *, test=False):
    """The results of a study whose runs have these histories."""
    trained = {name: describe_history(history) for name, history in histories.items()}
    metrics = {name: make_metrics(study, name, each) for name, each in trained.items()}
    scores = {name: each["best_validation_accuracy"] for name, each in trained.items()}
    of_test = {name: {"test": (value - 0.004, value)} for name, value in scores.items()}
    metric_tables = {
        name: make_metric_table({"validation": (value, value)} | (of_test[name] if test else {}))
        for name, value in scores.items()
    }
    table = tabulate_runs(study, metrics, metric_tables)
    choice = choose_row(study, table)
    table["verdict"] = table["row"].map(choice["verdicts"]).fillna("")
    fold_metrics = None
    if study.folds:
        means = table.melt("row", ["accuracy", "roc_auc"], "metric").groupby(["row", "metric"])
        of_all = means["value"].mean().reset_index().assign(level="image")
        fold_metrics = of_all.assign(low=of_all["value"] - 0.02, high=of_all["value"] + 0.015)
    summary = summarise_rows(study, table, fold_metrics)
    inflation = compare_split_methods(study, table) if pairs_of_methods(study) else None
    return StudyResults(study, table, summary, inflation, choice, histories, ())


def run_study(study, epochs, reach, *, test=False):
    """Results whose validation accuracies rise to about `reach(place, run)`."""
    histories = {
        name: make_history(epochs, reach(place, run), place)
        for place, (name, run) in enumerate(study.runs.items())
    }
    return make_results(study, histories, test=test)


def fine_tuning(epochs=20, rows=10, *, test=False, **changes):
    """The reference's rows, near their published accuracies."""
    block = copy.deepcopy(BASE["fine_tuning"])
    names = [name for name, row in block.items() if isinstance(row, dict) and "published" in row]
    study = make_study(block | dict.fromkeys(names[rows:]) | changes)
    return run_study(
        study, epochs, lambda _, run: run.published.validation_accuracy - 0.001, test=test
    )


def comparison(epochs=20, **changes):
    """Backbones, ratios and two split methods, scored on test."""

    def reach(place, run):
        return (0.97 if run.split.method == "individual" else 0.85) + 0.0005 * place

    return run_study(make_study(BASE["comparison"] | changes), epochs, reach, test=True)


def schedules(epochs=20, **titles):
    """A row for each of these titles; the project's four schedules, if there are none."""
    block = {
        name: {"title": title, "split": {"seed": place}}
        for place, (name, title) in enumerate(titles.items())
    }
    study = make_study(block or BASE["lr_schedules"])
    return run_study(study, epochs, lambda place, _: 0.95 + 0.01 * place)


def folds(epochs=12, number=5):
    """One row, trained once for each fold."""
    study = make_study(BASE["cross_validation"] | {"folds": number})
    return run_study(study, epochs, lambda place, _: 0.85 + 0.01 * place, test=True)
