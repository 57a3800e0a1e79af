"""The tables of a study's page: which columns they have, and each value in words."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_detection.pipelines.studies.figures.comparisons import label_in_words
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.reports.settings import setting_in_words

NONE = "\N{EN DASH}"

# Columns that every study's table has; all others are axes or settings.
_FIXED = {
    "run", "row", "title", "seed", "fold", "model", "split_method", "split_ratios",
    "split_seed", "subset", "accuracy", "accuracy_low", "accuracy_high", "roc_auc",
    "roc_auc_low", "roc_auc_high", "best_epoch", "epochs", "best_validation_accuracy",
    "train_accuracy", "accuracy_gap", "roughness", "fall_after_best", "published_best_epoch",
    "published_validation_accuracy", "verdict", "seconds", "device", "run_fingerprint",
    "split_fingerprint",
}  # fmt: skip
_SETTINGS_IN_WORDS = {
    "model": "backbone",
    "training.weights": "weights",
    "training.epochs": "epochs",
    "training.batch_size": "batch size",
    "training.optimizer.name": "optimiser",
    "training.optimizer.lr": "learning rate",
    "training.optimizer.head_lr_multiple": "head's multiple of it",
    "training.optimizer.weight_decay": "weight decay",
    "training.schedule.name": "schedule",
    "training.schedule.step_size": "step size",
    "training.schedule.gamma": "gamma",
    "training.loss.class_weights": "class weights",
    "training.loss.auxiliary_weight": "auxiliary weight",
    "training.augmentation.flip": "flip",
    "training.augmentation.rotation": "rotation",
    "training.early_stopping.patience": "patience",
    "split.method": "split",
    "split.ratios.train": "train share",
    "split.ratios.validation": "validation share",
    "split.ratios.test": "test share",
    "split.seed": "seed of the split",
}


@dataclass(frozen=True)
class Cell:
    """A value in words, and what stands small beneath it."""

    value: str
    beneath: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its name, a cell for each run, what stands beneath the name, its dotted name."""

    name: str
    cells: tuple[Cell, ...]
    beneath: str = ""
    setting: str = ""


def result_columns(results: StudyResults) -> list[Column]:
    """What a run is, and what became of it, from left to right."""
    table = results.table
    return [
        *_repeats(table),
        *_axis_columns(results),
        *_setting_columns(results),
        *_validation_columns(table),
        *_score_columns(table),
        _column(table, "Train accuracy", "train_accuracy", score, "at the best epoch"),
        _column(table, "Gap", "accuracy_gap", _signed, "train − validation"),
        _column(table, "Roughness", "roughness", score, "change per epoch"),
        _column(table, "Fall", "fall_after_best", score, "best − last epoch"),
    ]


def score(value: float) -> str:
    """A score with four decimals; a dash where it is undefined."""
    return NONE if pd.isna(value) else f"{value:.4f}"


def between(low: float, high: float, decimals: int = 4) -> str:
    """An interval, or nothing where there is none."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign."""
    return NONE if pd.isna(value) else f"{value:+.{decimals}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if pd.isna(seconds):
        return NONE
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def repeats_in_words(run: pd.Series) -> str:
    """Which of its row's runs one is: `seed 1`, `fold 3`."""
    return f"seed {run['seed']:.0f}" if pd.isna(run["fold"]) else f"fold {run['fold']:.0f}"


def _column(
    table: pd.DataFrame,
    name: str,
    column: str,
    write: Callable[[Any], str],
    beneath: str = "",
) -> Column:
    return Column(name, tuple(Cell(write(value)) for value in table[column]), beneath)


def _signed(value: float) -> str:
    return signed(value)


def _whole(value: float) -> str:
    return NONE if pd.isna(value) else f"{value:.0f}"


def _repeats(table: pd.DataFrame) -> list[Column]:
    columns = []
    if table["seed"].nunique() > 1:
        columns.append(_column(table, "Seed", "seed", _whole))
    if table["fold"].notna().any():
        columns.append(_column(table, "Fold", "fold", _whole))
    return columns


def _axis_columns(results: StudyResults) -> list[Column]:
    columns = []
    for axis in results.axes:
        labels = results.table[f"axis.{axis}"].astype(str)
        cells = tuple(Cell(label_in_words(results, axis, label)) for label in labels)
        columns.append(Column(axis[:1].upper() + axis[1:], cells))
    return columns


def _setting_columns(results: StudyResults) -> list[Column]:
    """A column for each setting in which runs differ, unless an axis, seed or fold tells it."""
    table = results.table
    told = [table[f"axis.{axis}"].astype(str) for axis in results.axes]
    told += [table[name] for name in ("seed", "fold") if table[name].nunique() > 1]
    columns = []
    names = [
        str(name)
        for name in table.columns
        if name not in _FIXED and not str(name).startswith("axis.")
    ]
    for name in ["model", *names]:
        values = table[name].map(_setting)
        if values.nunique() > 1 and not any(_is_told(values, by) for by in told):
            shown = _SETTINGS_IN_WORDS.get(name)
            title = shown[0].upper() + shown[1:] if shown else name
            columns.append(Column(title, tuple(map(Cell, values)), setting=name))
    return columns


def _is_told(values: pd.Series, by: pd.Series) -> bool:
    return bool(values.groupby(by.to_numpy()).nunique().le(1).all())


def _setting(value: object) -> str:
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:g}"
    return setting_in_words(value)


def _is_scored_once(table: pd.DataFrame) -> bool:
    """Whether the best validation accuracy is the scored accuracy too, interval and all."""
    if set(table["subset"]) != {"validation"}:
        return False
    # a fitted threshold would make another accuracy of it
    apart = (table["accuracy"] - table["best_validation_accuracy"]).abs()
    return bool((apart.fillna(0) < 1e-6).all())


def _validation_columns(table: pd.DataFrame) -> list[Column]:
    published = table["published_validation_accuracy"].notna().any()
    once = _is_scored_once(table)
    repeated = table["row"].duplicated(keep=False)
    accuracies = []
    for (_, run), is_repeated in zip(table.iterrows(), repeated, strict=True):
        interval = between(run["accuracy_low"], run["accuracy_high"]) if once else ""
        # a row that is trained once has its verdict at its title
        overfit = "overfit" if is_repeated and run["verdict"] == "overfit" else ""
        beneath = " · ".join(filter(None, (interval, overfit)))
        accuracies.append(Cell(score(run["best_validation_accuracy"]), beneath))
    epochs = tuple(
        Cell(_whole(best), f"of {_whole(last)}")
        for best, last in zip(table["best_epoch"], table["epochs"], strict=True)
    )
    columns = [
        Column("Best validation accuracy", tuple(accuracies)),
        Column("Best epoch", epochs),
    ]
    if published:
        name = "published_validation_accuracy"
        columns.insert(1, _column(table, "Published", name, score, "by the reference"))
        columns.append(_column(table, "Published", "published_best_epoch", _whole, "best epoch"))
    return columns


def _score_columns(table: pd.DataFrame) -> list[Column]:
    subsets = table["subset"].astype(str).unique()
    columns = []
    scores = {"ROC AUC": "roc_auc"}
    if not _is_scored_once(table):
        scores = {"Accuracy": "accuracy", **scores}
    for name, column in scores.items():
        cells = []
        for _, run in table.iterrows():
            interval = between(run[f"{column}_low"], run[f"{column}_high"])
            on = "" if len(subsets) == 1 else f"{run['subset']}"
            cells.append(Cell(score(run[column]), " · ".join(filter(None, (on, interval)))))
        columns.append(Column(name, tuple(cells), f"on {subsets[0]}" if len(subsets) == 1 else ""))
    return columns
